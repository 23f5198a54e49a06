"""Many new versions under load: `pytest -m slow tests/control/rollout/test_swaps.py`."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from argosy.spec.settings import Home
from argosy.store.store import Store
from tests.platform.packages import push
from tests.platform.up import Load, Up


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_no_request_fails_through_many_swaps(home: Home, store: Store, start: Callable[..., Up]):
    for number in (1, 2):
        push(store, home.root / f"p{number}", float(number))
    platform = await asyncio.to_thread(start().ready)
    call = partial(asyncio.to_thread, platform.call)
    deployed = await call("PUT", "/v1/endpoints/digits", {"model": "digits:1", "replicas": 2}, wait=60)
    async with Load(deployed["url"], deployed["key"], clients=8) as load:
        for turn in range(12):
            body = {"model": f"digits:{turn % 2 + 1}", "replicas": 1 + turn % 3}
            swapped = await call("PUT", "/v1/endpoints/digits", body, wait=60)
            assert swapped["endpoint"]["state"] == "ready"
            await load.more(5)
            assert load.bad == []
    assert load.answers == {1.0, 2.0}
    assert await asyncio.to_thread(platform.stop) == 0
