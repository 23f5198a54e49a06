"""Many crashes under load: `pytest -m slow tests/platform/test_crashes.py`."""

import asyncio
import os
import signal
from collections.abc import Callable
from functools import partial

import pytest

from argosy.spec.settings import Home
from argosy.store.store import Store
from tests.platform.packages import push
from tests.platform.up import Load, Up, until


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_no_request_fails_through_many_crashes(home: Home, store: Store, start: Callable[..., Up]):
    push(store, home.root / "p", 2.0)
    platform = await asyncio.to_thread(start().ready)
    call = partial(asyncio.to_thread, platform.call)
    deployed = await call("PUT", "/v1/endpoints/digits", {"model": "digits:1", "replicas": 2}, wait=60)
    async with Load(deployed["url"], deployed["key"], clients=8) as load:
        for _ in range(8):
            victim = (await asyncio.to_thread(platform.pids))[0]
            os.kill(victim, signal.SIGKILL)
            await load.more(20)
            await asyncio.to_thread(
                until,
                lambda victim=victim: len(platform.pids()) == 2 and victim not in platform.pids(),
            )
            await load.all_answer(2)
    assert load.bad == []
    assert await asyncio.to_thread(platform.stop) == 0
