"""What the pages read from the database."""

from pathlib import Path

from argosy.console.database import FRESH, DatabaseReader
from argosy.store import alerts, findings, ledger
from argosy.store.database import Database
from tests.store.test_findings import alert, finding


def test_parts_are_there_once_something_wrote_them(tmp_path: Path):
    database, now = Database(tmp_path / "t.db").create(), [0.0]
    kept = DatabaseReader(database, lambda: now[0])
    assert kept.has == {"traffic"}
    findings.write(database, [finding()])
    alerts.write(database, [alert()])
    assert kept.has == {"traffic"}
    now[0] += FRESH + 1
    assert kept.has == {"traffic", "findings", "alerts"}
    assert kept.findings("digits", ("drift",), 0) == [finding()]
    kept.mute(alert().id, 50.0, "console", "known")
    assert [each.muted_until for each in kept.alerts("digits")] == [50.0]
    with database.read() as connection:
        assert [each.actor for each in ledger.entries(connection, "digits")] == ["console"]
    database.close()
