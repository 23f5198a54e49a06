"""Labels that nobody needs go: those without a prediction, and those of payloads that are gone. Counts stay."""

from datetime import UTC, datetime, timedelta

import pytest

from argosy.monitoring.feedback import join as expiry
from argosy.monitoring.feedback.cohort import performance
from argosy.monitoring.feedback.folder import Manifest
from argosy.store.payloads import layout, ship
from tests.monitoring.feedback.kit import DAY, START, folder, join, label, predict, tell


def test_a_label_waits_no_longer_than_it_may(tmp_path):
    predict(tmp_path, ("a", 0, 1))
    tell(tmp_path, label("a", 1), label("never", 1), at=10 * DAY)
    tell(tmp_path, label("later", 1), at=60 * DAY)
    assert (join(tmp_path, days=60).waiting, join(tmp_path, days=60).expired) == (2, 0)
    made = join(tmp_path, days=111)
    assert (made.waiting, made.expired) == (1, 1)
    predict(tmp_path, ("later", 61 * DAY, 1), ("never", 61 * DAY, 1))
    made = join(tmp_path, days=112)
    assert (made.joined, made.waiting, made.expired) == (1, 0, 0)
    assert folder(tmp_path).manifest().expired == 1


def test_what_is_of_payloads_that_are_gone_goes_and_what_was_counted_stays(tmp_path, monkeypatch):
    log = tmp_path / "payloads"
    monkeypatch.setattr("argosy.monitoring.feedback.intake.time.time_ns", lambda: int(START.timestamp() * 1e9))
    predict(tmp_path, ("a", 0, 1), ("b", 10 * DAY, 1))
    tell(tmp_path, label("a", 1, at=DAY), label("b", 1, at=11 * DAY), at=12 * DAY)
    join(tmp_path)
    monkeypatch.undo()
    before = performance(folder(tmp_path), START + timedelta(days=40)).cohorts
    join(tmp_path, days=150)
    assert set(folder(tmp_path).manifest().joined) == {"2026-01-01", "2026-01-11"}
    assert len(folder(tmp_path).label_files()) == 1
    first, second = layout.segments(log)
    ship.remove(log, [first])
    join(tmp_path, days=150)
    assert set(folder(tmp_path).manifest().joined) == {"2026-01-11"}
    assert folder(tmp_path).label_files() == []
    ship.remove(log, [second])
    join(tmp_path, days=105)
    assert set(folder(tmp_path).manifest().joined) == {"2026-01-11"}
    join(tmp_path, days=150)
    manifest = folder(tmp_path).manifest()
    assert (manifest.joined, manifest.labels, manifest.segments) == ({}, (), ())
    assert len(list(folder(tmp_path).made.iterdir())) == len(manifest.named())
    assert performance(folder(tmp_path), START + timedelta(days=40)).cohorts == before


@pytest.mark.parametrize(("days", "left"), [(0.5, 0), (3, 1), (400, 2)])
def test_what_the_log_still_has_is_needed(days: float, left: int):
    now = START + timedelta(days=300)
    segments = [f"endpoint=m/version=1/hour={START + timedelta(days=299):%Y-%m-%dT%H}/x.parquet"] if days == 3 else []
    names = tuple(f"labels/{int((START + timedelta(days=at)).timestamp() * 1e9):019d}-ab.parquet" for at in (0, 298))
    found = expiry.retained(Manifest(labels=names), expiry.limits(now, days, segments)[1])
    assert len(found.labels) == left


def test_the_oldest_files_go_where_all_are_too_many_bytes():
    sizes = {"labels/3-a.parquet": 30, "labels/1-a.parquet": 10, "labels/2-a.parquet": 20}
    assert expiry.beyond(sizes, 60) == set()
    assert expiry.beyond(sizes, 50) == {"labels/1-a.parquet"}
    assert expiry.beyond(sizes, 31) == {"labels/1-a.parquet", "labels/2-a.parquet"}
    sizes |= {f"labels/0-{n}-some-key.parquet": 25 for n in range(4)}
    assert expiry.beyond(sizes, 135) == {"labels/0-0-some-key.parquet"}
    assert expiry.beyond(sizes, 110) == {"labels/0-0-some-key.parquet", "labels/0-1-some-key.parquet"}
    names = ("labels/3-a.parquet", "labels/1-a.parquet", "labels/2-a.parquet")
    found = expiry.retained(Manifest(labels=names), datetime(1970, 1, 1, tzinfo=UTC), {"labels/1-a.parquet"})
    assert found.labels == ("labels/3-a.parquet", "labels/2-a.parquet")
