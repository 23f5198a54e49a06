"""Hours are UTC whatever the machine's time zone says, and the hour that daylight saving repeats is two hours."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from argosy.monitoring.feedback.event import Label, accept
from argosy.store.payloads import layout, ship
from argosy.store.payloads.query import Query, read
from tests.store.payloads.kit import record, writer

BERLIN = ZoneInfo("Europe/Berlin")
TWICE = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
"""02:30 in Berlin, and an hour later again 02:30."""


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A log that was written where clocks show another time: a request each half hour, over four hours."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    log = tmp_path / "log"
    moments = [TWICE + timedelta(minutes=30 * step) for step in range(-3, 5)]
    records = [record(step, time=int(at.timestamp()) * 10**9) for step, at in enumerate(moments)]
    writer(log).write(records)
    yield log
    monkeypatch.undo()
    time.tzset()


def names(root: Path, since: datetime, until: datetime) -> list[str]:
    found = read(root, Query(endpoint="digits", since=since, until=until)).table
    return found["request_id"].to_pylist()


def test_folders_are_hours_of_utc(root: Path):
    assert [each.hour.isoformat() for each in layout.segments(root)] == [
        "2026-10-24T23:00:00+00:00",
        "2026-10-25T00:00:00+00:00",
        "2026-10-25T01:00:00+00:00",
        "2026-10-25T02:00:00+00:00",
    ]


def test_the_hour_that_comes_twice_is_two_hours(root: Path):
    first = datetime(2026, 10, 25, 2, 0, tzinfo=BERLIN)
    second = datetime(2026, 10, 25, 2, 0, tzinfo=BERLIN, fold=1)
    assert names(root, first.astimezone(UTC), second.astimezone(UTC) - timedelta.resolution) == ["r2", "r3"]
    assert names(root, second.astimezone(UTC), TWICE + timedelta(hours=1)) == ["r4", "r5"]
    (last,) = read(root, Query(endpoint="digits", where="time >= TIMESTAMPTZ '2026-10-25 02:30:00+00'")).table["time"]
    assert last.as_py() == TWICE + timedelta(hours=2)


def test_age_is_counted_in_hours_that_went_by(root: Path):
    now = TWICE + timedelta(hours=2)
    decision = ship.decide(layout.segments(root), now.astimezone(BERLIN), days=1.5 / 24, size=2**40)
    assert [each.hour.hour for each in decision.remove] == [23, 0]


def test_labels_say_their_own_offset(root: Path):
    told = ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T00:30:00", "2026-10-25T00:30:00Z")
    taken = accept([Label(request_id="a", label=1, time=each) for each in told], TWICE.timestamp() + 86400)
    assert [each.time / 1e6 - TWICE.timestamp() for each in taken.labels] == [0, 3600, 0, 0]
