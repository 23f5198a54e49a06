"""The spool: whole records come back, whatever was cut off at the end, and one process at a time has it."""

import os
import subprocess
import sys
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.batch.spool import Record, Spool, Tally
from argosy.spec.errors import Conflict, StorageFull
from tests.store import faults


def record(rows: int, data: bytes = b"data") -> Record:
    return Record(Tally(rows, rows), (data,), (), 1)


def test_what_was_appended_comes_back(tmp_path):
    with closing(Spool(tmp_path / "s")) as spool:
        assert spool.last.tally == Tally()
        spool.append(record(3))
        spool.append(record(5, b"more" * 1000))
    with closing(Spool(tmp_path / "s")) as spool:
        assert list(spool.records()) == [record(3), record(5, b"more" * 1000)]
        assert spool.last.tally == Tally(5, 5)


def test_large_records_and_rejects_come_back(tmp_path):
    large = Record(Tally(9, 7, 0, 2), (bytes(300_000), b"", b"x" * 70_000), (b"y", bytes(200_000)), 3)
    with closing(Spool(tmp_path / "s")) as spool:
        spool.append(large)
        spool.append(record(10))
        assert list(spool.records()) == [large, record(10)]


@given(st.data())
def test_a_cut_anywhere_leaves_the_records_before_it(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("spool") / "s"
    ends = [0]
    with closing(Spool(path)) as spool:
        for rows in range(1, 5):
            spool.append(record(rows, bytes(rows * 10)))
            ends.append(path.stat().st_size)
    cut = data.draw(st.integers(0, ends[-1]))
    os.truncate(path, cut)
    whole = sum(end <= cut for end in ends[1:])
    with closing(Spool(path)) as spool:
        assert spool.last.tally.rows == whole
        spool.append(record(99))
        assert [one.tally.rows for one in spool.records()] == [*range(1, whole + 1), 99]


@given(st.data())
def test_a_changed_byte_ends_the_records_before_it(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("spool") / "s"
    ends = [0]
    with closing(Spool(path)) as spool:
        for rows in range(1, 5):
            spool.append(record(rows))
            ends.append(path.stat().st_size)
    at = data.draw(st.integers(0, ends[-1] - 1))
    whole = bytearray(path.read_bytes())
    whole[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    with closing(Spool(path)) as spool:
        assert [one.tally.rows for one in spool.records()] == list(range(1, sum(end <= at for end in ends[1:]) + 1))


def test_zeros_at_the_end_are_no_records(tmp_path):
    with closing(Spool(tmp_path / "s")) as spool:
        spool.append(record(1))
    with (tmp_path / "s").open("ab") as file:
        file.write(bytes(64))
    with closing(Spool(tmp_path / "s")) as spool:
        spool.append(record(2))
        assert [one.tally.rows for one in spool.records()] == [1, 2]


def test_a_full_disk_costs_the_record_alone(tmp_path):
    with closing(Spool(tmp_path / "s")) as spool:
        spool.append(record(1))
        with faults.at_call(1, faults.no_space), pytest.raises(StorageFull, match="no space left"):
            spool.append(record(2))
        spool.append(record(3))
        assert [one.tally.rows for one in spool.records()] == [1, 3]


def test_a_second_process_waits_for_the_first_and_then_goes_on_from_its_records(tmp_path):
    with closing(Spool(tmp_path / "s")) as spool:
        spool.append(record(1))
        with pytest.raises(Conflict, match="another process"), closing(Spool(tmp_path / "s", patience=0.05)):
            raise AssertionError
    hold = (
        "import sys, time; from pathlib import Path; from argosy.batch.spool import Spool\n"
        f"spool = Spool(Path({str(tmp_path / 's')!r}))\nprint('held', flush=True); time.sleep(0.5)\n"
        f"Path({str(tmp_path / 'left')!r}).touch()\n"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with closing(Spool(tmp_path / "s")) as spool:
            assert (tmp_path / "left").exists(), "not before the other let go"
            assert list(spool.records()) == [record(1)]


def test_who_waited_does_not_get_the_file_that_was_removed(tmp_path):
    with closing(Spool(tmp_path / "s")) as spool:
        spool.append(record(1))
        spool.remove()
    with closing(Spool(tmp_path / "s")) as spool:
        assert spool.last.tally == Tally()
