"""From zero and back: the real platform, with stand-ins for replicas that take a second to start."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from argosy.control import strays
from argosy.spec.settings import Home
from argosy.store.store import Store
from tests.control.conftest import Up, until
from tests.store.samples import model_lineage, model_manifest, write_folder

STAND_IN_UP = [sys.executable, str(Path(__file__).with_name("stand_in_up.py"))]
SLEEPY = {"min": 0, "max": 2, "idle": 2, "patience": 2, "window": 5, "history": 10}


@pytest.fixture
def package(store: Store, home: Home) -> str:
    folder = write_folder(home.root / "package")
    (folder / "behaviour").write_text("slow")
    return store.add(folder, name="digits", manifest=model_manifest(), lineage=model_lineage()).ref


def deploy(platform: Up, package: str, **more: Any) -> str:
    spec = {"model": package, "replicas": SLEEPY, "public": True, **more}
    return platform.call("PUT", "/v1/endpoints/digits", spec, wait=60)["url"]


def asleep(platform: Up) -> bool:
    status = platform.call("GET", "/v1/endpoints/digits")
    return status["replicas"] == 0 and not platform.call("GET", "/v1/replicas")


async def ask(url: str, count: int) -> list[httpx.Response]:
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=200)) as client:
        return list(await asyncio.gather(*(client.post(url, content=b"x" * 1000) for _ in range(count))))


async def test_to_zero_and_back_for_many_at_once(home: Home, package: str, start: Callable[..., Up]):
    platform = start(STAND_IN_UP).ready()
    url = deploy(platform, package)
    for waiting in (1, 50):
        until(lambda: asleep(platform))
        assert platform.call("GET", "/v1/endpoints/digits")["state"] == "ready"
        assert "request" in platform.call("GET", "/v1/endpoints/digits")["scaling"]
        answers = await ask(url, waiting)
        assert {each.status_code for each in answers} == {200}
        assert {each.text[:7] for each in answers} == {"digits-"}
        assert all(each.headers["x-argosy-revision"] for each in answers)
    assert platform.stop() == 0
    assert strays.rooms(home) == []


async def test_past_its_size_and_its_deadline_callers_are_told_when_to_come_again(
    package: str, home: Home, start: Callable[..., Up]
):
    platform = start(STAND_IN_UP).ready()
    url = deploy(platform, package, waiting={"size": 3, "deadline": 0.5})
    until(lambda: asleep(platform))
    answers = await ask(url, 10)
    assert {each.status_code for each in answers} == {503}
    reasons = sorted(each.json()["error"] for each in answers)
    assert sum("3 requests wait already" in each for each in reasons) == 7
    assert sum("waited" in each for each in reasons) == 3
    assert {each.headers["retry-after"] for each in answers} <= {"1", "2", "3", "4", "5"}
    until(platform.pids)
    assert (await ask(url, 1))[0].status_code == 200
    assert platform.stop() == 0


async def test_whoever_waits_survives_the_controller(home: Home, package: str, start: Callable[..., Up]):
    platform = start(STAND_IN_UP).ready()
    url = deploy(platform, package)
    until(lambda: asleep(platform))
    (room,) = strays.rooms(home)
    platform.kill()
    asking = asyncio.create_task(ask(url, 20))
    await asyncio.sleep(0.5)
    platform = await asyncio.to_thread(start(STAND_IN_UP).ready)
    assert {each.status_code for each in await asking} == {200}
    assert strays.rooms(home) == [room]
    await asyncio.to_thread(until, lambda: asleep(platform))
    room.kill()
    assert (await ask(url, 5))[0].status_code == 200, "a room that died is started again, and asked again"
    assert await asyncio.to_thread(platform.stop) == 0
