"""Looks that are killed at any moment: what is found in the end is what would have been found."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from argosy.alerting.incidents import Incidents
from argosy.control.state import State
from argosy.monitoring.drift.monitor import LATE, STATES, DriftMonitor
from argosy.spec.settings import Home, Settings
from argosy.store import alerts, findings, open_store
from argosy.store.findings import Finding
from tests.monitoring.drift.world import EVERY, START, World
from tests.store.faults import at_call, die

HOURS = 5


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with hours of profiles, of which the last have drifted, and no look yet."""
    world = World(tmp_path_factory.mktemp("w"))
    world.declare(segments=("label",))
    for hour in range(HOURS):
        world.pass_hour(older=30 if hour > 2 else 0, look=False)
    world.store.close()
    return world.home.root


def look(root: Path, hours: range = range(HOURS)) -> None:
    """At each of the hours, one after the other, as a controller does."""
    store = open_store(Home(root), Settings())
    state, now = State(store.database), START

    def clock() -> float:
        return now

    monitor = DriftMonitor(store, state, Incidents(store.database, {}, state.names, clock=clock).report, EVERY, clock)
    for hour in hours:
        now = START + (hour + 1) * EVERY + LATE + 1
        monitor.turn()
    store.close()


def found(root: Path) -> tuple[list[Finding], set[tuple[str, str]]]:
    """All findings, and what is wrong in the end."""
    store = open_store(Home(root), Settings())
    state = State(store.database)
    Incidents(store.database, {}, state.names, clock=lambda: START + HOURS * EVERY).turn()
    told = findings.read(store.database, "shop", ["drift", "prediction"], 0)
    wrong = {(each.subject, each.state) for each in alerts.read(store.database)}
    store.close()
    return told, wrong


@pytest.fixture(scope="module")
def undisturbed(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Finding], set[tuple[str, str]]]:
    copy = tmp_path_factory.mktemp("u") / "h"
    shutil.copytree(recorded, copy)
    look(copy)
    told, wrong = found(copy)
    assert ("age", "firing") in wrong
    assert {each.verdict for each in told} == {"drift", "no drift"}
    return told, wrong


@pytest.mark.slow
def test_a_look_that_dies_at_any_change_of_the_disk(
    recorded: Path, undisturbed: tuple[list[Finding], set[tuple[str, str]]], tmp_path: Path
):
    number = 1
    while True:
        copy = tmp_path / str(number)
        shutil.copytree(recorded, copy)
        look(copy, range(HOURS - 2))
        child = os.fork()
        if child == 0:
            with at_call(number, die):
                look(copy, range(HOURS - 2, HOURS))
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, 137)
        look(copy)
        assert found(copy) == undisturbed
        if status == 0:
            break
        number += 1
    assert number > 5


@pytest.mark.slow
def test_looks_that_are_killed_at_any_moment(
    recorded: Path, undisturbed: tuple[list[Finding], set[tuple[str, str]]], tmp_path: Path
):
    copy, chance = tmp_path / "h", random.Random(0)
    shutil.copytree(recorded, copy)
    for _ in range(12):
        child = os.fork()
        if child == 0:
            look(copy)
            os._exit(0)
        time.sleep(chance.uniform(0, 0.4))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    look(copy)
    assert found(copy) == undisturbed
    store = open_store(Home(copy), Settings())
    assert STATES.endpoints(store.database) == {"shop"}
    store.close()
