"""Rollouts in the database: whole or not at all, and of two writers one wins."""

import threading

import pytest

from argosy.control.rollout.evidence import Evidence
from argosy.control.rollout.progress import enter
from argosy.control.rollout.table import Rollouts
from argosy.control.state import State
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import Conflict, NotFound
from argosy.spec.revision import Revision
from argosy.store import ledger
from argosy.store.database import Database
from argosy.store.endpoints import Progress, Serving

GOING = Progress(number=1, candidate="b", stable="a", held=1)


@pytest.fixture
def database(url: str):
    opened = Database(url)
    state = State(opened)
    for name, version in (("a", "1"), ("b", "2")):
        endpoint = Endpoint(name="d", model=f"m:{version}")
        state.declare(endpoint, Revision(id=name, endpoint="d", model="m", version=version, digest="sha256:0"))
    yield opened
    opened.close()


def note(rollouts: Rollouts, progress: Progress) -> None:
    serving = Serving(active="a", held=1, rollout=progress)
    rollouts.note("d", serving, Evidence(looked=3.0), rollouts.last().get("d"), {"a": 100})


def test_what_was_noted_is_read_again(database: Database):
    rollouts = Rollouts(database)
    assert rollouts.last() == {}
    note(rollouts, GOING)
    kept = rollouts.last()["d"]
    assert (kept.progress, kept.evidence.looked, kept.ended) == (GOING, 3.0, None)
    note(rollouts, enter(GOING, "done"))
    assert rollouts.last()["d"].ended
    with database.read() as connection:
        told = [each.body["phase"] for each in ledger.entries(connection, "d") if each.event == "rollout"]
    assert told == ["starting", "done"]


def test_of_a_promotion_and_an_abort_at_once_one_gets_through(database: Database):
    rollouts = Rollouts(database)
    note(rollouts, GOING)
    both, won, lost = threading.Barrier(2), list[str](), list[str]()

    def order(what) -> None:
        both.wait()
        try:
            rollouts.command("d", what)
            won.append(what)
        except Conflict:
            lost.append(what)

    racing = [threading.Thread(target=order, args=(what,)) for what in ("promote", "abort")]
    for each in racing:
        each.start()
    for each in racing:
        each.join()
    assert sorted([*won, *lost]) == ["abort", "promote"]
    assert won == [rollouts.last()["d"].progress.order]
    with database.read() as connection:
        assert [e.body["order"] for e in ledger.entries(connection, "d") if e.event == "order"] == won


def test_a_command_beats_a_controller_that_read_before_it(database: Database):
    rollouts = Rollouts(database)
    note(rollouts, GOING)
    before = rollouts.last()["d"]
    rollouts.command("d", "abort")
    with pytest.raises(Conflict):
        rollouts.note("d", Serving(active="b", held=1, rollout=enter(GOING, "done")), Evidence(), before, {"b": 100})
    assert (rollouts.last()["d"].progress.order, State(database).endpoints()[0].serving.active) == ("abort", "a")
    with pytest.raises(Conflict, match="'abort' was ordered before"):
        rollouts.command("d", "promote")


def test_a_new_rollout_ends_the_one_before(database: Database):
    rollouts = Rollouts(database)
    note(rollouts, GOING)
    note(rollouts, Progress(number=2, candidate="c", stable="a", held=1))
    assert [each.progress.phase for each in rollouts.history("d")] == ["starting", "superseded"]
    note(rollouts, enter(rollouts.last()["d"].progress, "aborted"))
    with pytest.raises(Conflict, match="is over"):
        rollouts.command("d", "pause")


def test_a_rollout_that_went_back_is_tried_again_only_when_asked(database: Database):
    rollouts = Rollouts(database)
    note(rollouts, enter(GOING, "rolled-back"))
    rollouts.again("d", "c")
    assert rollouts.last()["d"].progress.generation == 0
    rollouts.again("d", "b")
    assert rollouts.last()["d"].progress.generation == -1
    State(database).delete("d")
    assert rollouts.last() == {}
    with pytest.raises(NotFound, match="no rollout"):
        rollouts.command("d", "pause")
