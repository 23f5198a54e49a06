"""Rollouts on the real platform, under load."""

import asyncio
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from argosy.spec.settings import Home
from argosy.store.store import Store
from tests.platform.packages import picky, push
from tests.platform.up import PATIENCE, Load, Up

# A replica that has just started, beside everything else on this machine, must not count as a slower model.
GUARD = {"min_requests": 20, "latency_margin": 10.0, "latency_tolerance": 3.0, "margin": 0.05}
ENDPOINT: dict[str, Any] = {"model": "digits:1", "runtime": {"allow_nan": False}, "guard": GUARD}


class Mixed(Load):
    """A load in which one request of five has numbers below zero; answers of 500 are counted, not bad."""

    failed = 0

    async def _client(self) -> None:
        bodies = [
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [sign] * 4}]}
            for sign in (1, 1, 1, 1, -1)
        ]
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {self.key}"}, timeout=PATIENCE) as client:
            for body in itertools.cycle(bodies):
                if self._stop.is_set():
                    return
                answer = await client.post(self.url, json=body)
                self.good += answer.status_code == 200
                self.failed += answer.status_code == 500
                if answer.status_code not in (200, 500):
                    self.bad.append(f"{answer.status_code} {answer.text}")
                await asyncio.sleep(0.005)


async def ended(call: Any, number: int) -> dict[str, Any]:
    """The rollout of that number, once it is over."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with_status = await call("GET", "/v1/endpoints/digits/rollout")
            if with_status["number"] == number and not with_status["live"]:
                return with_status
            await asyncio.sleep(0.1)


@pytest.fixture
async def platform(home: Home, store: Store, start: Callable[..., Up]):
    push(store, home.root / "p1", 1.0)
    push(store, home.root / "p2", 2.0, model=picky)
    push(store, home.root / "p3", 3.0, golden=4.0)
    push(store, home.root / "p4", 4.0)
    return await asyncio.to_thread(start().ready)


async def test_a_version_that_fails_on_some_inputs_is_rolled_back_by_itself(platform: Up):
    call = partial(asyncio.to_thread, platform.call)
    deployed = await call("PUT", "/v1/endpoints/digits", ENDPOINT, wait=60)
    canary = {"strategy": "canary", "steps": [{"weight": 20, "requests": 50}]}
    async with Mixed(deployed["url"], deployed["key"], clients=4) as load:
        await load.more(300)
        assert (load.bad, load.failed) == ([], 0)
        await call("PUT", "/v1/endpoints/digits", ENDPOINT | {"model": "digits:2", "rollout": canary})
        over = await ended(call, 1)
        assert (over["phase"], over["verdict"]) == ("rolled-back", "rollback")
        await call("GET", "/v1/endpoints/digits")  # a pass later the gateway has the route
        failed = load.failed
        await load.more(100)
        assert load.failed <= failed + 2, "only what was on its way"
    assert "errors got worse" in over["reason"]
    assert load.bad == []
    status = await call("GET", "/v1/endpoints/digits")
    assert (status["state"], status["serving"]) == ("failed", "digits:1")
    history = await call("GET", "/v1/history/digits")
    assert "rolled-back" in str(history)


@pytest.mark.slow
async def test_a_version_that_does_not_load_never_gets_a_request(platform: Up):
    call = partial(asyncio.to_thread, platform.call)
    deployed = await call("PUT", "/v1/endpoints/digits", ENDPOINT, wait=60)
    async with Load(deployed["url"], deployed["key"]) as load:
        await call("PUT", "/v1/endpoints/digits", ENDPOINT | {"model": "digits:3"})
        over = await ended(call, 1)
        await load.more(30)
    assert (over["phase"], over["exposed"], load.bad, load.answers) == ("rolled-back", 0, [], {1.0})


@pytest.mark.slow
async def test_no_request_fails_through_rollouts_of_every_strategy_and_an_undo(platform: Up):
    call = partial(asyncio.to_thread, platform.call)
    deployed = await call("PUT", "/v1/endpoints/digits", {"model": "digits:1", "replicas": 2}, wait=60)
    canary = {"strategy": "canary", "steps": [{"weight": 10, "requests": 5}, {"weight": 50, "seconds": 1}]}
    guarded = {"rollout": canary, "guard": GUARD}
    turns = [{}, {"rollout": canary}, {"rollout": {"strategy": "blue-green", "keep_warm": 1}}, guarded]
    async with Load(deployed["url"], deployed["key"], clients=6) as load:
        for number, turn in enumerate(turns, 1):
            body = {"model": f"digits:{1 if number % 2 == 0 else 4}", "replicas": 2} | turn
            await call("PUT", "/v1/endpoints/digits", body)
            over = await ended(call, number)
            assert over["phase"] == "done", over
            assert load.bad == []
        undone = await call("POST", "/v1/endpoints/digits/rollout/undo", actor="ada", reason="second thoughts")
        assert undone["number"] == 5
        assert (await call("POST", "/v1/endpoints/digits/rollout/promote"))["candidate"] == "digits:4"
        assert (await ended(call, 5))["phase"] == "done"
        await load.more(20)
    assert (load.bad, load.answers) == ([], {1.0, 4.0})
