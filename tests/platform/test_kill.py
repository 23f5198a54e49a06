"""kill -9 of the controller at any moment: nothing that runs is lost, doubled or restarted."""

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Callable

import httpx
import psutil
import pytest

from argosy.platform import leftovers
from argosy.platform.down import down
from argosy.spec.settings import Home, Settings
from argosy.store.store import Store
from argosy.targets.tags import scan
from tests.platform.test_platform import assert_nothing_is_left
from tests.platform.up import STAND_IN_UP, Up, until
from tests.ports import free
from tests.store.samples import model_lineage, model_manifest, write_folder


@pytest.fixture
def package(store: Store, home: Home) -> str:
    folder = write_folder(home.root / "package")
    (folder / "behaviour").write_text("ok")
    return store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage()).ref


def leaders(home: Home) -> dict[str, int]:
    found = [each for each in scan(home.root) if each.leader]
    names = Counter(each.replica for each in found)
    assert not names or max(names.values()) == 1, f"two processes of one replica: {names}"
    return {each.replica: each.process.pid for each in found}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_every_replica_is_adopted_whenever_the_controller_is_killed(
    home: Home, package: str, settings: Settings, start: Callable[..., Up], seed: int
):
    chance = random.Random(seed)
    platform = start(STAND_IN_UP).ready()
    for wanted in (3, 1, 2):
        platform.call("PUT", "/v1/endpoints/digits", {"model": package, "replicas": wanted})
        await asyncio.sleep(chance.uniform(0, 0.4))
        platform.kill()
        before = leaders(home)
        platform = start(STAND_IN_UP).ready()
        until(lambda: len(leaders(home)) == wanted and len(platform.pids()) == wanted)  # noqa: B023
        after = leaders(home)
        kept = set(before.items()) & set(after.items())
        assert len(kept) >= min(len(before), wanted), "what ran and is wanted still runs"
        assert len(leftovers.gateways(home)) == 1
    platform.kill()
    assert await down(home, settings, report=print)
    assert_nothing_is_left(home)
    assert not await down(home, settings, report=print)


@pytest.mark.slow
def test_a_restart_changes_nothing_that_is_as_declared(home: Home, package: str, start: Callable[..., Up]):
    platform = start(STAND_IN_UP).ready()
    platform.call("PUT", "/v1/endpoints/digits", {"model": package, "replicas": 2}, wait=60)
    replicas, gateway = platform.pids(), leftovers.gateways(home)
    files = {path: path.stat().st_mtime_ns for path in (home.run / "gateway" / "xds").iterdir()}
    platform.kill()
    platform = start(STAND_IN_UP).ready()
    assert platform.call("GET", "/v1/endpoints/digits", wait=60)["state"] == "ready"
    assert (platform.pids(), leftovers.gateways(home)) == (replicas, gateway)
    assert {path: path.stat().st_mtime_ns for path in (home.run / "gateway" / "xds").iterdir()} == files
    assert platform.stop() == 0


@pytest.mark.slow
def test_a_replica_and_a_gateway_that_died_meanwhile_are_started_again(
    home: Home, package: str, start: Callable[..., Up]
):
    platform = start(STAND_IN_UP).ready()
    platform.call("PUT", "/v1/endpoints/digits", {"model": package, "replicas": 2}, wait=60)
    first = platform.pids()
    leftovers.end_gateways(home)
    until(lambda: len(leftovers.gateways(home)) == 1)
    platform.kill()
    os.kill(first[0], signal.SIGKILL)
    leftovers.end_gateways(home)
    platform = start(STAND_IN_UP).ready()
    until(lambda: len(platform.pids()) == 2)
    assert first[1] in platform.pids()
    assert len(leftovers.gateways(home)) == 1
    assert platform.stop() == 0


@pytest.mark.slow
def test_a_gateway_that_died_with_its_controller_comes_back_with_its_routes(
    home: Home, package: str, start: Callable[..., Up]
):
    port = free()
    home.config.write_text(f"control: {{port: 0}}\ngateway: {{port: {port}}}\n")
    platform = start(STAND_IN_UP).ready()
    url = platform.call("PUT", "/v1/endpoints/digits", {"model": package, "public": True}, wait=60)["url"]
    platform.kill()
    leftovers.end_gateways(home)
    platform = start(STAND_IN_UP)

    def answered() -> int:
        with contextlib.suppress(httpx.TransportError):
            return httpx.post(url, json={}).status_code
        return 0

    assert until(answered) == 200, "the first answer is a good one"
    assert platform.ready().stop() == 0


@pytest.mark.slow
def test_a_gateway_that_hangs_is_replaced(home: Home, package: str, start: Callable[..., Up]):
    platform = start(STAND_IN_UP).ready()
    platform.call("PUT", "/v1/endpoints/digits", {"model": package, "public": True}, wait=60)
    (hung,) = leftovers.gateways(home)
    hung.suspend()
    until(lambda: leftovers.gateways(home) not in ([], [hung]), seconds=90)
    until(lambda: platform.call("GET", "/v1/status")["error"] == "")
    assert httpx.post(platform.call("GET", "/v1/endpoints/digits")["url"], json={}).status_code == 200
    assert platform.stop() == 0


def test_a_second_interrupt_waits_for_nothing(home: Home, package: str, start: Callable[..., Up]):
    platform = start(STAND_IN_UP).ready()
    platform.call("PUT", "/v1/endpoints/digits", {"model": package, "replicas": 1}, wait=60)
    (replica,) = platform.call("GET", "/v1/replicas")
    psutil.Process(replica["pid"]).suspend()
    platform.process.send_signal(signal.SIGINT)
    until(lambda: "stopping" in platform.out.read_text())
    platform.process.send_signal(signal.SIGINT)
    assert platform.process.wait(60) == 0
    assert_nothing_is_left(home)
