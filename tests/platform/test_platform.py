"""The platform whole: real replicas, the real gateway, a controller that is killed, and clients that notice nothing."""

import asyncio
import os
import signal
from collections.abc import Callable
from functools import partial

import pytest

from argosy.platform import leftovers
from argosy.platform.down import down
from argosy.spec.settings import Home, Settings
from argosy.store.store import Store
from argosy.targets.launch import folder
from argosy.targets.tags import replicas
from tests.platform.packages import push
from tests.platform.up import Load, Up, until


@pytest.mark.slow
async def test_a_model_is_served_through_crashes_a_dead_controller_and_a_new_version(
    home: Home, store: Store, settings: Settings, start: Callable[..., Up]
):
    for number in (1, 2):
        push(store, home.root / f"p{number}", float(number))
    push(store, home.root / "p3", 3.0, golden=4.0)
    platform = await asyncio.to_thread(start().ready)
    call = partial(asyncio.to_thread, platform.call)
    deployed = await call("PUT", "/v1/endpoints/digits", {"model": "digits:1", "replicas": 2}, wait=60)
    assert deployed["endpoint"]["state"] == "ready"
    async with Load(deployed["url"], deployed["key"]) as load:
        await load.more()

        victim, *_ = pids = await asyncio.to_thread(platform.pids)
        os.kill(victim, signal.SIGKILL)
        await load.more()
        await asyncio.to_thread(until, lambda: len(platform.pids()) == 2 and victim not in platform.pids())
        assert load.bad == []

        pids = await asyncio.to_thread(platform.pids)
        await asyncio.to_thread(platform.kill)
        await load.more()
        platform = await asyncio.to_thread(start().ready)
        call = partial(asyncio.to_thread, platform.call)
        assert await asyncio.to_thread(platform.pids) == pids
        await load.more()
        assert load.bad == []

        swapped = await call("PUT", "/v1/endpoints/digits", {"model": "digits:2", "replicas": 2}, wait=60)
        assert swapped["endpoint"]["serving"] == "digits:2"
        assert swapped["key"] is None
        await load.more()
        assert load.answers == {1.0, 2.0}

        failed = await call("PUT", "/v1/endpoints/digits", {"model": "digits:3", "replicas": 2}, wait=60)
        assert failed["endpoint"]["state"] == "failed"
        assert "golden" in failed["endpoint"]["reason"]
        assert failed["endpoint"]["serving"] == "digits:2"
        await load.more()
        back = await call("PUT", "/v1/endpoints/digits", {"model": "digits:2", "replicas": 1}, wait=60)
        assert back["endpoint"]["state"] == "ready"
        await asyncio.to_thread(until, lambda: len(platform.call("GET", "/v1/replicas")) == 1)
        await load.more()
        assert load.bad == []
        assert load.answers == {1.0, 2.0}
    lines: list[str] = []
    assert await down(home, settings, report=lines.append)
    assert await asyncio.to_thread(platform.process.wait, 60) == 0
    assert_nothing_is_left(home)


def assert_nothing_is_left(home: Home) -> None:
    assert leftovers.gateways(home) == []
    assert replicas(home.root)[0] == []
    left = {path.relative_to(home.run).parts[0] for path in home.run.rglob("*")}
    assert left <= {"gateway", "local.ends"}, "when replicas ended is for the next platform's ledger of cost"
    assert not any(path.is_socket() for path in home.run.rglob("*"))
    assert not folder(home).exists()
