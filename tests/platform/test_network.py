"""A platform whose replicas are reached by TLS: everything goes by their addresses, certificates are renewed under
load, and a restart, another setting or a lost authority costs no request."""

import asyncio
from pathlib import Path

import grpc
import httpx
import pytest

from argosy.platform import leftovers
from argosy.spec.address import Address
from argosy.spec.settings import Home
from argosy.store import authority
from argosy.store.store import Store
from argosy.targets.health import ask
from tests.platform.packages import push
from tests.platform.up import Load, Up, home, started, store, until

__all__ = ["home", "store"]
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}
LIVE = "/inference.GRPCInferenceService/ServerLive"


def over(home: Home, network: str) -> None:
    home.config.write_text(f"control: {{port: 0}}\ngateway: {{port: 0}}\nreplicas: {{network: {network}}}\n")


@pytest.fixture
def start(home: Home, store: Store):
    push(store, home.root / "p1", 3.0)
    with started(home) as begin:
        yield begin


def deploy(platform: Up, **more: object) -> dict[str, str]:
    declared = {"model": "digits:1", "replicas": 2, **more}
    found = platform.call("PUT", "/v1/endpoints/digits", declared, wait=60)
    assert found["endpoint"]["state"] == "ready"
    return found


def networks(platform: Up) -> set[str]:
    found = platform.call("GET", "/v1/replicas")
    return {"tls" if "tls" in each["http"] else "unix" for each in found if each["phase"] == "ready"}


@pytest.mark.slow
def test_everything_reaches_a_replica_by_its_address(home: Home, start):
    over(home, "tls")
    platform = start().ready()
    deployed = deploy(platform, payload={"flush": 1})
    found = platform.call("GET", "/v1/replicas")
    assert len({each[kind]["port"] for each in found for kind in ("http", "grpc")}) == 4
    assert all(each["http"]["tls"]["name"].endswith(f"/replica/{each['id']}") for each in found)
    headers = {"authorization": f"Bearer {deployed['key']}"}
    until(lambda: (platform.call("GET", "/v1/status")["recorder"] or {}).get("replicas") == 2)
    answer = httpx.post(deployed["url"], json=BODY, headers=headers, timeout=60)
    assert answer.json()["outputs"][0]["data"] == [3.0] * 4
    with grpc.insecure_channel(platform.call("GET", "/v1/status")["gateway"].removeprefix("http://")) as channel:
        assert channel.unary_unary(LIVE)(b"", timeout=60, wait_for_ready=True) == b"\x08\x01"
    until(lambda: platform.ask("GET", "/metrics").text.count("argosy_loop_seconds_total{") == 2)
    until(lambda: platform.call("GET", "/v1/status")["recorder"]["records"])
    files = "".join(each.read_text() for each in (home.gateway / "xds").glob("eds-digits*"))
    assert "socket_address" in files
    assert "pipe" not in files
    assert platform.stop() == 0


@pytest.mark.slow
async def test_renewals_a_restart_and_another_setting_cost_no_request(home: Home, start):
    over(home, "tls")
    platform = await asyncio.to_thread(start().ready)
    deployed = await asyncio.to_thread(deploy, platform)
    callers = home.root / "tls" / "replicas"
    replicas = list((home.run / "r").glob("*.tls"))
    assert len(replicas) == 2
    shown = [callers / f"{who}.pem" for who in authority.CALLERS] + [each / authority.REPLICA for each in replicas]
    async with Load(deployed["url"], deployed["key"]) as load:
        await load.more()
        before = [each.read_bytes() for each in shown]
        for each in shown:
            each.write_bytes(b"")
        await asyncio.to_thread(until, lambda: all(map(authority.read, shown)))
        assert [each.read_bytes() for each in shown] != before
        await load.more(100)
        (callers / "authority.key").unlink()
        platform.kill()
        over(home, "unix")
        platform = await asyncio.to_thread(start().ready)
        assert networks(platform) == {"tls"}
        await load.more(100)
        platform.call("PUT", "/v1/endpoints/digits", {"model": "digits:1", "replicas": 3}, wait=60)
        assert networks(platform) == {"tls", "unix"}
        await load.more(100)
    assert load.bad == []
    assert (callers / "authorities.pem").read_text().count("BEGIN CERTIFICATE") == 2
    assert await asyncio.to_thread(platform.stop) == 0
    assert leftovers.serving(home) == []


@pytest.mark.slow
def test_the_gateway_sends_nothing_to_a_replica_of_another_revision(home: Home, start):
    """Its certificate is good, and not that of the one that is to be there."""
    over(home, "tls")
    platform = start().ready()
    deployed = deploy(platform, replicas=1)
    (replica,) = platform.call("GET", "/v1/replicas")
    headers = {"authorization": f"Bearer {deployed['key']}"}
    platform.kill()
    made = authority.Authority(home.root / "tls" / "replicas", replica["http"]["tls"]["name"].split("/")[2])
    (folder,) = (home.run / "r").glob("*.tls")
    impostor = made.identity("digits", "another", replica["id"])
    assert made.tend({folder: impostor}) == 1
    there = Address(port=replica["http"]["port"], tls=impostor)
    until(lambda: asyncio.run(ask(there, "/v2/health/live", 10)) == "yes")
    assert httpx.post(deployed["url"], json=BODY, headers=headers, timeout=60).status_code == 503


def test_which_network_is_a_choice_of_two(home: Home):
    with started(home) as begin:
        over(home, "tcp")
        one = begin()
        assert one.process.wait(60) != 0
        assert "network" in Path(one.out).read_text()
