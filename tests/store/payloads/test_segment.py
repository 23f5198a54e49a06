import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyarrow import parquet

from argosy.spec.errors import StorageFull
from argosy.store.payloads import layout, segment
from tests.store.faults import at_call, die, no_space
from tests.store.payloads.kit import HOUR, NOON, record, writer

ROOT = Path(__file__).parents[3]
WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from tests.store.payloads.kit import record, writer

number = 0
while True:  # segment after segment, and the name of each that is committed
    (path,) = writer(Path(sys.argv[1])).write([record(number + place, rows=3) for place in range(200)])
    print(path.name, flush=True)
    number += 200
"""


def test_a_segment_for_each_hour(tmp_path):
    paths = writer(tmp_path, version="digits:3").write([record(1), record(2, time=NOON + HOUR), record(3)])
    assert [path.parent.relative_to(tmp_path).as_posix() for path in paths] == [
        "endpoint=digits/version=digits%3A3/hour=2026-01-31T12",
        "endpoint=digits/version=digits%3A3/hour=2026-01-31T13",
    ]
    assert parquet.read_table(paths[0], partitioning=None)["request_id"].to_pylist() == ["r1", "r3"]
    assert [(s.endpoint, s.version, s.hour.hour) for s in layout.segments(tmp_path)] == [
        ("digits", "digits:3", 12),
        ("digits", "digits:3", 13),
    ]
    assert all(path.stat().st_mode & 0o077 == 0 for path in paths)


def test_segments_of_a_time(tmp_path):
    writer(tmp_path).write([record(n, time=NOON + n * HOUR) for n in range(4)])
    writer(tmp_path, endpoint="other").write([record(1)])
    half_past_one = layout.hour_of(NOON + HOUR).replace(minute=30)
    found = layout.segments(tmp_path, "digits", since=half_past_one, until=layout.hour_of(NOON + 2 * HOUR))
    assert [each.hour.hour for each in found] == [13, 14]
    assert layout.endpoints(tmp_path) == ["digits", "other"]
    assert layout.parse("endpoint=a/version=1/hour=soon/x.parquet") is None


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_whole_files_and_all_it_said_it_wrote(tmp_path):
    chance = random.Random(7)
    for _ in range(20):
        command = [sys.executable, "-c", WRITE_UNTIL_KILLED, str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            first = child.stdout.readline()
            time.sleep(chance.uniform(0, 0.05))
            child.kill()
            names = [first, *child.stdout.read().splitlines(keepends=True)]
        there = {path.name for path in tmp_path.rglob("hour=*/*.parquet")}
        assert {name.strip() for name in names if name.endswith("\n")} <= there
    found = layout.segments(tmp_path)
    assert len(found) >= 20
    assert segment.quarantine(tmp_path, [each.key for each in found], deep=True) == []
    assert all(parquet.read_metadata(tmp_path / each.key).num_rows == 600 for each in found)
    segment.clean(tmp_path, now=time.time() + 2 * segment.LEFT_OVER_SECONDS)
    assert list((tmp_path / layout.TEMPORARY).iterdir()) == []


def test_a_writer_that_dies_at_any_change_of_the_disk(tmp_path):
    number = 1
    while True:
        child = os.fork()
        if child == 0:
            with at_call(number, die):
                writer(tmp_path / str(number)).write([record(1)])
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found = layout.segments(tmp_path / str(number))
        assert segment.quarantine(tmp_path / str(number), [each.key for each in found], deep=True) == []
        if status == 0:
            assert len(found) == 1
            break
        number += 1
    assert number > 8


def test_a_full_disk_costs_the_records_and_leaves_nothing_behind(tmp_path):
    log = writer(tmp_path)
    log.write([record(1)])
    with at_call(2, no_space), pytest.raises(StorageFull):
        log.write([record(2)])
    assert len(layout.segments(tmp_path)) == 1
    assert list((tmp_path / layout.TEMPORARY).iterdir()) == []


@pytest.mark.parametrize("cut", ["half", "end", "empty", "page"])
def test_a_broken_file_is_put_aside(tmp_path, cut):
    good, bad = (writer(tmp_path).write([record(n, rows=50)])[0] for n in range(2))
    data = bad.read_bytes()
    middle = bytes([data[300] ^ 0xFF])
    broken = {"half": data[: len(data) // 2], "end": data[:-1], "empty": b"", "page": data[:300] + middle + data[301:]}
    bad.write_bytes(broken[cut])
    keys = [path.relative_to(tmp_path).as_posix() for path in (good, bad)]
    (found,) = segment.quarantine(tmp_path, keys, deep=True)
    assert found.key == keys[1]
    assert found.reason
    assert [each.key for each in layout.segments(tmp_path)] == [keys[0]]
    assert (tmp_path / layout.QUARANTINE / keys[1]).read_bytes() == broken[cut]


def test_only_old_left_overs_are_removed(tmp_path):
    writer(tmp_path).write([record(1)])
    (tmp_path / layout.TEMPORARY / "old").write_bytes(b"x")
    assert segment.clean(tmp_path) == 0
    assert segment.clean(tmp_path, now=time.time() + 2 * segment.LEFT_OVER_SECONDS) == 1
