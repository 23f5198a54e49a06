"""Looks of a platform that runs: killed in the middle of one, it does it again, and nobody waits for it."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from argosy.monitoring.drift.rows import COMPUTE
from argosy.monitoring.drift.sample import compute
from argosy.process.child import Child
from argosy.spec.payload import PayloadLog
from argosy.spec.settings import Settings
from argosy.store import findings, open_store
from argosy.store.findings import Finding
from tests.monitoring.drift.world import EVERY, LATE, World
from tests.platform.up import STAND_IN_UP, Up, clear, until


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Two hours that were looked at, and a third that was not; a platform would look at once."""
    monkeypatch.setattr(Child, "run", lambda _, function, job, answer: compute(job))
    end = (time.time() - LATE) // EVERY * EVERY
    world = World(tmp_path, end - 3 * EVERY)
    world.home.config.write_text("control: {port: 0}\ngateway: {port: 0}\n")
    world.declare(PayloadLog(), replicas=0)
    for _ in range(2):
        world.pass_hour()
    world.pass_hour(mixed=True, older=30, look=False)
    world.store.close()
    yield world
    clear(world.home)


@pytest.fixture
def begin(world: World) -> Iterator[Callable[[], Up]]:
    started: list[Up] = []

    def up() -> Up:
        started.append(Up(world.home, STAND_IN_UP))
        return started[-1]

    yield up
    for one in started:
        if one.process.poll() is None:
            one.kill()


def comparing(platform: Up) -> list[psutil.Process]:
    """The processes that compare rows for a platform."""
    found: list[psutil.Process] = []
    for child in psutil.Process(platform.process.pid).children():
        with contextlib.suppress(psutil.Error):
            found += [child] if COMPUTE in child.cmdline() else []
    return found


def held(platform: Up) -> psutil.Process:
    """One that compares, stopped as soon as it is seen."""

    def stopped() -> psutil.Process | None:
        for child in comparing(platform):
            with contextlib.suppress(psutil.Error):
                child.suspend()
                return child
        return None

    return until(stopped)


def last(world: World) -> dict[tuple[str, str], Finding]:
    """What was found of the last window."""
    store = open_store(world.home, Settings())
    found = findings.read(store.database, "shop", ["drift", "prediction", "multivariate"], 0)
    store.close()
    return {(one.kind, one.subject): one for one in found if one.window_end == world.start + 3 * EVERY}


@pytest.mark.slow
def test_a_platform_that_is_killed_while_it_looks_does_so_again(world: World, begin: Callable[[], Up]):
    platform = begin().ready()
    child = held(platform)
    platform.kill()
    assert last(world) == {}
    with contextlib.suppress(psutil.NoSuchProcess):
        child.resume()
    psutil.wait_procs([child], timeout=60)
    platform = begin().ready()
    child = held(platform)
    for _ in range(20):
        platform.call("GET", "/v1/endpoints")
    assert last(world) == {}, "the API answers before a look is over"
    child.resume()
    found = until(lambda: last(world))
    assert found["drift", "age"].verdict == "drift"
    assert found["prediction", "label"].detail["labels"][:2] == ["yes", "no"]
    assert found["multivariate", "domain classifier"].effect > 0.55  # pyright: ignore[reportOptionalOperand]
    until(lambda: "age" in {each["subject"] for each in platform.call("GET", "/v1/alerts")})
    assert platform.stop() == 0


@pytest.mark.slow
def test_a_platform_that_ends_does_not_wait_for_a_look(world: World, begin: Callable[[], Up]):
    platform = begin().ready()
    (child,) = until(lambda: comparing(platform))
    assert platform.stop() == 0
    psutil.wait_procs([child], timeout=60)
    assert not child.is_running()
