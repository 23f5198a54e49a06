"""What triggers set off, on SQLite and PostgreSQL."""

import msgspec

from argosy.store import ledger, triggers
from argosy.store.triggers import Run


def run(at: float = 100.0, **fields) -> Run:
    given = {"endpoint": "flights", "trigger": "retrain", "version": "3", "reason": "it fell", "document": "{}"}
    return Run(id=f"flights/retrain@{at:.0f}", at=at, due=at, **given | fields)


def note(database, each: Run) -> None:
    with database.begin() as connection:
        triggers.note(connection, each)


def events(database) -> list[str]:
    with database.read() as connection:
        return [each.event for each in ledger.entries(connection, "flights")]


def test_a_firing_is_written_once_with_its_entry(database):
    note(database, run())
    note(database, run(reason="again"))
    assert triggers.going(database) == [run()]
    assert events(database) == ["trigger"]


def test_what_is_over_stays_as_it_is(database):
    note(database, run())
    running = msgspec.structs.replace(run(), phase="running", tries=1)
    triggers.update(database, running)
    assert triggers.going(database) == [running]
    done = msgspec.structs.replace(running, phase="done", status=0, ended=200.0)
    triggers.update(database, done)
    triggers.update(database, msgspec.structs.replace(done, phase="failed", status=1))
    assert triggers.read(database, "flights") == [done]
    assert triggers.going(database) == []
    assert events(database) == ["trigger", "trigger-end"]


def test_old_runs_are_forgotten_and_those_that_go_on_are_not(database):
    ended = run(100.0, phase="done", ended=200.0)
    note(database, ended)
    note(database, run(300.0))
    assert triggers.forget(database, 200.0 + triggers.DAYS * 86400) == []
    assert triggers.forget(database, 201.0 + triggers.DAYS * 86400) == [ended.id]
    assert triggers.read(database, "flights") == [run(300.0)]
