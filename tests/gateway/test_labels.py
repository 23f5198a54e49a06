"""Labels through a real Envoy: to the controller's socket, with a key that covers the endpoint, and to nobody else."""

import asyncio

import msgspec
import pytest

from argosy.gateway.gateway import Gateway
from tests.gateway.kit import KEY, api_key, http, one

PATH = "/v2/models/digits/feedback"


@pytest.fixture
async def controller(replica, config):
    """Who takes labels, and the gateway that knows of him."""
    there = await replica("labels")
    gateway = Gateway(msgspec.structs.replace(config, labels=there.path))
    yield there, gateway
    await gateway.stop(0.5)


async def test_labels_need_a_key_that_covers_the_endpoint(controller, replica):
    there, gateway = controller
    a = await replica("a")
    keys = [api_key("digits", id="d", scopes=("digits",)), api_key("other", id="o", scopes=("other",)), api_key()]
    await gateway.start([one(a), one(a.path.replace("a.sock", "b.sock"), endpoint="open", auth=False)], keys)
    async with await http(gateway) as client:
        for key, status in (("", 401), ("wrong", 401), ("other", 403), ("digits", 200), (KEY, 200)):
            answer = await client.post(PATH, content=b"{}", headers={"x-api-key": key} if key else {})
            assert answer.status_code == status
        for key, status in (("", 401), ("digits", 403), (KEY, 200)):
            answer = await client.post(
                "/v2/models/open/feedback?x=1", content=b"{}", headers={"authorization": f"Bearer {key}"} if key else {}
            )
            assert answer.status_code == status
        assert (await client.post("/v2/models/nobody/feedback", headers={"x-api-key": KEY})).status_code == 404
        assert (await client.post("/v2/models/digits/infer", headers={"x-api-key": KEY})).status_code == 200
    assert [each.path for each in a.seen] == ["/v2/models/digits/infer"]
    assert [each.path.partition("?")[0] for each in there.seen] == [PATH, PATH, "/v2/models/open/feedback"]
    for each in there.seen:
        assert not {"authorization", "x-api-key"} & set(each.headers)


async def test_the_controller_is_told_whose_key_it_was_and_nobody_can_say_another_s(controller, replica):
    there, gateway = controller
    a = await replica("a")
    keys = [api_key("first", id="one"), api_key("second", id="two")]
    await gateway.start([one(a), one(a.path.replace("a.sock", "b.sock"), endpoint="open", auth=False)], keys)
    forged = [("X-Argosy-Key-Id", "one"), ("x-argosy-key-id", "one,two"), ("x_argosy_key_id", "one")]
    async with await http(gateway) as client:
        for endpoint in ("digits", "open"):
            for key in ("first", "second"):
                path = f"/v2/models/{endpoint}/feedback"
                answer = await client.post(path, content=b"{}", headers=[("x-api-key", key), *forged])
                assert answer.status_code == 200
    assert [each.headers["x-argosy-key-id"] for each in there.seen] == ["one", "two"] * 2


async def test_labels_count_against_the_rate_of_their_key(controller, replica):
    there, gateway = controller
    await gateway.start([one(await replica("a"))], [api_key(requests_per_second=0.1, burst=3)])
    async with await http(gateway, headers={"x-api-key": KEY}) as client:
        found = [(await client.post(PATH, content=b"{}")).status_code for _ in range(6)]
    assert found == [200] * 3 + [429] * 3
    assert len(there.seen) == 3


async def test_labels_wait_for_a_controller_that_starts_anew(controller, replica):
    there, gateway = controller
    await gateway.start([one(await replica("a"))], [api_key()])
    async with await http(gateway, headers={"x-api-key": KEY}) as client:
        assert (await client.post(PATH, content=b"{}")).status_code == 200
        await there.stop()
        asking = asyncio.create_task(client.post(PATH, content=b"x" * 100_000))
        await asyncio.sleep(0.5)
        assert not asking.done()
        await there.start()
        assert (await asking).json()["size"] == 100_000


async def test_without_a_socket_labels_are_a_path_like_any_other(gateway, replica):
    a = await replica("a")
    await gateway.start([one(a)], [api_key()])
    async with await http(gateway, headers={"x-api-key": KEY}) as client:
        await client.post(PATH, content=b"{}")
    assert [each.path for each in a.seen] == [PATH]


async def test_labels_are_small(controller, replica):
    there, gateway = controller
    await gateway.start([one(await replica("a"))], [api_key()])
    async with await http(gateway, headers={"x-api-key": KEY}) as client:
        assert (await client.post(PATH, content=b"x" * 1_048_576)).status_code == 200
        for body in (b"x" * 1_048_577, (b"x" * 65_536 for _ in range(17))):
            refused = await client.post(PATH, content=aiter_of(body) if not isinstance(body, bytes) else body)
            assert (refused.status_code, refused.json()) == (
                413,
                {"error": "labels of over 1048576 bytes: send them in parts"},
            )
    assert len(there.seen) == 1


async def aiter_of(parts):
    for part in parts:
        yield part
