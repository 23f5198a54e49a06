"""From zero and back: the real platform, with stand-ins for replicas that take a second to start."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from argosy.control.scaling.activation import activator
from argosy.spec.settings import Home
from argosy.store.store import Store
from tests.platform.packages import push
from tests.platform.up import STAND_IN_UP, Up, until
from tests.store.samples import model_lineage, model_manifest, write_folder

SLEEPY = {"min": 0, "max": 2, "idle": 2, "patience": 2, "window": 5, "history": 10}


@pytest.fixture
def package(store: Store, home: Home) -> str:
    return stand_in(store, home, "slow")


@pytest.fixture
def later(store: Store, home: Home) -> str:
    """Takes longer to start than callers wait."""
    return stand_in(store, home, "slow 10")


def stand_in(store: Store, home: Home, behaviour: str) -> str:
    folder = write_folder(home.root / "package")
    (folder / "behaviour").write_text(behaviour)
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


@pytest.mark.slow
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
    assert activator(home).found() == []


@pytest.mark.slow
async def test_past_its_size_and_its_deadline_callers_are_told_when_to_come_again(
    later: str, home: Home, start: Callable[..., Up]
):
    platform = start(STAND_IN_UP).ready()
    url = deploy(platform, later, waiting={"size": 3, "deadline": 4})
    until(lambda: asleep(platform))
    answers = await ask(url, 10)
    assert {each.status_code for each in answers} == {503}
    reasons = sorted(each.json()["error"] for each in answers)
    assert sum("3 requests wait already" in each for each in reasons) == 7
    assert sum("waited" in each for each in reasons) == 3
    assert all(1 <= int(each.headers["retry-after"]) <= 60 for each in answers)
    async with asyncio.timeout(60):  # it starts for them nevertheless
        while (await ask(url, 1))[0].status_code != 200:
            pass
    assert platform.stop() == 0


@pytest.mark.slow
async def test_whoever_waits_survives_the_controller(home: Home, package: str, start: Callable[..., Up]):
    platform = start(STAND_IN_UP).ready()
    url = deploy(platform, package)
    until(lambda: asleep(platform))
    (room,) = activator(home).found()
    soft, hard = room.rlimit(psutil.RLIMIT_NOFILE)
    assert soft == hard
    platform.kill()
    asking = asyncio.create_task(ask(url, 20))
    await asyncio.sleep(0.5)
    platform = await asyncio.to_thread(start(STAND_IN_UP).ready)
    assert {each.status_code for each in await asking} == {200}
    assert activator(home).found() == [room]
    await asyncio.to_thread(until, lambda: asleep(platform))
    room.kill()
    assert (await ask(url, 5))[0].status_code == 200, "a room that died is started again, and asked again"
    assert await asyncio.to_thread(platform.stop) == 0


def infer(client: triton.InferenceServerClient, rows: int = 1, columns: int = 4) -> list[float]:
    tensor = triton.InferInput("x", [rows, columns], "FP32")
    tensor.set_data_from_numpy(np.ones((rows, columns), np.float32))
    return client.infer("digits", [tensor]).as_numpy("y").ravel().tolist()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_grpc_calls_wait_for_a_real_replica(home: Home, store: Store, start: Callable[..., Up], tmp_path: Path):
    ref = push(store, tmp_path / "package", 3.0).ref
    platform = start().ready()
    deploy(platform, ref, runtime={"max_queue_size": 200_000})
    address = platform.call("GET", "/v1/status")["gateway"].removeprefix("http://")
    with triton.InferenceServerClient(address) as client:
        until(lambda: asleep(platform))
        assert client.is_server_live()
        assert client.is_server_ready()
        assert not platform.call("GET", "/v1/replicas"), "to ask for the server's health wakes nobody"
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda rows: infer(client, rows), [1, 2, 3, 100_000]))
        assert [len(each) for each in answers] == [4, 8, 12, 400_000]
        assert {value for each in answers for value in each} == {3.0}

        until(lambda: asleep(platform))
        (room,) = activator(home).found()
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(infer, client) for _ in range(4)]
            refused = pool.submit(infer, client, columns=5)
            until(lambda: platform.call("GET", "/v1/replicas"))
            room.kill()
            assert [each.result() for each in waiting] == [[3.0] * 4] * 4, "a room that died is started and asked again"
            with pytest.raises(InferenceServerException, match=r"shape \[1, 5\]"):
                refused.result()
    assert platform.stop() == 0
    assert activator(home).found() == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_past_size_and_deadline_a_grpc_call_is_unavailable(home: Home, later: str, start: Callable[..., Up]):
    platform = start(STAND_IN_UP).ready()
    deploy(platform, later, waiting={"size": 3, "deadline": 4})
    until(lambda: asleep(platform))
    address = platform.call("GET", "/v1/status")["gateway"].removeprefix("http://")

    def ask(_: int) -> InferenceServerException:
        with pytest.raises(InferenceServerException) as refused:
            infer(client)
        return refused.value

    with triton.InferenceServerClient(address) as client, ThreadPoolExecutor(10) as pool:
        refusals = list(pool.map(ask, range(10)))
    assert {each.status() for each in refusals} == {"StatusCode.UNAVAILABLE"}
    assert sum("3 requests wait already" in each.message() for each in refusals) == 7
    assert sum("waited" in each.message() for each in refusals) == 3
    assert all("come again in" in each.message() for each in refusals)
    assert platform.stop() == 0
