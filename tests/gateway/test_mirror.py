"""Mirrors: what the shadow is sent, and that the caller's answer never depends on it."""

import asyncio

import msgspec
import pytest

from argosy.gateway.model import Mirror, Upstream
from argosy.spec.address import Address
from tests.gateway.grpc_kit import infer, served, with_client
from tests.gateway.kit import KEY, Load, api_key, http, revision, shared
from tests.gateway.test_weights import near

INFER = "/v2/models/digits/infer"


def mirrored(stable, shadow, percent=100.0, **fields):
    """All traffic to `stable`, a copy to `shadow`."""
    revisions = (revision("r1", "1", stable, weight=1), revision("r2", "2", shadow))
    return [shared(*revisions, mirror=Mirror(revision="r2", percent=percent), **fields)]


async def until(condition):
    """Waits for what happens beside the answer."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def test_the_shadow_is_told_and_can_be_paired(gateway, replica):
    a, b = await replica("a"), await replica("b")
    await gateway.start(mirrored(a, b, auth=True), [api_key()])
    async with await http(
        gateway, headers={"x-api-key": KEY, "x-argosy-shadow": "1", "x-argosy-record": "no"}
    ) as client:
        answers = [await client.post(INFER, content=b"x" * n) for n in range(1, 21)]
        await until(lambda: len(b.seen) == 20)
    assert {answer.json()["replica"] for answer in answers} == {"a"}
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert [each.headers["x-request-id"] for each in a.seen] == ids
    assert sorted(each.headers["x-request-id"] for each in b.seen) == sorted(ids)
    assert sorted(len(each.body) for each in b.seen) == list(range(1, 21))
    for each in b.seen:
        assert each.headers["x-argosy-shadow"] == "1"
        assert each.headers["host"] == a.seen[0].headers["host"]
        assert each.headers["x-argosy-key-id"] == "k1"
        assert "x-api-key" not in each.headers
    assert not any("x-argosy-shadow" in each.headers for each in a.seen)
    assert {each.headers["x-argosy-record"] for each in a.seen + b.seen} == {"1"}


@pytest.mark.slow
async def test_a_share_of_the_traffic_by_routes_alone(gateway, replica):
    a, b = await replica("a"), await replica("b")
    await gateway.start(mirrored(a, b, 50))
    before = {name: gateway.files.get(name).version_info for name in gateway.files.names()}
    await gateway.apply(mirrored(a, b, 10))
    after = {name: gateway.files.get(name).version_info for name in gateway.files.names()}
    assert {name for name in after if after[name] != before[name]} == {"rds.json"}
    async with await http(gateway) as client:
        for _ in range(1000):
            await client.post(INFER, content=b"x")
    await gateway.apply([shared(revision("r1", "1", a, weight=1), revision("r2", "2", b))])
    assert near(len(b.seen), 100, 90)
    assert len(a.seen) == 1000
    marked = [each.headers["x-request-id"] for each in a.seen if "x-argosy-record" in each.headers]
    assert sorted(each.headers["x-request-id"] for each in b.seen) == sorted(marked), "only what is copied is recorded"


async def test_versions_that_are_asked_for_are_not_mirrored(gateway, replica):
    a, b = await replica("a"), await replica("b")
    await gateway.start(mirrored(a, b))
    async with await http(gateway) as client:
        await client.post("/v2/models/digits/versions/1/infer", content=b"asked", headers={"x-argosy-record": "1"})
        await client.post(INFER, content=b"x")
        await until(lambda: b.seen)
    assert [each.body for each in b.seen] == [b"x"]
    assert "x-argosy-record" not in a.seen[0].headers


async def test_a_shadow_without_a_weight_answers_nobody(gateway, replica):
    a, b = await replica("a"), await replica("b")
    await gateway.start(mirrored(a, b))
    async with await http(gateway) as client:
        for path in ("/v2/models/digits/versions/2/infer", "/v2/models/digits/versions/2"):
            asked = await client.post(path, content=b"x", headers={"x-argosy-revision": "r2"})
            assert asked.status_code == 404
        index = (await client.post("/v2/repository/index")).json()
    assert [each["version"] for each in index] == ["1"]
    assert b.seen == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the shadow's server is torn away
async def test_the_answer_does_not_depend_on_the_shadow(gateway, replica):
    a, b = await replica("a"), await replica("b")
    stuck = asyncio.Event()

    async def silent(_):
        await stuck.wait()
        return 200, {}, b"late"

    async def failing(_):
        return 500, {}, b"no"

    async def resetting(_):
        return 0, {}, b""

    await gateway.start(mirrored(a, b))
    async with await http(gateway) as client, Load(client) as load:
        for handler in (b.echo, silent, failing, resetting):
            b.handler = handler
            seen = len(b.seen)
            await until(lambda seen=seen: len(b.seen) > seen + 30)
        big = await asyncio.wait_for(client.post(INFER, content=b"x" * 8_000_000), 60)
        assert big.json()["size"] == 8_000_000
        await b.stop()
        count = len(load.answers)
        await until(lambda: len(load.answers) > count + 50)
        await gateway.apply(mirrored(a, Upstream(replica="b", http=Address(path=b.path), state="draining")))
        count = len(load.answers)
        await until(lambda: len(load.answers) > count + 50)
        stuck.set()
    assert set(load.answers) == {(200, "a")}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_grpc_calls_are_mirrored(gateway, grpc_replica):
    a, b = grpc_replica("a"), grpc_replica("b")
    route = msgspec.structs.replace(served("digits", a, b, auth=False), mirror=Mirror(revision="r2"))
    await gateway.start([route])

    def use(client):
        for _ in range(5):
            assert infer(client, "digits", headers={"x-request-id": "mine"}) == "a"
        assert infer(client, "digits", size=1_000_000) == "a"

    await with_client(gateway, use)
    await until(lambda: len(b.metadata) == 6)
    assert {each["x-argosy-shadow"] for each in b.metadata} == {"1"}
    assert {each["x-argosy-record"] for each in a.metadata + b.metadata} == {"1"}
    assert b.metadata[0]["x-request-id"] == a.metadata[0]["x-request-id"] == "mine"
    b.server.stop(None).wait()
    await with_client(gateway, use)
