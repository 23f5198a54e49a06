"""Who gets which revision while a rollout stands still: sticky callers and testers, on the real platform."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from argosy.spec.settings import Home
from argosy.store.store import Store
from tests.platform.packages import push
from tests.platform.up import PATIENCE, Up, until

BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}
HALF = {"strategy": "canary", "steps": [{"weight": 50, "requests": 1_000_000}]}
CALLERS = 40


@pytest.fixture
async def platform(home: Home, store: Store, start: Callable[..., Up]):
    push(store, home.root / "p1", 1.0)
    push(store, home.root / "p2", 2.0)
    return await asyncio.to_thread(start().ready)


def half_way(platform: Up, rollout: dict[str, Any]) -> dict[str, Any]:
    """The endpoint as it was deployed, once the candidate has half of the traffic at the gateway."""
    deployed = platform.call("PUT", "/v1/endpoints/digits", {"model": "digits:1", "rollout": rollout}, wait=60)
    platform.call("PUT", "/v1/endpoints/digits", {"model": "digits:2", "rollout": rollout})
    until(lambda: platform.call("GET", "/v1/endpoints/digits/rollout")["weight"] == 50)
    until(lambda: {ask(deployed, headers={"x-user": f"first-{n}"}) for n in range(9)} == {"1", "2"})
    return deployed


def ask(deployed: dict[str, Any], *, headers: dict[str, str] | None = None, key: str = "") -> str:
    """The version that answers."""
    sent = {"authorization": f"Bearer {key or deployed['key']}"} | (headers or {})
    answer = httpx.post(deployed["url"], json=BODY, headers=sent, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return answer.json()["model_version"]


@pytest.mark.slow
async def test_a_caller_keeps_its_version_by_its_header(platform: Up):
    def callers() -> None:
        deployed = half_way(platform, HALF | {"sticky": {"by": "header", "name": "x-user"}})
        users = [{"x-user": f"user-{n}"} for n in range(CALLERS)]
        first = [ask(deployed, headers=user) for user in users]
        assert set(first) == {"1", "2"}
        assert [ask(deployed, headers=user) for user in users] == first
        platform.call("POST", "/v1/endpoints/digits/rollout/abort")
        until(lambda: {ask(deployed, headers=user) for user in users} == {"1"})

    await asyncio.to_thread(callers)


@pytest.mark.slow
async def test_a_tester_picks_the_candidate_even_in_the_shadow_and_nobody_else_does(platform: Up):
    def testers() -> None:
        shadow = {"testers": True, "shadow": {"requests": 1_000_000}}
        deployed = platform.call("PUT", "/v1/endpoints/digits", {"model": "digits:1"}, wait=60)
        platform.call("PUT", "/v1/endpoints/digits", {"model": "digits:2", "rollout": shadow})
        until(lambda: platform.call("GET", "/v1/endpoints/digits/rollout")["phase"] == "shadowing")
        revision = platform.call("GET", "/v1/endpoints/digits")["revision"]
        tester = platform.call("POST", "/v1/keys", {"name": "qa", "scopes": ["digits:test"]})["key"]
        pick = {"x-argosy-revision": revision}

        def status(key: str) -> int:
            sent = {"authorization": f"Bearer {key}"} | pick
            return httpx.post(deployed["url"], json=BODY, headers=sent, timeout=PATIENCE).status_code

        until(lambda: status(tester) == 200)
        assert ask(deployed, headers=pick, key=tester) == "2"
        assert ask(deployed, key=tester) == "1"
        assert status(deployed["key"]) == 403
        assert ask(deployed) == "1"

    await asyncio.to_thread(testers)
