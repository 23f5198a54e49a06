"""One fragment after the other, cut off anywhere: the output is always that of a job that nobody disturbed."""

import itertools
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.batch.ledger import Ledger
from argosy.batch.stage import check
from argosy.batch.work import FragmentRunner
from argosy.packaging.load import load
from argosy.packaging.package import open_package
from argosy.spec.errors import Conflict, InvalidArgument, StorageFull
from tests.batch import kit
from tests.store import faults

ROWS = 300


class Killed(BaseException):
    """In place of SIGKILL."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return kit.home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def times(home):
    model = load(open_package(kit.package(home, "times")), threads=1)
    yield model.engine
    model.close()


@pytest.fixture(scope="module")
def picky(home):
    model = load(open_package(kit.package(home, "picky"), trusted=True), threads=1)
    yield model.engine
    model.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    order = np.random.default_rng(0).permutation(ROWS)
    tables = [kit.table(part, 0.5, 4) for part in np.array_split(order, 3)]
    return kit.write(tmp_path_factory.mktemp("data"), *tables, group=40), order.tolist()


def begun(home, data, output, batch_size, engine, name="times", **options):
    """A job that was planned, at work in this process."""
    plan = kit.planned(kit.package(home, name), data, output, **options)
    bench = FragmentRunner(plan, engine, batch_size)
    bench.ledger.begin(plan)
    bench.stage.create()
    return bench


def finish(bench, stopping=lambda: False):
    """Do what is left, as a driver would that comes after a crash."""
    done = bench.ledger.entries()
    for entry in done.values():
        bench.stage.settle(entry)
    for number, fragment in enumerate(bench.fragments):
        if fragment.id(bench.recipe) not in done and kit.run(bench, number, lambda tally: None, stopping) is None:
            return None
    entries = list(bench.ledger.entries().values())
    check(bench.ledger.output, entries)
    return bench.ledger.seal(bench.plan, entries)


@settings(max_examples=12)
@given(
    fragment_rows=st.integers(8, 120),
    batch_size=st.integers(1, 64),
    kills=st.lists(st.integers(1, 60), max_size=6),
)
def test_any_fragments_and_any_kills_give_the_same_output(
    home, times, data, tmp_path_factory, fragment_rows, batch_size, kills
):
    folder, order = data
    root = tmp_path_factory.mktemp("out")
    calm = begun(home, folder, root / "calm", 7, times, fragment_rows=fragment_rows)
    told = finish(calm)
    bench = begun(home, folder, root / "out", batch_size, times, fragment_rows=fragment_rows, checkpoint=0.0)

    def die(_call):
        raise Killed

    for number in kills:
        with faults.at_call(number, die):
            try:
                finish(bench)
            except Killed:
                continue
    sealed = finish(bench)
    assert told is not None
    assert sealed is not None
    assert (sealed.digest, sealed.rows, sealed.out) == (told.digest, ROWS, ROWS)
    assert kit.ids(root / "out") == order
    assert kit.parts(root / "out") == kit.parts(root / "calm")


@settings(max_examples=15)
@given(stops=st.lists(st.integers(1, 9), max_size=12), batch_size=st.integers(1, 50))
def test_who_is_told_to_stop_goes_on_where_it_was(home, times, data, tmp_path_factory, stops, batch_size):
    folder, order = data
    bench = begun(home, folder, tmp_path_factory.mktemp("out"), batch_size, times, checkpoint=3600.0, patience=0.0)
    asked = []
    real = bench.engine.predict

    class Counting:
        signature = times.signature

        def predict(self, inputs):
            asked.append(len(inputs["x"]))
            return real(inputs)

    bench.engine = Counting()
    for stop in stops:
        calls = itertools.count(1)
        finish(bench, lambda calls=calls, stop=stop: next(calls) >= stop)
    finish(bench)
    assert kit.ids(Path(bench.plan.job.output)) == order
    assert sum(asked) == ROWS


def test_a_changed_input_is_noticed_before_it_is_read(home, times, tmp_path):
    folder = kit.write(tmp_path / "data", kit.table(range(100), 0, 4))
    bench = begun(home, folder, tmp_path / "out", 10, times, fragment_rows=50)
    kit.write(tmp_path / "data", kit.table(range(90), 0, 4))
    with pytest.raises(Conflict, match=r"0\.parquet has changed since the job was planned"):
        finish(bench)
    assert kit.entries(tmp_path / "out") == []


def test_an_input_that_changes_while_it_is_read_is_not_committed(home, times, tmp_path):
    folder = kit.write(tmp_path / "data", kit.table(range(100), 0, 4))
    bench = begun(home, folder, tmp_path / "out", 10, times, fragment_rows=50, checkpoint=0.0)

    def touch(tally):
        if tally.rows == 70 - 50:
            os.utime(tmp_path / "data/0.parquet", (1, 1))

    with pytest.raises(Conflict, match="has changed"):
        kit.run(bench, 0, touch, lambda: False)
    assert kit.entries(tmp_path / "out") == []
    assert kit.parts(tmp_path / "out") == {}


def test_a_full_disk_anywhere_loses_nothing(home, times, data, tmp_path):
    folder, order = data
    bench = begun(home, folder, tmp_path / "out", 16, times, fragment_rows=100, checkpoint=0.0)
    failed = 0
    for number in itertools.count(1):
        with faults.at_call(number, faults.no_space) as made:
            try:
                finish(bench)
            except StorageFull:
                failed += 1
        if len(made) < number:
            break
    assert failed > 5
    assert kit.ids(tmp_path / "out") == order


def test_rows_that_are_refused_or_fail_go_to_quarantine(home, picky, tmp_path):
    ids = np.arange(100)
    ids[[3, 50]] = -1
    second = np.zeros(100)
    second[[7, 99]] = 9
    folder = kit.write(tmp_path / "data", kit.table(ids, second))
    bench = begun(home, folder, tmp_path / "out", 16, picky, "picky", fragment_rows=40, on_error="quarantine")
    seal = finish(bench)
    assert seal is not None
    assert (seal.rows, seal.out, seal.skipped, seal.quarantined) == (100, 96, 0, 4)
    rejects = [entry.rejects for entry in kit.entries(tmp_path / "out") if entry.rejects]
    found = [row for part in rejects for row in pq.read_table(tmp_path / "out" / part.name).to_pylist()]
    assert [row["_where"].rpartition(", ")[2] for row in found] == ["row 3", "row 7", "row 50", "row 99"]
    assert [row["_reason"].rpartition(": ")[2] for row in found] == ["x is below 0", "a nine"] * 2
    assert found[0]["id"] == -1


def test_rows_that_fail_end_the_job_unless_it_says_otherwise(home, picky, tmp_path):
    folder = kit.write(tmp_path / "data", kit.table([*range(60), -1]))
    bench = begun(home, folder, tmp_path / "out", 16, picky, "picky")
    with pytest.raises(InvalidArgument, match=r"0\.parquet, row 60: x is below 0"):
        finish(bench)
    skipping = begun(home, folder, tmp_path / "other", 16, picky, "picky", on_error="skip")
    seal = finish(skipping)
    assert seal is not None
    assert (seal.out, seal.skipped) == (60, 1)


def test_what_is_there_already_is_refused(home, times, data, tmp_path):
    folder, _ = data
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").touch()
    with pytest.raises(Conflict, match="is not empty"):
        begun(home, folder, tmp_path / "out", 16, times)
    (tmp_path / "out/mine.txt").unlink()
    begun(home, folder, tmp_path / "out", 16, times)
    with pytest.raises(Conflict, match="a job was begun"):
        begun(home, folder, tmp_path / "out", 16, times)


def test_a_part_that_is_gone_is_no_success(home, times, data, tmp_path):
    folder, _ = data
    bench = begun(home, folder, tmp_path / "out", 16, times, fragment_rows=100)
    finish(bench)
    entry = kit.entries(tmp_path / "out")[1]
    (tmp_path / "out" / entry.parts[0].name).unlink()
    with pytest.raises(Exception, match="is not as it was written"):
        finish(bench)


def test_a_bucket_holds_the_parts_of_entries_and_nothing_else_at_the_end(home, times, data, s3, monkeypatch, tmp_path):
    folder, order = data
    monkeypatch.setenv("ARGOSY_HOME", str(tmp_path / "h"))
    bench = begun(home, folder, f"{s3}/out-work", 16, times, fragment_rows=100)
    bench.ledger.output.join("part-000099-0123abcd.parquet").put(b"left behind by a worker that was killed")
    assert finish(bench) is not None
    found = [file for file in bench.ledger.output.walk() if file.name.endswith(".parquet")]
    entries = sorted(Ledger(bench.ledger.output).entries().values(), key=lambda entry: entry.number)
    assert sorted(file.name for file in found) == [part.name for entry in entries for part in entry.parts]
    tables = [pq.read_table(bench.ledger.output.join(p.name).open()) for e in entries for p in e.parts]
    assert [value for one in tables for value in one["id"].to_pylist()] == order
