"""Profiles on disk: what is written is read, by minute and hour; hours are put together without a row counted twice."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from argosy.profiles import files
from argosy.profiles.layout import Layout
from argosy.profiles.profile import Profile, merge
from argosy.profiles.recorder import Recorder
from argosy.store.payloads import layout as places
from tests.profiles.models import rows, small

START = datetime(2026, 1, 31, 14, 58, tzinfo=UTC)


@pytest.fixture(scope="module")
def where() -> Layout:
    return small()


def counted(where: Layout, start: datetime, minutes: int, version: str = "3") -> list[Profile]:
    recorder = Recorder(where, version, segments=["country"])
    for place in range(minutes):
        recorder.add(start.timestamp() + 60 * place, *rows(10, seed=place))
    return recorder.take(start.timestamp() + 60 * minutes)


def test_what_is_written_is_read_back_by_minute(where: Layout, tmp_path: Path):
    made = counted(where, START, 4)
    paths = files.write(tmp_path, "digits", made)
    assert len({path.parent for path in paths}) == 2
    found = files.read(tmp_path, "digits", "3")
    assert found == made
    some = files.read(tmp_path, "digits", "3", START + timedelta(minutes=1), START + timedelta(minutes=3))
    assert some == [one for one in made if 1 <= one.start - made[0].start < 3]
    assert files.read(tmp_path, "digits", "4") == []
    assert places.endpoints(tmp_path) == ["digits"]
    assert files.versions(tmp_path, "digits") == ["3"]


def test_a_half_minute_belongs_to_the_window_that_touches_it(where: Layout, tmp_path: Path):
    files.write(tmp_path, "digits", counted(where, START, 1))
    inside = START + timedelta(seconds=30)
    assert files.read(tmp_path, "digits", "3", since=inside)
    assert files.read(tmp_path, "digits", "3", until=inside)
    assert not files.read(tmp_path, "digits", "3", until=START)
    assert not files.read(tmp_path, "digits", "3", since=START + timedelta(minutes=1))


def test_the_hour_that_daylight_saving_repeats_is_two_hours(where: Layout, tmp_path: Path):
    berlin = ZoneInfo("Europe/Berlin")
    first = datetime(2026, 10, 25, 2, 30, tzinfo=berlin)
    again = first.replace(fold=1)
    for moment in (first, again):
        files.write(tmp_path, "digits", counted(where, moment, 1))
    assert len(files.hours(tmp_path, "digits", "3")) == 2
    found = files.read(tmp_path, "digits", "3", since=first, until=first.astimezone(UTC) + timedelta(minutes=1))
    assert {one.start * 60 for one in found} == {int(first.timestamp())}


def test_a_broken_file_costs_only_itself(where: Layout, tmp_path: Path):
    good, bad = (files.write(tmp_path, "digits", counted(where, START, 1))[0] for _ in range(2))
    data = bad.read_bytes()
    for broken in (b"", data[: len(data) // 2], data[:-3] + b"abc", b"\xff" * 100):
        bad.write_bytes(broken)
        assert sum(one.rows for one in files.read(tmp_path, "digits", "3") if not one.segment) == 10
    assert good.exists()


def test_old_minutes_become_hours_and_nothing_is_counted_twice(where: Layout, tmp_path: Path):
    made = counted(where, START, 2) + counted(where, START + timedelta(minutes=1), 1)
    for one in made:
        files.write(tmp_path, "digits", [one])
    now = made[-1].end + 60 + files.RETENTION
    assert files.tidy(tmp_path, "digits", "3", lambda digest: None, now, 10**6) == (0, 0)
    assert files.tidy(tmp_path, "digits", "3", {where.digest: where}.get, made[-1].end, 10**6) == (0, 0)
    assert files.tidy(tmp_path, "digits", "3", {where.digest: where}.get, now, 10**6) == (1, 0)
    found = [one for one in files.read(tmp_path, "digits", "3") if not one.segment]
    (whole,) = found
    together = merge(where, [one for one in made if not one.segment])
    assert (whole.counts, whole.rows, whole.start, whole.end) == (together.counts, 30, together.start, together.end)
    assert files.tidy(tmp_path, "digits", "3", {where.digest: where}.get, now, 10**6) == (0, 0)
    assert files.tidy(tmp_path, "digits", "3", {where.digest: where}.get, now, 60) == (0, 1)
    assert list(tmp_path.glob("endpoint=*")) == []


def test_a_crash_between_the_hour_and_the_end_of_its_minutes_changes_nothing(
    where: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for one in counted(where, START, 2):
        files.write(tmp_path, "digits", [one])
    now = int(START.timestamp()) // 60 + 200 + files.RETENTION
    with monkeypatch.context() as patch:
        patch.setattr(files, "_remove", lambda folder, names: None)
        files.tidy(tmp_path, "digits", "3", {where.digest: where}.get, now, 10**6)
    assert sum(one.rows for one in files.read(tmp_path, "digits", "3") if not one.segment) == 20
    late = counted(where, START, 1)
    files.write(tmp_path, "digits", late)
    files.tidy(tmp_path, "digits", "3", {where.digest: where}.get, now, 10**6)
    files.tidy(tmp_path, "digits", "3", {where.digest: where}.get, now, 10**6)
    assert sum(one.rows for one in files.read(tmp_path, "digits", "3") if not one.segment) == 30
    assert len(list(tmp_path.rglob("*.profiles"))) == 1
