"""The ledger's chain, on both databases."""

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from argosy.store import audit, ledger
from argosy.store.audit import LedgerAudit
from argosy.store.database import Database
from argosy.store.ledger import ROOT, Cause, ledger_table

T = ledger_table.c


def add(database: Database, *events: str, subject: str = "digits") -> None:
    for event in events:
        with database.begin() as connection:
            ledger.append(connection, subject, event, {"n": 1.5, "ä": [1, None]}, Cause(actor="ada", reason="why"))


def change(database: Database, statement: sa.Executable) -> None:
    with database.begin() as connection:
        connection.execute(statement)


def test_entries_are_chained_and_come_back_as_written(database: Database):
    assert audit.verify(database) == LedgerAudit(entries=0, head=ROOT)
    add(database, "one", "two", "three")
    with database.read() as connection:
        first, second = ledger.entries(connection, "digits", limit=2)
    assert [first.event, second.event] == ["two", "three"]
    assert (second.body, second.actor, second.reason) == ({"n": 1.5, "ä": [1, None]}, "ada", "why")
    assert second.previous == first.hash
    assert audit.verify(database) == LedgerAudit(entries=3, head=second.hash)


@pytest.mark.parametrize("column", ["time", "subject", "event", "actor", "reason", "body"])
def test_an_altered_entry_is_the_first_broken_link(database: Database, column: str):
    add(database, "one", "two", "three")
    change(database, sa.update(ledger_table).where(T.seq == 2).values({column: "{}"}))
    found = audit.verify(database)
    assert (found.entries, found.broken) == (1, 2)
    assert "not what was written" in found.reason


def test_a_hash_made_anew_breaks_the_next_link(database: Database):
    add(database, "one", "two", "three")
    with database.read() as connection:
        row = dict(connection.execute(sa.select(ledger_table).where(T.seq == 2)).mappings().one())
    row = {name: value for name, value in row.items() if name != "hash"} | {"actor": "eve"}
    forged = row | {"hash": ledger.digest(row)}
    change(database, sa.update(ledger_table).where(T.seq == 2).values(forged))
    found = audit.verify(database)
    assert found.broken == 3
    assert "does not continue entry 2" in found.reason


def test_a_missing_entry_is_noticed(database: Database):
    add(database, "one", "two", "three")
    change(database, sa.delete(ledger_table).where(T.seq == 2))
    assert "missing" in audit.verify(database).reason
    change(database, sa.delete(ledger_table).where(T.seq == 1))
    assert audit.verify(database).broken == 3


def test_what_is_rolled_back_leaves_no_entry(database: Database):
    def fail() -> None:
        with database.begin() as connection:
            ledger.append(connection, "digits", "one", {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert audit.verify(database).entries == 0


def test_writers_at_once_make_one_chain(database: Database):
    writers = [threading.Thread(target=add, args=(database, *("one",) * 10)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = audit.verify(database)
    assert (found.entries, found.broken) == (40, None)


def test_time_does_not_go_back_with_the_clock(database: Database, monkeypatch: pytest.MonkeyPatch):
    for moment in ("2026-01-02", "2026-01-01", "2026-01-03"):
        monkeypatch.setattr(ledger, "now", lambda moment=moment: moment)
        add(database, "one")
    with database.read() as connection:
        assert [e.time for e in ledger.entries(connection, "digits")] == ["2026-01-02", "2026-01-02", "2026-01-03"]
        assert ledger.latest(connection, "digits", ["one"], "2026-01-02").seq == 2
        assert ledger.latest(connection, "digits", ["one", "two"]).seq == 3
        assert ledger.latest(connection, "digits", ["one"], "2026-01-01") is None
        assert ledger.latest(connection, "other", ["one"]) is None


def test_one_moment_among_many_is_found_by_an_index(database: Database):
    rows = [
        {"seq": n, "time": f"{n:07}", "subject": "digits", "event": "serve" if n % 100 == 0 else "x", "actor": "",
         "reason": "", "body": "{}", "previous": "", "hash": ""}
        for n in range(1, 2001)
    ]  # fmt: skip
    with database.begin() as connection:
        connection.execute(sa.insert(ledger_table), rows)
    asked: list[tuple[str, Any]] = []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *told: asked.append((told[2], told[3])))
    with database.read() as connection:
        for n in range(100):
            found = ledger.latest(connection, "digits", ("serve", "delete"), f"{1000 + n:07}")
            assert found.seq == 1000
    (sql, values) = next(each for each in asked if "ledger" in each[0])
    with database.read() as connection:
        if connection.dialect.name == "sqlite":
            plan = connection.exec_driver_sql(f"explain query plan {sql}", values)
        else:
            connection.exec_driver_sql("set local enable_seqscan = off")  # few rows are read whole otherwise
            plan = connection.exec_driver_sql(f"explain {sql}", values)
        text = str(plan.all())
    assert "ndex" in text.lower()
    assert "SCAN ledger" not in text
    assert "Seq Scan" not in text
