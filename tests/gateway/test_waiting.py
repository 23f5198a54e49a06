"""The activator: entered while nobody is ready, left without losing anybody."""

import asyncio
import contextlib
from pathlib import Path

import httpx
import msgspec
import pytest

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import Mirror, Sticky, Waiting
from argosy.spec.address import Address
from attack.gateway import PROBES, REFUSED, first_messages, untaken
from tests.gateway.grpc_kit import infer, served, with_client
from tests.gateway.kit import KEY, HttpReplica, Load, api_key, http, revision, shared

INFER = "/v2/models/digits/infer"


def route(room, *ready, **fields):
    """An endpoint of one revision with these replicas."""
    return [shared(revision("r1", "1", *ready, weight=100), waiting=Waiting(http=Address(path=room.path)), **fields)]


async def test_everything_waits_while_nobody_is_ready(gateway, replica):
    room, a = await replica("room"), await replica("a")
    await gateway.start(
        route(room, auth=True, testers=True), [api_key("t", id="t", scopes=("digits:test",)), api_key()]
    )
    async with await http(gateway, headers={"x-api-key": KEY}) as client:
        for path in (INFER, "/v2/models/digits", "/v2/models/digits/versions/1/infer"):
            answer = await client.post(path, content=b"x")
            assert (answer.status_code, answer.json()) == (200, {"replica": "room", "path": path, "size": 1})
            assert "x-argosy-revision" not in answer.headers
        assert (await client.post("/v2/models/digits/versions/2/infer")).status_code == 404
        assert (await client.post(INFER, headers={"x-api-key": "wrong"})).status_code == 401
        picked = await client.post(INFER, headers={"x-api-key": "t", "x-argosy-revision": "r1"})
        assert picked.json()["replica"] == "room"
        await gateway.apply(route(room, a, auth=True), [api_key()])
        assert (await client.post(INFER)).json()["replica"] == "a"
    assert {each.headers["argosy-endpoint"] for each in room.seen} == {"digits"}
    assert not {"argosy-endpoint", "x-api-key"} & a.seen[0].headers.keys()


async def test_who_waits_is_not_lost_by_the_switch(gateway, replica):
    room, a = await replica("room"), await replica("a")
    go = asyncio.Event()

    async def held(_):
        await go.wait()
        return 200, {"x-argosy-revision": "r1"}, b"at last"

    room.handler = held
    await gateway.start(route(room))
    async with await http(gateway) as client:
        waiting = [asyncio.create_task(client.post(INFER, content=b"x")) for _ in range(20)]
        async with asyncio.timeout(60):
            while len(room.seen) < 20:
                await asyncio.sleep(0.005)
        await gateway.apply(route(room, a))
        gateway._retired = dict.fromkeys(gateway._retired, 0.0)
        await gateway.sweep(grace=0)
        assert (await client.post(INFER, content=b"x")).json()["replica"] == "a"
        assert not any(each.done() for each in waiting)
        go.set()
        answers = await asyncio.gather(*waiting)
    assert {(each.status_code, each.text) for each in answers} == {(200, "at last")}
    assert answers[0].headers["x-argosy-revision"] == "r1"


async def test_to_zero_and_back_under_load(gateway, replica):
    room, a = await replica("room"), await replica("a")
    await gateway.start(route(room, a))
    before = {name: gateway.files.get(name).version_info for name in ("cds.json", "lds.json")}
    async with await http(gateway) as client, Load(client) as load:
        for _ in range(5):
            await gateway.apply(route(room))
            seen = len(room.seen)
            async with asyncio.timeout(60):
                while len(room.seen) < seen + 10:
                    await asyncio.sleep(0.005)
            await gateway.apply(route(room, a))
            await asyncio.sleep(0.05)
    assert {status for status, _ in load.answers} == {200}
    assert before == {name: gateway.files.get(name).version_info for name in before}


async def test_a_waiting_room_that_starts_anew_is_asked_again(gateway, replica, folder):
    room = await replica("room")
    await gateway.start(route(room))
    later = HttpReplica(folder, "room")
    never = asyncio.Event()

    async def held(_):
        await never.wait()
        return 0, {}, b""

    room.handler = held
    async with await http(gateway) as client:
        waiting = [asyncio.create_task(client.post(INFER, content=b"mine")) for _ in range(30)]
        async with asyncio.timeout(60):
            while len(room.seen) < 30:
                await asyncio.sleep(0.005)
        room.server.close()
        for writer in list(room.writers):
            writer.close()
        never.set()
        Path(room.path).unlink(missing_ok=True)
        await asyncio.sleep(0.3)
        await later.start()
        try:
            assert [(await each).json()["size"] for each in waiting] == [4] * 30
        finally:
            await later.stop()


async def test_waiting_has_a_time_of_its_own(config, replica):
    room = await replica("room")
    pause = 1.2

    async def held(_):
        await asyncio.sleep(pause)
        return 200, {}, b"at last"

    room.handler = held
    gateway = Gateway(msgspec.structs.replace(config, idle_seconds=0.5, body_seconds=0.5))

    def within(longest):
        return [
            shared(
                revision("r1", "1", weight=1),
                timeout=0.4,
                waiting=Waiting(http=Address(path=room.path), seconds=longest),
            )
        ]

    await gateway.start(within(60))
    try:
        async with await http(gateway) as client:
            assert (await client.get("/v2/health/ready")).status_code == 200
            assert (await client.post(INFER, content=b"x")).text == "at last"
            await gateway.apply(within(0.2))
            assert (await client.post(INFER, content=b"x")).status_code == 504
            assert len(room.seen) == 2
    finally:
        await gateway.stop(0.2)


async def test_mirror_and_sticky_rest_meanwhile(gateway, replica):
    room = await replica("room")
    revisions = (revision("r1", "1", weight=50), revision("r2", "2", weight=50))
    more = {"mirror": Mirror(revision="r2"), "sticky": Sticky(by="cookie")}
    await gateway.start([shared(*revisions, waiting=Waiting(http=Address(path=room.path)), **more)])
    async with await http(gateway) as client:
        answer = await client.post(INFER, content=b"x")
        assert answer.json()["replica"] == "room"
        assert "set-cookie" not in answer.headers


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_grpc_waits_too(gateway, grpc_replica):
    room, a = grpc_replica("room"), grpc_replica("a")
    full = served("digits", a, auth=False)
    full = msgspec.structs.replace(
        full, waiting=Waiting(http=Address(path=f"{room.path}.http"), grpc=Address(path=room.path))
    )
    empty = msgspec.structs.replace(full, revisions=(msgspec.structs.replace(full.revisions[0], upstreams=()),))
    await gateway.start([empty])
    assert await with_client(gateway, lambda client: infer(client, "digits")) == "room"
    assert room.metadata[0]["argosy-endpoint"] == "digits"
    await gateway.apply([full])
    assert await with_client(gateway, lambda client: infer(client, "digits")) == "a"


async def test_nobody_without_a_key_wakes_an_endpoint(gateway, replica, grpc_replica):
    """Nor waits in the room: whatever is asked, over REST and gRPC, with bodies and without."""
    room, calls = await replica("room"), grpc_replica("calls")
    needs = shared(
        revision("r1", "1", weight=100),
        waiting=Waiting(http=Address(path=room.path), grpc=Address(path=calls.path)),
        auth=True,
    )
    other = msgspec.structs.replace(needs, endpoint="other", waiting=Waiting(http=Address(path=room.path)))
    await gateway.start([needs, other], [api_key("o", id="o", scopes=("other",)), api_key()])
    address = await gateway.address()

    def attack():
        with contextlib.ExitStack() as stack:
            for each in (untaken(address, REFUSED), untaken(address, PROBES, grpc=True, connections=20)):
                stack.enter_context(each)
            stack.enter_context(first_messages(address, connections=2, streams=10))
            for key in ("", "of nobody", "o"):
                headers = {"x-api-key": key} if key else {}
                with httpx.Client(base_url="http://{}:{}".format(*address), timeout=60, headers=headers) as client:
                    for path in (
                        INFER,
                        *(f"/v2/models/digits{below}" for below in ("", "/ready", "/versions/1/infer")),
                    ):
                        assert client.post(path, content=b"x" * 100_000).status_code in (401, 403)
                        assert client.get(path).status_code in (401, 403)

    await asyncio.to_thread(attack)
    assert room.seen == []
    assert [each for each in calls.metadata if "argosy-endpoint" in each] == []
    async with await http(gateway, headers={"x-api-key": KEY}) as client:
        assert (await client.post(INFER, content=b"x")).json()["replica"] == "room"
