"""The platform's task: a child looks, findings are written before the state, and nothing that is cut short is lost."""

import asyncio
import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
import psutil
import pytest
import sqlalchemy as sa

from argosy.alerting.incident import Finding as Wrong
from argosy.control.revision import revision_of
from argosy.control.state import State
from argosy.monitoring.performance import monitor as task
from argosy.monitoring.performance.evaluate import evaluate
from argosy.monitoring.performance.monitor import PerformanceMonitor
from argosy.monitoring.performance.reference import pinned
from argosy.monitoring.performance.state import PerformanceState
from argosy.spec.endpoint import Endpoint
from argosy.spec.monitor import Monitor
from argosy.store import findings
from argosy.store.findings import Finding
from argosy.store.store import Store
from tests.control.served import serve
from tests.monitoring.performance.live.conftest import world
from tests.monitoring.performance.live.kit import HOUR, LOG, START, record, tell


class Reports:
    """What was reported last, by endpoint."""

    def __init__(self) -> None:
        self.found: dict[str, list[Wrong]] = {}

    def __call__(self, source: str, endpoint: str, found: Iterable[Wrong]) -> None:
        assert source == "quality"
        self.found[endpoint] = list(found)


@pytest.fixture
def reports():
    return Reports()


@pytest.fixture
def state(store: Store, version, held_out: Path):
    state = State(store.database)
    for folder in ("payloads", "feedback"):
        shutil.rmtree(store.home.root / folder, ignore_errors=True)
    with store.database.begin() as connection:
        connection.execute(sa.delete(findings.findings_table))
        task.STATES.retain(connection, [])
    monitor = Monitor(reference=str(held_out), label="bought")
    endpoint = pinned(Endpoint(name="shop", model="shop:1", payload=LOG, monitor=monitor))
    declared = state.declare(endpoint, revision_of(endpoint, version))
    serve(state, "shop", msgspec.structs.replace(declared.serving, active=declared.revision, held=True))
    return state


def quality(store, state, reports, at) -> PerformanceMonitor:
    return PerformanceMonitor(store, state, reports, clock=lambda: START + at)


def written(store: Store) -> list[Finding]:
    return findings.read(store.database, "shop", ("estimate", "realised", "reconcile"), 0)


def looking() -> list[psutil.Process]:
    """The processes that look now."""
    found: list[psutil.Process] = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            found += [child] if task.EVALUATE in child.cmdline() else []
    return found


async def turn(quality: PerformanceMonitor) -> None:
    quality._due.clear()
    await asyncio.to_thread(quality.turn)


@pytest.mark.slow
async def test_what_is_found_is_written_reported_and_done_once(store, state, reports, package):
    rows = world(1500, seed=30)
    rows[["age", "income"]] *= 0.2
    ids = record(store.home, package, rows, 0)
    at = quality(store, state, reports, HOUR + 60)
    await turn(at)
    assert {(each.kind, each.verdict) for each in written(store) if each.subject == "accuracy"} == {
        ("estimate", "fell")
    }
    (wrong,) = reports.found["shop"]
    assert (wrong.kind, wrong.subject, wrong.severity) == ("estimate", "accuracy", "ticket")
    assert "version 1: accuracy 0." in wrong.reason
    before = written(store)
    await turn(quality(store, state, reports, HOUR + 120))
    assert written(store) == before
    assert reports.found["shop"] == [wrong]
    tell(store.home, ids, 1 - rows["bought"], 2 * HOUR)
    await turn(quality(store, state, reports, 20 * HOUR))
    assert {each.kind for each in written(store)} == {"estimate", "realised", "reconcile"}
    assert {each.kind for each in reports.found["shop"]} == {"estimate", "realised", "reconcile"}


@pytest.mark.slow
async def test_a_child_that_is_killed_is_followed_by_one_that_comes_to_the_same_end(
    store, state, reports, package, monkeypatch
):
    rows = world(1500, seed=31)
    ids = record(store.home, package, rows, 0)
    tell(store.home, ids, rows["bought"], HOUR)
    at = quality(store, state, reports, 9 * HOUR)
    for seconds in (0.3, 1.0, 2.0):
        turning = asyncio.create_task(turn(at))
        await asyncio.sleep(seconds)
        for child in looking():
            with contextlib.suppress(psutil.Error):
                child.kill()
        await turning
    await turn(at)
    found = written(store)
    assert {each.kind for each in found} == {"estimate", "realised", "reconcile"}
    with store.database.begin() as connection:
        task.STATES.retain(connection, [])
    shutil.rmtree(store.home.feedback)
    tell(store.home, ids, rows["bought"], HOUR)
    job = at.job(state.endpoints()[0], state.revisions(), START + 9 * HOUR, float(START + 9 * HOUR))
    assert {(each.kind, each.subject): each for each in evaluate(job).findings} == {
        (each.kind, each.subject): each for each in found
    }


@pytest.mark.slow
async def test_a_look_whose_state_was_not_written_is_done_again(store, state, reports, package, monkeypatch):
    record(store.home, package, world(500, seed=32), 0)
    at = quality(store, state, reports, HOUR + 60)
    with monkeypatch.context() as patched:
        patched.setattr(task.STATES, "put", full)
        await turn(at)
    assert written(store) == []
    reports.found.clear()
    await turn(at)
    assert written(store)
    assert reports.found["shop"] == []


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


async def test_the_child_ends_with_the_task(store, state, reports, package):
    record(store.home, package, world(500, seed=33), 0)
    running = asyncio.create_task(quality(store, state, reports, HOUR + 60).run())
    await asyncio.sleep(1.0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not looking()


async def test_who_has_no_monitor_any_more_has_nothing_wrong(store, state, reports, version):
    endpoint = Endpoint(name="shop", model="shop:1", payload=LOG)
    state.declare(endpoint, revision_of(endpoint, version))
    at = quality(store, state, reports, HOUR)
    at.turn()
    assert reports.found == {"shop": []}
    reports.found.clear()
    at.turn()
    assert reports.found == {}


def test_nothing_heavy_is_imported_by_the_task():
    code = (
        "import sys, argosy.monitoring.performance.monitor; print({'duckdb', 'lightgbm', 'scipy'} & sys.modules.keys())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_the_states_of_endpoints_that_are_gone_are_deleted(store, state, reports):
    with store.database.begin() as connection:
        for name in ("shop", "gone"):
            task.STATES.put(connection, name, PerformanceState(until=1.0), "1")
    quality(store, state, reports, HOUR).clean({each.endpoint.name: each for each in state.endpoints()})
    assert task.STATES.all(store.database) == {("shop", "1"): PerformanceState(until=1.0)}
