"""Gateways of two regions: what no replica of one answers, the other does, and nothing crosses a second border."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import EndpointRoute, Tls, Upstream, Waiting
from argosy.spec.address import Address
from argosy.spec.errors import InvalidArgument
from argosy.spec.limits import Limits
from argosy.spec.region import Peer
from prove.delay import Link
from tests.gateway.grpc_kit import infer, served, with_client
from tests.gateway.kit import KEY, Load, api_key, http, one, revision, shared
from tests.gateway.test_language import CHAT, MESSAGES, chat, engine_replica, events, model, version
from tests.gateway.test_tls import certificate
from tests.language.fake_engine import running

INFER = "/v2/models/digits/infer"
TOKEN = "between-east-and-west-0123456789abcdef"
WITH_KEY = {"authorization": f"Bearer {KEY}"}
DEAD = "/nowhere/dead.sock"


@pytest.fixture
async def west(config):
    """The gateway of another region."""
    made = Gateway(msgspec.structs.replace(config, run_dir=f"{config.run_dir}-west"))
    yield made
    await made.stop(0.5)


async def peer(gateway, region="west", **fields):
    """A gateway as another region knows it."""
    host, port = await gateway.address()
    return Peer(**{"region": region, "host": host, "port": port, "endpoints": ("digits",), "token": TOKEN} | fields)


def east(**fields):
    """The region in which requests arrive, as the other knows it; nobody listens there."""
    return Peer(**{"region": "east", "host": "127.0.0.1", "port": 9, "token": TOKEN} | fields)


def lines(gateway):
    """The access log."""
    return [json.loads(line) for line in Path(gateway.config.access_log_path).read_text().splitlines()]


async def applied(gateway, endpoints, keys=(), healthy=1):
    """Envoy takes peers that it asks for their health into use once they have answered."""
    await gateway.apply(endpoints, keys)
    async with asyncio.timeout(60):
        while (
            sum((await gateway.statistics(r"^cluster\..*/@peers/.*\.membership_(healthy|degraded)$")).values())
            < healthy
        ):
            await asyncio.sleep(0.02)


async def test_a_peer_answers_once_the_replicas_here_are_dead(gateway, west, replica):
    a, b = await replica("a"), await replica("b")
    await west.start([one(b, peers=(east(),))], [api_key("another", id="k2")])
    await gateway.start([one(a, peers=(await peer(west),))], [api_key()])
    async with await http(gateway, headers=WITH_KEY) as client:
        assert (await client.post(INFER, content=b"x")).json()["replica"] == "a"
        await a.stop()
        answers = [await client.post(INFER, content=b"x") for _ in range(20)]
        assert {each.status_code for each in answers} == {200}
        assert {each.json()["replica"] for each in answers} == {"b"}
        assert {each.headers["x-argosy-replica"] for each in answers} == {"b"}
        assert (await client.post(INFER, headers={"authorization": "Bearer wrong"})).status_code == 401
    seen = [*a.seen, *b.seen]
    assert {each.headers["x-argosy-key-id"] for each in seen} == {"k1"}
    assert not any(TOKEN in str(each.headers) for each in seen)
    assert not any("x-argosy-peer-key" in each.headers for each in b.seen)
    await gateway.stop(0.5)
    await west.stop(0.5)
    asked = [each for each in lines(gateway) if each["status"] == 200]
    assert [each["region"] for each in asked] == [None, *["west"] * 20]
    answered = [each for each in lines(west) if each["path"] == INFER]
    assert [(each["peer"], each["key"], each["region"]) for each in answered] == [(True, "k1", None)] * 20
    assert {each["protocol"] for each in answered} == {"HTTP/2"}


async def test_what_comes_from_a_peer_goes_no_further_and_nobody_else_is_one(gateway, west, replica):
    a = await replica("a")
    await gateway.start()
    await west.start([one(DEAD, peers=(await peer(gateway, "east"),), auth=False)])
    await applied(gateway, [one(DEAD, peers=(await peer(west),), auth=False)])
    async with await http(gateway) as client, await http(west) as other:
        assert (await client.post(INFER, content=b"x")).status_code == 503
        forged = {"x-argosy-peer": TOKEN[:-1], "x-argosy-peer-key": "k9"}
        await west.apply([one(a, peers=(await peer(gateway, "east"),))], [api_key()])
        assert (await other.post(INFER, headers=forged)).status_code == 401
        assert (await other.get("/v2/models/digits/peer", headers=forged)).status_code == 401
        assert (await other.post(INFER, headers=forged | WITH_KEY, content=b"x")).json()["replica"] == "a"
        genuine = await other.post(INFER, headers={"x-argosy-peer": TOKEN}, content=b"x")
        assert genuine.status_code == 200
    assert [each.headers["x-argosy-key-id"] for each in a.seen] == ["k1", "peer.east"]
    await gateway.stop(0.5)
    await west.stop(0.5)
    assert len([each for each in lines(gateway) if each["path"] == INFER]) == 1
    first, *_ = [each for each in lines(west) if each["path"] == INFER]
    assert (first["peer"], first["status"], first["region"]) == (True, 503, None)


async def test_only_regions_that_may_answer_are_asked(gateway, west, replica):
    b = await replica("b")
    await west.start([one(b, auth=False, peers=(east(),))])
    there = await peer(west, rtt=0.08)

    def near(**fields):
        return [shared(revision("r1", "1", DEAD, weight=1), peers=(there,), **fields)]

    await gateway.start(near(regions=("east", "north")))
    async with await http(gateway) as client:
        assert (await client.post(INFER, content=b"x")).status_code == 503
        await gateway.apply(near(peer_rtt=0.05))
        assert (await client.post(INFER, content=b"x")).status_code == 503
        await applied(gateway, near(peer_rtt=0.1, regions=("east", "west")))
        assert (await client.post(INFER, content=b"x")).json()["replica"] == "b"
    assert len(b.seen) == 1


async def test_a_replica_that_is_full_leaves_a_request_to_a_peer_and_gets_the_next(gateway, west, replica):
    a, b = await replica("a"), await replica("b")
    full = True

    async def busy(request):
        return (503, {}, b"") if full else await a.echo(request)

    a.handler = busy
    slow = api_key(requests_per_second=0.001, burst=1)
    await west.start([one(b, peers=(east(),))], [slow])
    await gateway.start([one(a, peers=(await peer(west),))], [api_key()])
    async with await http(gateway, headers=WITH_KEY) as client:
        spilled = [(await client.post(INFER, content=b"x")).json()["replica"] for _ in range(10)]
        full = False
        back = [(await client.post(INFER, content=b"x")).json()["replica"] for _ in range(10)]
    assert (set(spilled), set(back)) == ({"b"}, {"a"})
    assert len(a.seen) == 20


async def test_an_endpoint_without_a_replica_here_is_answered_elsewhere_then_by_who_waits(gateway, west, replica):
    b, room = await replica("b"), await replica("room")
    cold = Waiting(http=Address(path=room.path))
    await west.start([one(b, auth=False, peers=(east(),))])
    there = await peer(west)
    await gateway.start([EndpointRoute(endpoint="digits", peers=(there,), auth=False)])
    async with await http(gateway) as client:
        assert (await client.post(INFER, content=b"x")).json()["replica"] == "b"
        assert (await client.get("/v2/health/ready")).status_code == 200
        await gateway.apply([shared(revision("r1", "1", weight=1), peers=(there,), waiting=cold)])
        assert (await client.post(INFER, content=b"x")).json()["replica"] == "b"
        assert not room.seen
        await west.stop(0)
        assert (await client.post(INFER, content=b"x")).json()["replica"] == "room"


@pytest.mark.slow
async def test_a_peer_at_zero_is_the_last_resort(gateway, west, config, replica):
    b, room = await replica("b"), await replica("room")
    zero = shared(revision("r1", "1", weight=1), waiting=Waiting(http=Address(path=room.path)), peers=(east(),))
    north = Gateway(msgspec.structs.replace(config, run_dir=f"{config.run_dir}-north"))
    try:
        await west.start([zero])
        await north.start([one(b, auth=False, peers=(east(),))])
        first, then = await peer(west, rank=1), await peer(north, "north", rank=2, token=TOKEN + "2")

        async def asked(*peers):
            await applied(gateway, [EndpointRoute(endpoint="digits", peers=peers, auth=False)], healthy=len(peers))
            return (await client.post(INFER, content=b"x")).json()["replica"]

        await gateway.start()
        async with await http(gateway) as client:
            await north.apply([one(b, auth=False, peers=(east(token=TOKEN + "2"),))])
            assert await asked(first, then) == "b"
            assert not room.seen
            assert await asked(first) == "room"
    finally:
        await north.stop(0.5)


@pytest.mark.slow
async def test_grpc_crosses_too(gateway, west, grpc_replica):
    a, b = grpc_replica("a"), grpc_replica("b")
    await west.start([msgspec.structs.replace(served("digits", b), peers=(east(),))], [api_key("another", id="k2")])
    await gateway.start([msgspec.structs.replace(served("digits", a), peers=(await peer(west),))], [api_key()])
    a.server.stop(None).wait()
    answer = await with_client(gateway, lambda client: infer(client, "digits", headers=WITH_KEY))
    assert answer == "b"
    assert not any(TOKEN in str(each) for each in b.metadata)


@pytest.mark.slow
@pytest.mark.parametrize("authority", ["localhost", "127.0.0.1"])
async def test_a_peer_is_who_its_certificate_says(gateway, config, replica, folder, monkeypatch, authority):
    b = await replica("b")
    cert, key = certificate(folder, "c", "west")
    run, tls = f"{config.run_dir}-west", Tls(str(cert), str(key))
    west = Gateway(msgspec.structs.replace(config, run_dir=run, tls=tls))
    await west.start([one(b, auth=False, peers=(east(),))])
    try:
        there = await peer(west, tls=True, authority=authority)
        route = EndpointRoute(endpoint="digits", peers=(there,), auth=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        await gateway.start([route])
        async with await http(gateway) as client:
            assert (await client.post(INFER, content=b"x")).json()["replica"] == "b"
            other = msgspec.structs.replace(there, authority="elsewhere.example")
            await gateway.apply([msgspec.structs.replace(route, peers=(other,))])
            assert (await client.post(INFER, content=b"x")).status_code == 503
    finally:
        await west.stop(0.5)


async def test_nobody_waits_for_a_region_that_is_gone(gateway, replica):
    a = await replica("a")
    await gateway.start([one(a, auth=False, peers=(east(endpoints=("digits",)),))])
    async with await http(gateway) as client:
        assert (await client.post(INFER, content=b"x")).json()["replica"] == "a"
        await a.stop()
        assert (await client.post(INFER, content=b"x")).status_code == 503


@pytest.mark.slow
async def test_what_waits_on_a_link_that_falls_silent_is_answered_by_the_next_region(gateway, west, config, replica):
    b, c = await replica("b"), await replica("c")
    north = Gateway(msgspec.structs.replace(config, run_dir=f"{config.run_dir}-north"))
    await west.start([one(b, auth=False, peers=(east(),))])
    await north.start([one(c, auth=False, peers=(east(token=TOKEN + "2"),))])
    link = await Link(*await west.address(), 0.0).start()
    try:
        host, port = link.address
        first = await peer(west, host=host, port=port, rank=1)
        then = await peer(north, "north", rank=2, token=TOKEN + "2")
        await gateway.start([EndpointRoute(endpoint="digits", peers=(first, then), auth=False)])
        async with await http(gateway) as client:
            client.timeout = 60
            assert (await client.post(INFER, content=b"x")).json()["replica"] == "b"
            link.cut()
            answers = await asyncio.gather(*(client.post(INFER, content=b"x") for _ in range(10)))
            assert {each.json()["replica"] for each in answers} == {"c"}
            link.heal()
            async with asyncio.timeout(60):
                while (await client.post(INFER, content=b"x")).json()["replica"] != "b":
                    await asyncio.sleep(0.2)
    finally:
        await link.stop()
        await north.stop(0.5)


async def test_what_is_under_way_may_go_elsewhere_after_the_routes_have_changed(gateway, west, replica):
    a, b = await replica("a"), await replica("b")

    async def held(request):
        a.arrived.set()
        await asyncio.Event().wait()

    a.handler = held
    await west.start([one(b, auth=False, peers=(east(),))])
    route = one(a, auth=False, peers=(await peer(west),))
    await gateway.start([route])
    async with await http(gateway) as client:
        client.timeout = 60
        asked = asyncio.create_task(client.post(INFER, content=b"x"))
        await a.arrived.wait()
        await gateway.apply([msgspec.structs.replace(route, limits=Limits(connections=99))])
        await gateway.sweep(0)
        await a.stop()
        answer = await asked
        assert answer.json()["replica"] == "b"


@pytest.mark.slow
async def test_nothing_is_lost_while_the_replicas_here_die(gateway, west, replica):
    a, b = await replica("a"), await replica("b")
    await west.start([one(b, auth=False, peers=(east(),))])
    await gateway.start([one(a, auth=False, peers=(await peer(west),))])
    async with await http(gateway) as client, Load(client, workers=16) as load:
        await a.arrived.wait()
        await a.stop()
        before = len(b.seen)
        while len(b.seen) < before + 200:
            b.arrived.clear()
            await b.arrived.wait()
        await a.start()
        a.seen.clear()
        a.arrived.clear()
        await a.arrived.wait()
    assert {status for status, _ in load.answers} == {200}
    assert {who for _, who in load.answers} == {"a", "b"}


def test_two_peers_of_one_name_or_one_token_are_refused():
    for other in (east(token=TOKEN + "2"), east(region="west")):
        with pytest.raises(InvalidArgument, match="two peers have the same"):
            EndpointRoute(endpoint="digits", peers=(east(), other))


@pytest.mark.slow
async def test_a_model_whose_replicas_are_elsewhere_answers_as_if_it_were_here(gateway, west, folder):
    with running(folder / "e.sock") as engine:
        there = msgspec.structs.replace(version(engine), upstreams=(engine_replica(engine),))
        await west.start([model(engine, revisions=(there,), peers=(east(),))], [api_key("another", id="k2")])
        far = await peer(west, endpoints=("gemma",))
        gone = Upstream(replica="gone", http=Address(path=DEAD), engine=Address(path=f"{DEAD}-engine"))
        await gateway.start()
        none, dead = (msgspec.structs.replace(version(engine), upstreams=each) for each in ((), (gone,)))
        for revisions in ((), (none,), (dead,)):
            await applied(gateway, [model(engine, revisions=revisions, peers=(far,))], [api_key()])
            async with await http(gateway, headers=WITH_KEY) as client:
                whole = await client.post(CHAT, json=chat())
                assert (whole.status_code, "usage" in whole.json()) == (200, True), whole.text
                named = await client.post(f"/endpoints/gemma{CHAT}", json={"messages": MESSAGES})
                assert named.status_code == 200, named.text
                parts = events(await client.post(CHAT, json=chat(stream=True)))
                assert parts
                assert not any("usage" in each or "timings" in each for each in parts)
        await gateway.stop(0.5)
    sent = lines(gateway)
    assert [(each["key"], each["region"]) for each in sent] == [("k1", "west")] * 9
    assert [each["tokens"] is not None for each in sent] == [True, False, *[True] * 7]
