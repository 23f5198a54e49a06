"""Shadows on the real platform: copies under load, answers compared, and no caller the wiser."""

import asyncio
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest

from argosy.spec.settings import Home
from argosy.store.store import Store
from tests.control.rollout.test_rollouts import ended
from tests.platform.packages import blind, push
from tests.platform.up import PATIENCE, Load, Up

SIGNS = (*([1] * 19), -1)
"""One request of twenty has numbers below zero."""
SHADOW = {"share": 1.0, "requests": 200}
CANARY = {"strategy": "canary", "steps": [{"weight": 50, "requests": 20}]}
ENDPOINT: dict[str, Any] = {"model": "digits:1"}


class Signed(Load):
    """Clients that know what the stable version answers; anything else is bad."""

    def __init__(self, url: str, key: str, clients: int = 4) -> None:
        super().__init__(url, key, clients)
        self.versions: set[str] = set()

    async def _client(self) -> None:
        bodies = [{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [s] * 4}]} for s in SIGNS]
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {self.key}"}, timeout=PATIENCE) as client:
            for body in itertools.cycle(bodies):
                if self._stop.is_set():
                    return
                answer = await client.post(self.url, json=body)
                found = answer.json()
                if answer.status_code != 200 or found["outputs"][0]["data"][0] * body["inputs"][0]["data"][0] < 0:
                    self.bad.append(f"{answer.status_code} {answer.text}")
                else:
                    self.good += 1
                    self.versions.add(found["model_version"])
                await asyncio.sleep(0.005)


@pytest.fixture
async def platform(home: Home, store: Store, start: Callable[..., Up]):
    push(store, home.root / "p1", 1.0)
    push(store, home.root / "p2", 1.00001)
    push(store, home.root / "p3", 1.0, model=blind)
    return await asyncio.to_thread(start().ready)


async def reached(call: Any, phase: str) -> dict[str, Any]:
    """The rollout, once it is in this phase."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await call("GET", "/v1/endpoints/digits/rollout")
            if found["phase"] == phase:
                return found
            await asyncio.sleep(0.05)


async def watched(home: Home) -> str:
    """What `argosy rollout watch digits` draws in a terminal until the rollout is over."""
    main, end = os.openpty()
    environment = {
        **os.environ,
        "ARGOSY_HOME": str(home.root),
        "COLUMNS": "160",
        "LINES": "50",
        "TERM": "xterm-256color",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "argosy", "rollout", "watch", "digits", stdin=end, stdout=end, stderr=end, env=environment
    )
    os.close(end)

    def drawn() -> str:
        parts: list[bytes] = []
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:
                return b"".join(parts).decode(errors="replace")
            if not part:
                return b"".join(parts).decode(errors="replace")
            parts.append(part)

    try:
        text = await asyncio.wait_for(asyncio.to_thread(drawn), PATIENCE)
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0, text
    finally:
        if process.returncode is None:
            process.kill()
        os.close(main)
    return text


@pytest.mark.slow
async def test_a_version_that_answers_alike_passes_its_shadow_and_rolls_out_while_somebody_watches(
    platform: Up, home: Home
):
    call = partial(asyncio.to_thread, platform.call)
    deployed = await call("PUT", "/v1/endpoints/digits", ENDPOINT, wait=60)
    guard = {"min_requests": 20, "latency_margin": 10.0, "latency_tolerance": 3.0, "margin": 0.05}
    rollout = CANARY | {"shadow": SHADOW | {"share": 0.5, "requests": 1000}}
    async with Signed(deployed["url"], deployed["key"]) as load:
        await load.more(300)
        await call("PUT", "/v1/endpoints/digits", {"model": "digits:2", "rollout": rollout, "guard": guard})
        await reached(call, "shadowing")
        watching = asyncio.create_task(watched(home))
        over = await ended(call, 1)
        text = await watching
    assert (over["phase"], load.bad, load.versions) == ("done", [], {"1", "2"}), over
    found = over["shadow"]
    assert found["compared"] >= 200
    assert (found["agreement"], found["verdict"], found["candidate_failed"]) == (1.0, "advance", 0)
    assert found["outputs"][0]["name"] == "y"
    assert 0 < found["outputs"][0]["largest"] < 1e-3
    assert found["candidate_latency"]["p50"] > 0
    for part in ("shadowing", "agreement", "answers compared", "50 %", "errors", "latency", "guard: ", "done"):
        assert part in text, text[-3000:]


async def test_a_version_that_answers_wrongly_for_some_inputs_is_rolled_back_before_anybody_sees_it(platform: Up):
    call = partial(asyncio.to_thread, platform.call)
    deployed = await call("PUT", "/v1/endpoints/digits", ENDPOINT, wait=60)
    rollout = CANARY | {"shadow": SHADOW | {"requests": 2000}}
    async with Signed(deployed["url"], deployed["key"]) as load:
        await load.more(20)
        await call("PUT", "/v1/endpoints/digits", {"model": "digits:3", "rollout": rollout})
        await reached(call, "shadowing")
        over = await ended(call, 1)
        await load.more(50)
    assert (over["phase"], over["exposed"], load.bad, load.versions) == ("rolled-back", 0, [], {"1"})
    assert "surely fewer than 99.00%" in over["reason"]
    assert over["shadow"]["examples"][0][1] == "output 'y'"
    status = await call("GET", "/v1/endpoints/digits")
    assert (status["state"], status["serving"]) == ("failed", "digits:1")


@pytest.mark.slow
async def test_a_shadow_that_is_killed_or_hangs_hurts_no_request_and_promotion_skips_it(platform: Up):
    call = partial(asyncio.to_thread, platform.call)
    deployed = await call("PUT", "/v1/endpoints/digits", ENDPOINT, wait=60)
    rollout = CANARY | {"shadow": SHADOW | {"requests": 1_000_000}}

    async def candidate(other_than: int = 0) -> int:
        async with asyncio.timeout(PATIENCE):
            while True:
                for each in await call("GET", "/v1/replicas"):
                    served = each["version"] == "digits:2" and each["phase"] == "ready"
                    if served and each["pid"] not in (0, other_than):
                        return each["pid"]
                await asyncio.sleep(0.05)

    async with Signed(deployed["url"], deployed["key"]) as load:
        await call("PUT", "/v1/endpoints/digits", {"model": "digits:2", "rollout": rollout})
        await reached(call, "shadowing")
        await load.more(50)
        killed = await candidate()
        os.kill(killed, signal.SIGKILL)
        await load.more(100)
        again = await candidate(killed)
        os.kill(again, signal.SIGSTOP)
        await load.more(200)
        os.kill(again, signal.SIGCONT)
        assert (load.bad, load.versions) == ([], {"1"})
        assert (await call("POST", "/v1/endpoints/digits/rollout/promote"))["order"] == "promote"
        over = await ended(call, 1)
        await load.more(50)
    assert (over["phase"], load.bad, load.versions) == ("done", [], {"1", "2"}), over


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_answers_over_grpc_are_compared_too(platform: Up):
    import numpy as np
    import tritonclient.grpc as triton

    def calls() -> dict[str, Any]:
        deployed = platform.call("PUT", "/v1/endpoints/digits", ENDPOINT, wait=60)
        rollout = CANARY | {"shadow": SHADOW | {"requests": 40}}
        platform.call("PUT", "/v1/endpoints/digits", {"model": "digits:2", "rollout": rollout})
        client = triton.InferenceServerClient(deployed["url"].split("/")[2])
        given = triton.InferInput("x", [1, 4], "FP32").set_data_from_numpy(np.ones((1, 4), "f4"))
        end = time.monotonic() + PATIENCE
        while (found := platform.call("GET", "/v1/endpoints/digits/rollout"))["phase"] in ("starting", "shadowing"):
            assert time.monotonic() < end, found
            for _ in range(10):
                client.infer("digits", [given], headers={"authorization": f"Bearer {deployed['key']}"})
        client.close()
        return found

    found = await asyncio.to_thread(calls)
    assert (found["phase"], found["shadow"]["verdict"], found["shadow"]["agreement"]) == ("shifting", "advance", 1.0)
    assert found["shadow"]["compared"] >= 40
