"""The tables of findings and alerts, on both databases."""

import msgspec
import pytest

from argosy.spec.errors import NotFound
from argosy.store import alerts, findings, ledger
from argosy.store.alerts import Alert
from argosy.store.database import Database
from argosy.store.findings import DAYS, Finding
from argosy.store.ledger import Cause
from tests.store.samples import put_alerts


def finding(subject: str = "age", end: float = 3600.0, **more: object) -> Finding:
    base = Finding(
        endpoint="digits",
        version="digits:1",
        kind="drift",
        subject=subject,
        at=end + 1,
        window_start=end - 3600,
        window_end=end,
        rows=100,
        effect=0.1,
        low=0.05,
        high=0.15,
        log_e=2.0,
        verdict="no drift",
        detail={"margin": 0.1, "reference": [1, 2]},
    )
    return msgspec.structs.replace(base, **more)


def alert(name: str = "digits/slo/availability@1", since: float = 10.0, **more: object) -> Alert:
    base = Alert(
        id=name, endpoint="digits", kind="slo", subject="availability", severity="page", state="firing", since=since
    )
    return msgspec.structs.replace(base, **more)


def test_findings_are_read_as_they_were_written_and_replaced_by_their_window(database: Database):
    assert not findings.any_of(database)
    first, later = finding(), finding(end=7200.0, kind="estimate", effect=None, low=None, high=None, log_e=None)
    findings.write(database, [])
    findings.write(database, [later, first])
    assert findings.any_of(database)
    assert findings.read(database, "digits", ("drift", "estimate"), 0) == [first, later]
    assert findings.read(database, "digits", ("drift",), 3600) == []
    assert findings.read(database, "other", ("drift",), 0) == []
    better = finding(verdict="drift", rows=200)
    findings.write(database, [better])
    assert findings.read(database, "digits", ("drift",), 0) == [better]


def test_a_hostile_subject_is_kept_as_it_is(database: Database):
    hostile = "'; DROP TABLE findings; --\n<script>" + "é" * 300
    findings.write(database, [finding(hostile)])
    assert [each.subject for each in findings.read(database, "digits", ("drift",), 0)] == [hostile]


def test_old_findings_are_forgotten(database: Database):
    findings.write(database, [finding(), finding(end=7200.0)])
    findings.forget(database, 3601 + DAYS * 86400)
    assert [each.window_end for each in findings.read(database, "digits", ("drift",), 0)] == [7200.0]


def test_a_mute_stays_when_the_alert_is_written_again_and_is_in_the_history(database: Database):
    put_alerts(database, [])
    put_alerts(database, [alert(), alert("other@2", 20.0, endpoint="fraud")])
    assert [each.id for each in alerts.read(database)] == ["other@2", "digits/slo/availability@1"]
    assert [each.id for each in alerts.read(database, "fraud")] == ["other@2"]
    assert len(alerts.read(database, most=1)) == 1
    alerts.mute(database, "other@2", 99.0, Cause(actor="console", reason="known"))
    put_alerts(database, [alert("other@2", 20.0, endpoint="fraud", state="resolved", until=30.0)])
    (found,) = alerts.read(database, "fraud")
    assert (found.state, found.until, found.muted_until) == ("resolved", 30.0, 99.0)
    with database.read() as connection:
        (entry,) = ledger.entries(connection, "fraud")
    assert (entry.event, entry.actor, entry.reason) == ("mute", "console", "known")
    assert entry.body == {"alert": "other@2", "until": 99.0}
    with pytest.raises(NotFound):
        alerts.mute(database, "none", 99.0, Cause())


def test_a_subject_is_printable_short_and_one_of_its_own():
    assert findings.subject("age of house") == "age of house"
    long = [findings.subject("x" * 10_000 + end) for end in "ab"]
    assert long[0] != long[1]
    assert max(len(name) for name in long) <= 200
    odd = [findings.subject(f"a{sign}b") for sign in "\0\n\x1b\ud800"]
    assert len(set(odd)) == 4
    assert all(name.isprintable() for name in odd)


def test_subjects_are_counted_once_and_those_that_drifted_among_them(database: Database) -> None:
    assert findings.tally(database, 0.0) == []
    drifted = finding("age", verdict="drift")
    many = [drifted, finding("age", 7200.0, verdict="drift"), finding("income"), finding("old", 1800.0)]
    findings.write(database, [*many, finding("label", kind="prediction")])
    assert findings.tally(database, 3000.0) == [
        findings.Tally("digits", "drift", 2, 1),
        findings.Tally("digits", "prediction", 1, 0),
    ]


def test_alerts_that_stand_are_counted_and_muted_ones_among_them(database: Database) -> None:
    assert alerts.counts(database, 100.0) == []
    over = alert("d", state="resolved", until=20.0)
    muted, was_muted = alert("b", muted_until=200.0), alert("c", muted_until=50.0)
    put_alerts(database, [alert("a"), muted, was_muted, over, alert("e", kind="drift", severity="ticket")])
    assert alerts.counts(database, 100.0) == [
        alerts.AlertCount("digits", "drift", "ticket", 1, 0),
        alerts.AlertCount("digits", "slo", "page", 3, 1),
    ]
