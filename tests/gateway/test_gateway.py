"""The life of a gateway: applying, rolling back, adopting, swapping under load, ending."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import EndpointRoute, Upstream
from argosy.gateway.snapshot import build_snapshot
from argosy.gateway.subscriptions import Refused
from argosy.spec.address import Address
from argosy.spec.errors import Conflict, Unavailable
from argosy.spec.limits import Limits
from tests.gateway.kit import KEY, api_key, http, one, revision

INFER = "/v2/models/digits/infer"
NORMAL = Limits()


def listing(gateway):
    """Every file of the snapshot with its inode: a rewrite shows."""
    return {path.name: path.stat().st_ino for path in gateway.files.folder.iterdir()}


async def test_nothing_changed_writes_nothing(gateway, replica):
    a = await replica("a")
    await gateway.start([one(a)], [api_key()])
    before = listing(gateway)
    assert await gateway.apply([one(a)], [api_key()]) is False
    assert listing(gateway) == before


async def test_scaling_writes_one_small_file(gateway, replica):
    a, b = await replica("a"), await replica("b")
    await gateway.start([one(a, auth=False)])
    before = listing(gateway)
    both = EndpointRoute(endpoint="digits", revisions=(revision("r1", "1", a, b, weight=1),), auth=False)
    assert await gateway.apply([both]) is True
    after = listing(gateway)
    changed = {name for name in after if after[name] != before.get(name)}
    assert len(changed) == 1
    assert changed.pop().startswith("eds-")
    async with await http(gateway) as client:
        who = {(await client.post(INFER, content=b"x")).json()["replica"] for _ in range(50)}
    assert who == {"a", "b"}


async def test_a_new_revision_replaces_the_old_one_and_its_cluster_goes(gateway, replica, monkeypatch):
    monkeypatch.setattr("argosy.gateway.gateway.GRACE_SECONDS", 60.0)
    a, b = await replica("a"), await replica("b")
    await gateway.start([one(a, auth=False)])
    new = EndpointRoute(endpoint="digits", revisions=(revision("r2", "2", b, weight=1),), auth=False)
    async with await http(gateway) as client:
        await gateway.apply([new])
        assert (await client.post(INFER, content=b"x")).json()["replica"] == "b"
        assert len(await gateway.process.admin.active()) == 2
        await gateway.sweep(grace=0)
        async with asyncio.timeout(60):  # Envoy takes the file up and drops the cluster in its own time
            while [name.split("/")[1] for name in await gateway.process.admin.active()] != ["r2"]:
                await gateway.sweep(grace=0)
                await asyncio.sleep(0.02)
        assert len([name for name in listing(gateway) if name.startswith("eds-")]) == 1
        assert (await client.post(INFER, content=b"x")).status_code == 200


async def test_a_cluster_in_use_outlives_its_route(gateway, replica):
    a, b = await replica("a"), await replica("b")
    go = asyncio.Event()

    async def gated(_):
        await go.wait()
        return 200, {}, b"late"

    a.handler = gated
    await gateway.start([one(a, auth=False)])
    async with await http(gateway) as client:
        waiting = asyncio.create_task(client.post(INFER, content=b"x"))
        await a.arrived.wait()
        await gateway.apply([EndpointRoute(endpoint="digits", revisions=(revision("r2", "2", b, weight=1),))])
        await gateway.sweep(grace=0)
        assert len(await gateway.process.admin.active()) == 2
        go.set()
        assert (await waiting).text == "late"
        async with asyncio.timeout(60):  # Envoy counts a request as in flight for a moment after its answer
            while len(await gateway.process.admin.active()) != 1:
                await gateway.sweep(grace=0)
                await asyncio.sleep(0.02)


async def test_changed_limits_make_a_new_cluster(gateway, replica, monkeypatch):
    monkeypatch.setattr("argosy.gateway.gateway.GRACE_SECONDS", 60.0)
    a = await replica("a")
    await gateway.start([one(a, auth=False)])
    (old,) = await gateway.process.admin.active()
    await gateway.apply([one(a, auth=False, limits=Limits(requests=7))])
    assert old in await gateway.process.admin.active()
    assert len(await gateway.process.admin.active()) == 2


async def test_what_envoy_refuses_is_rolled_back(gateway, replica, monkeypatch):
    a, b = await replica("a"), await replica("b")
    await gateway.start([one(a, auth=False)])
    before = {name: gateway.files.get(name).resources for name in gateway.files.names()}

    def broken(config, endpoints, keys=(), memo=None):
        snapshot = build(config, endpoints, keys)
        snapshot.routes["argosy"]["virtual_hosts"][0]["domains"] = ["*", "*"]
        return snapshot

    from argosy.gateway import gateway as module

    build = module.build_snapshot
    monkeypatch.setattr(module, "build_snapshot", broken)
    with pytest.raises(Refused, match=r"Envoy refuses rds\.json: .*Only a single wildcard domain"):
        await gateway.apply([one(a, auth=False), one(b, endpoint="other", auth=False)])
    monkeypatch.undo()
    assert {name: gateway.files.get(name).resources for name in gateway.files.names()} == before
    async with await http(gateway) as client:
        assert (await client.post(INFER, content=b"x")).status_code == 200
        await gateway.apply([one(a, auth=False), one(b, endpoint="other", auth=False)])
        assert (await client.get("/v2/models/other")).status_code == 200


async def test_a_port_in_use_is_named(config):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        gateway = Gateway(msgspec.structs.replace(config, port=port))
        with pytest.raises(Conflict, match=rf"127\.0\.0\.1:{port}.*gateway\.port"):
            await gateway.start()
        assert not await gateway.alive()
        assert not gateway.process.record.exists()


async def test_two_gateways_do_not_share_a_port(gateway, folder, config):
    await gateway.start()
    _, port = await gateway.address()
    second = Gateway(msgspec.structs.replace(config, run_dir=str(folder / "two"), port=port))
    with pytest.raises(Conflict):
        await second.start()


async def test_a_gateway_is_adopted_and_continues(gateway, replica, config):
    a, b = await replica("a"), await replica("b")
    await gateway.start([one(a, auth=False)])
    before = listing(gateway)
    later = Gateway(config)
    assert await later.adopt()
    assert await later.alive()
    assert await later.apply([one(a, auth=False)]) is False
    assert listing(later) == before
    await later.apply([one(b, auth=False)])
    async with await http(later) as client:
        assert (await client.post(INFER, content=b"x")).json()["replica"] == "b"


async def test_what_was_written_but_not_taken_up_is_written_again(gateway, replica, config):
    a = await replica("a")
    await gateway.start([one(a, auth=False)])
    rds = gateway.files.folder / "rds.json"
    content = msgspec.json.decode(rds.read_bytes())
    content["version_info"] = "99"
    rds.write_bytes(msgspec.json.encode(content))
    later = Gateway(config)
    assert await later.adopt()
    assert await later.apply([one(a, auth=False)]) is True
    assert await later.apply([one(a, auth=False)]) is False
    assert await later.subscriptions.stale() == set()


async def test_hosts_of_a_cluster_that_envoy_was_never_told_of_are_new(gateway, replica, config):
    a, b = await replica("a"), await replica("b")
    await gateway.start([one(a, auth=False)])
    new = [EndpointRoute(endpoint="digits", revisions=(revision("r2", "2", b, weight=1),), auth=False)]
    files = build_snapshot(config, new).files()
    (hosts,) = [name for name in files if "r2" in name and "http" in name]
    gateway.files.write(hosts, files[hosts])  # and here the controller is killed
    later = Gateway(config)
    assert await later.adopt()
    assert await later.apply(new) is True
    async with await http(later) as client:
        assert (await client.post(INFER, content=b"x")).json()["replica"] == "b"


STARTER = """
import asyncio, os, signal, sys
from argosy.gateway.gateway import Gateway
from argosy.gateway.model import GatewayConfig
async def main():
    config = GatewayConfig(run_dir=sys.argv[1], port=0, concurrency=1, max_connections_per_address=4096)
    await Gateway(config).start()
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


async def test_envoy_outlives_the_process_that_started_it(config):
    child = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", STARTER, config.run_dir], check=False, timeout=100
    )
    assert child.returncode == -9
    gateway = Gateway(config)
    assert await gateway.adopt()
    pid = gateway.process.running.pid
    async with await http(gateway) as client:
        assert (await client.get("/v2/health/live")).status_code == 200
    await gateway.stop(0.2)
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_there_is_nothing_to_adopt(gateway, config):
    assert not await gateway.adopt()
    await gateway.start()
    os.kill(gateway.process.running.pid, 9)
    assert await gateway.process._ended(60)
    assert not await Gateway(config).adopt()
    with pytest.raises(Unavailable):
        await gateway.address()
    await gateway.start()
    assert await gateway.alive()


async def test_one_that_died_is_resumed_with_the_routes_it_had(gateway, config, replica):
    a = await replica("a")
    assert not await gateway.resume(), "nothing lies there"
    await gateway.start([one(a)], [api_key()])
    with pytest.raises(Conflict, match="already runs"):
        await gateway.resume()
    before = listing(gateway)
    os.kill(gateway.process.running.pid, 9)
    assert await gateway.process._ended(60)
    later = Gateway(config)
    assert await later.resume()
    async with await http(later, headers={"x-api-key": KEY}) as client:
        assert (await client.post(INFER, content=b"x")).json()["replica"] == "a"
    assert await later.apply([one(a)], [api_key()]) is False
    assert listing(later).keys() == before.keys()
    await later.process.kill()
    later.files.write("rds.json", [{"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"}])
    assert not await Gateway(config).resume(), "what Envoy refuses is not served"
    await gateway.start([one(a)], [api_key()])


async def test_a_gateway_of_other_settings_is_followed_by_one_with_the_same_routes(gateway, config, replica):
    a = await replica("a")
    await gateway.start([one(a, auth=False)])
    with pytest.raises(Conflict, match="already runs"):
        await Gateway(config).start()
    later = Gateway(msgspec.structs.replace(config, max_connections=5, max_body_bytes=10))
    assert await later.adopt()
    assert not gateway.process.alive()
    try:
        async with await http(later) as client:
            assert (await client.post(INFER, content=b"x")).json()["replica"] == "a"
            assert (await client.post(INFER, content=b"x" * 11)).status_code == 413
            await later.apply([one(a, auth=False)])
            assert (await client.post(INFER, content=b"x")).json()["replica"] == "a"
    finally:
        await later.stop(0.1)


async def test_a_gateway_that_cannot_follow_is_none(gateway, config):
    await gateway.start()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        later = Gateway(msgspec.structs.replace(config, max_connections=5, port=taken.getsockname()[1]))
        assert not await later.adopt()
    assert not gateway.process.alive()
    assert not later.process.alive()


async def test_an_envoy_that_hangs_is_ended_and_not_adopted(gateway, config):
    await gateway.start()
    later = Gateway(config)
    later.process.admin.timeout = 0.2
    os.kill(gateway.process.running.pid, signal.SIGSTOP)
    assert not await later.adopt()
    assert not gateway.process.alive()


async def test_without_envoy_nothing_is_changed(gateway, replica):
    a, b = await replica("a"), await replica("b")
    await gateway.start([one(a, auth=False)])
    before = {name: gateway.files.get(name).resources for name in gateway.files.names()}
    await gateway.process.kill()
    with pytest.raises(Unavailable):
        await gateway.apply([one(b, auth=False)])
    assert {name: gateway.files.get(name).resources for name in gateway.files.names()} == before
    await gateway.start([one(b, auth=False)])
    async with await http(gateway) as client:
        assert (await client.post(INFER, content=b"x")).json()["replica"] == "b"


async def test_weight_moves_before_hosts_go(gateway, replica):
    a, b = await replica("a"), await replica("b")

    def route(first, second):
        return [
            EndpointRoute(
                endpoint="digits",
                revisions=(
                    revision("r1", "1", *first, weight=len(first)),
                    revision("r2", "2", *second, weight=len(second)),
                ),
                auth=False,
            )
        ]

    await gateway.start(route([a], []))
    stop = asyncio.Event()
    statuses: set[int] = set()

    async def load(client):
        while not stop.is_set():
            statuses.add((await client.post(INFER, content=b"x")).status_code)

    async with await http(gateway) as client:
        worker = asyncio.create_task(load(client))
        for _ in range(3):
            await gateway.apply(route([], [b]))
            await gateway.apply(route([a], []))
        stop.set()
        await worker
    assert statuses == {200}


async def test_many_endpoints(gateway, replica):
    a = await replica("a")
    await gateway.start([one(a, auth=False)] + [one(f"/s/{n}", endpoint=f"e{n}") for n in range(300)])
    async with await http(gateway) as client:
        assert len((await client.post("/v2/repository/index")).json()["error"]) > 0
        assert (await client.post(INFER, content=b"x")).json()["replica"] == "a"


async def test_stopping_lets_requests_finish(gateway, replica):
    a = await replica("a")
    go = asyncio.Event()

    async def gated(_):
        await go.wait()
        return 200, {}, b"done"

    a.handler = gated
    await gateway.start([one(a, auth=False)])
    async with await http(gateway) as client:
        waiting = asyncio.create_task(client.post(INFER, content=b"x"))
        await a.arrived.wait()
        stopping = asyncio.create_task(gateway.stop(60))
        await asyncio.sleep(0.2)
        go.set()
        assert (await waiting).text == "done"
        await stopping
    assert not gateway.process.alive()
    assert not Path(gateway.config.admin_socket).exists()


async def test_swaps_under_load_lose_nothing(gateway, replica):
    a, b, c = await replica("a"), await replica("b"), await replica("c")

    def route(*replicas, limits=NORMAL, weights=(1, 1)):
        first, second = weights
        revisions = (revision("r1", "1", *replicas, weight=first), revision("r2", "2", c, weight=second))
        return [EndpointRoute(endpoint="digits", revisions=revisions, auth=False, limits=limits)]

    await gateway.start(route(a, b))
    stop = asyncio.Event()
    statuses: list[int] = []

    async def load(client):
        while not stop.is_set():
            statuses.append((await client.post(INFER, content=b"x" * 100)).status_code)

    async with await http(gateway) as client:
        workers = [asyncio.create_task(load(client)) for _ in range(8)]
        for turn in range(4):
            draining = Upstream(replica="a", http=Address(path=a.path), state="draining")
            await gateway.apply(route(draining, b))
            await gateway.apply(route(b))
            await gateway.apply(route(a, b, limits=Limits(requests=1000 + turn), weights=(turn, 4 - turn)))
            await gateway.sweep(grace=0)
            async with asyncio.timeout(60):
                while len(statuses) < 60 * (turn + 1):
                    await asyncio.sleep(0.005)
        stop.set()
        await asyncio.gather(*workers)
    assert len(statuses) > 200
    assert set(statuses) == {200}
