"""Small segments become large ones: every row is there once, whoever reads and whenever it is killed."""

import os
import shutil
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from pyarrow import parquet

from argosy.spec.errors import StorageFull
from argosy.spec.payload import PayloadLog
from argosy.store.payloads import compact, layout, segment, ship
from argosy.store.payloads.query import Query, read
from tests.store.faults import at_call, die, no_space
from tests.store.payloads.kit import HOUR, NOON, encoder, record, writer

LATER = layout.hour_of(NOON + HOUR) + timedelta(minutes=1)
NAMES = [f"r{number}" for number in range(6)]


class Reader:
    """Has read some segments."""

    def __init__(self, *keys: str) -> None:
        self.keys = set(keys)

    def read(self) -> set[str]:
        return set(self.keys)

    def holds(self, fresh: list[str]) -> None:
        self.keys |= set(fresh)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return filled(tmp_path / "log")


def filled(root: Path) -> Path:
    for number in range(6):
        writer(root).write([record(number, time=NOON + number * 1000)])
    return root


def keys(root: Path) -> list[str]:
    return [each.key for each in layout.segments(root)]


def merged(root: Path, memory: compact.Memory | None = None) -> int:
    (small,) = compact.due(layout.segments(root), LATER, timedelta())
    return compact.hour(root, small, memory)


def rows(root: Path) -> list[str]:
    """As any reader of Parquet sees them, and as ours does."""
    files = root.glob("endpoint=digits/**/*.parquet")
    found = sorted(name for path in files for name in parquet.read_table(path)["request_id"].to_pylist())
    assert sorted(read(root, Query(endpoint="digits")).table["request_id"].to_pylist()) == found
    return found


def test_an_hour_that_is_over_becomes_one_segment(root: Path):
    writer(root).write([record(9, time=NOON + HOUR)])
    before = read(root, Query(endpoint="digits")).table
    assert merged(root) == 5
    assert len(keys(root)) == 2
    assert read(root, Query(endpoint="digits")).table.equals(before)
    (made, _) = layout.segments(root)
    assert segment.fault(root / made.key, deep=True) == ""
    assert (root / made.key).stat().st_mode & 0o077 == 0
    assert not (root / layout.MERGING).exists()
    assert compact.due(layout.segments(root), LATER, timedelta()) == []


def test_what_is_due(root: Path):
    found = layout.segments(root)
    assert compact.due(found, layout.hour_of(NOON + HOUR), timedelta(minutes=1)) == []
    assert compact.due(found[:1], LATER, timedelta()) == []
    large = [layout.Segment(s.hour, s.key, s.endpoint, s.version, compact.SMALL) for s in found[:5]]
    assert compact.due([*large, found[5]], LATER, timedelta()) == []
    assert [len(each) for each in compact.due([*large, *found[4:]], LATER, timedelta())] == [2]


def test_no_segment_becomes_larger_than_it_may():
    known = compact.Known(False, False)
    hour = layout.hour_of(NOON)
    found = [(layout.Segment(hour, str(n), "e", "1", compact.LARGE // 3), known, b"") for n in range(7)]
    assert [len(part.segments) for part in compact.parts(found)] == [3, 3]


def test_other_columns_and_large_segments_stay_apart(root: Path, monkeypatch: pytest.MonkeyPatch):
    hidden = encoder(log=PayloadLog(redact=("age",)))
    for number in (6, 7):
        writer(root, made=hidden).write([record(number, time=NOON + number * 1000)])
    (large,) = writer(root).write([record(8, rows=500, time=NOON + 8000)])
    monkeypatch.setattr(compact, "SMALL", large.stat().st_size)
    assert merged(root) == 6
    assert {parquet.read_metadata(root / key).num_rows for key in keys(root)} == {6, 2, 500}
    assert large.exists()
    assert len(rows(root)) == 508


def test_a_broken_segment_is_put_aside(root: Path):
    bad = root / keys(root)[2]
    bad.write_bytes(bad.read_bytes()[:-9])
    assert merged(root) == 4
    assert rows(root) == [name for name in NAMES if name != "r2"]
    assert [path.name for path in (root / layout.QUARANTINE).rglob("*.parquet")] == [bad.name]


def test_while_somebody_reads_nothing_moves(root: Path):
    before = keys(root)
    with layout.shared(root):
        assert merged(root) == 0
        assert keys(root) == before
    assert merged(root) == 5


def test_what_somebody_has_read_stays_apart_from_what_he_has_not(root: Path):
    reader = Reader(*keys(root)[:4])
    assert merged(root, reader) == 4
    (known,) = reader.keys & set(keys(root))
    assert parquet.read_table(root / known)["request_id"].to_pylist() == NAMES[:4]
    assert rows(root) == NAMES


def test_who_reads_on_meanwhile_wins(root: Path):
    before = keys(root)

    class Hasty(Reader):
        def read(self) -> set[str]:
            found = set(self.keys)
            self.keys.add(before[5])
            return found

    assert merged(root, Hasty(before[0])) == 0
    assert keys(root) == before


def test_what_comes_meanwhile_is_not_lost(root: Path, monkeypatch: pytest.MonkeyPatch):
    real = segment.options

    def late(schema: object) -> dict[str, object]:
        monkeypatch.undo()
        writer(root).write([record(6, time=NOON + 6000)])
        return real(schema)

    monkeypatch.setattr(segment, "options", late)
    assert merged(root) == 0
    assert rows(root) == [*NAMES, "r6"]
    assert merged(root) == 6
    assert rows(root) == [*NAMES, "r6"]


def test_the_object_store_gets_each_row_once(root: Path, tmp_path: Path):
    away = tmp_path / "away"
    ship.ship(root, layout.segments(root)[:3], ship.destination(str(away)))
    assert merged(root) == 4
    assert len(keys(root)) == 2
    ship.ship(root, layout.segments(root), ship.destination(str(away)))
    assert rows(away) == rows(root) == NAMES
    assert ship.shipped(root) == set(keys(root))
    decision = ship.decide(
        layout.segments(root), LATER + timedelta(days=1), days=0.5, size=2**40, shipped=ship.shipped(root)
    )
    ship.remove(root, decision.remove)
    assert keys(root) == [] == [path for path in (root / layout.SHIPPED).rglob("*") if path.is_file()]


def test_what_may_have_arrived_stays_as_it_is(root: Path, tmp_path: Path):
    put = ship.destination(str(tmp_path / "away"))

    def dying(key: str, path: Path) -> None:
        put(key, path)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ship.ship(root, layout.segments(root), dying)
    first = keys(root)[0]
    assert merged(root) == 4
    assert first in keys(root)
    ship.ship(root, layout.segments(root), put)
    assert rows(tmp_path / "away") == NAMES


@pytest.mark.slow
def test_a_merge_that_dies_at_any_change_of_the_disk(tmp_path: Path):
    whole, away = filled(tmp_path / "whole"), tmp_path / "away"
    ship.ship(whole, layout.segments(whole)[:4], ship.destination(str(away)))
    for number in range(1, 100):
        root, stored = tmp_path / f"{number}", tmp_path / f"{number}-away"
        shutil.copytree(whole, root)
        shutil.copytree(away, stored)
        child = os.fork()
        if child == 0:
            with at_call(number, die):
                merged(root)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert rows(root) == NAMES, number
        if len(keys(root)) > 2:
            merged(root)
        assert rows(root) == NAMES, number
        assert len(keys(root)) == 2
        ship.ship(root, layout.segments(root), ship.destination(str(stored)))
        assert rows(stored) == NAMES, number
        shutil.rmtree(root)
        if status == 0:
            break
    assert number > 8


def test_a_full_disk_leaves_the_log_as_it_is(tmp_path: Path):
    for number in (1, 2, 3):
        root = filled(tmp_path / f"{number}")
        before = keys(root)
        with at_call(number, no_space), pytest.raises(StorageFull):
            merged(root)
        assert keys(root) == before
        assert not (root / layout.MERGING).exists()


def test_readers_see_every_row_once_at_any_moment(root: Path):
    seen: list[list[str]] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(rows_of(root))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    written = list(NAMES)
    for number in range(6, 16):
        writer(root).write([record(number, time=NOON + number * 1000)])
        written.append(f"r{number}")
        merged(root)
        limit = time.monotonic() + 60
        while len(seen) < number - 5:  # they look between any two writes
            assert time.monotonic() < limit
            time.sleep(0.001)
    done.set()
    for thread in threads:
        thread.join()
    assert len(seen) > 5
    assert all(found == written[: len(found)] for found in seen)
    assert rows(root) == sorted(written)


def rows_of(root: Path) -> list[str]:
    return read(root, Query(endpoint="digits")).table["request_id"].to_pylist()
