"""The probe asks a slow model for few rows, and is not put off by rows that no model answers."""

import itertools
import re
from types import SimpleNamespace

import numpy as np
import pytest

from argosy.batch import probe
from argosy.batch.ledger import Ledger
from argosy.batch.place import place
from argosy.batch.sizes import BATCH, usual
from argosy.batch.wire import Begin
from argosy.engines.base import Engine
from tests.batch import kit


class Slow(Engine):
    """Takes 10 ms a row, by a clock of its own; counts the rows."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.now = 0.0

    def predict(self, inputs):
        self.rows.append(len(inputs["x"]))
        self.now += 0.01 * len(inputs["x"])
        return []


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return kit.home(tmp_path_factory.mktemp("home"))


def begun(home, plan, trusted=True):
    """The job of a plan, begun as the driver does."""
    Ledger(place(plan.job.output)).begin(plan)
    return Begin(0, plan.job, usual(plan.job, probe.cores()), str(kit.package(home, "picky")), trusted)


def test_sizes_grow_until_a_call_takes_too_long(monkeypatch):
    engine = Slow()
    monkeypatch.setattr(probe, "time", SimpleNamespace(perf_counter=lambda: engine.now))
    found = probe.measure(engine, {"x": np.zeros((1000, 1))}, 1, probe.SIZES)
    assert [each.batch_size for each in found] == [8, 64]
    assert set(engine.rows) == {8, 64}
    assert all(60 < each.rate < 101 for each in found)


@pytest.mark.parametrize("bad", [None, 0, 20, 1000])
def test_a_row_that_is_refused_does_not_put_it_off(home, tmp_path, monkeypatch, bad):
    ticks = itertools.count()
    monkeypatch.setattr(probe, "time", SimpleNamespace(perf_counter=lambda: next(ticks) * 0.02))
    ids = np.arange(2000)
    if bad is not None:
        ids[bad] = -1
    data = kit.write(tmp_path / "data", kit.table(ids), group=2000)
    folder = kit.package(home, "picky")
    plan = kit.planned(folder, data, tmp_path / "out")
    found = probe.probe(begun(home, plan))
    assert {each.threads for each in found.measured} == {1, probe.cores()}
    assert all(each.rate > 0 for each in found.measured)
    assert [each.batch_size for each in found.measured if each.threads == 1][:2] == [8, 64]


def test_a_job_too_small_for_it_takes_calls_that_suit_a_slow_model(home, tmp_path):
    data = kit.write(tmp_path / "data", kit.table(np.arange(2000)))
    plan = kit.planned(kit.package(home, "picky"), data, tmp_path / "out")
    sizes = probe.sizes(plan, begun(home, plan))
    assert (sizes.workers, sizes.threads, sizes.batch_size) == (probe.cores(), 1, BATCH)


def large(home, tmp_path, second=0):
    """The plan of a job large enough to be probed."""
    data = kit.write(tmp_path / "data", kit.table(np.arange(probe.SMALL), second), group=probe.SMALL)
    return kit.planned(kit.package(home, "picky"), data, tmp_path / "out")


def test_a_probe_that_works_says_nothing(home, tmp_path, caplog):
    plan = large(home, tmp_path)
    assert probe.sizes(plan, begun(home, plan)).batch_size > BATCH
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("second", "trusted", "patience", "said"),
    [
        pytest.param(
            7, True, 120.0, r"\(SIGSEGV\); its last words: Fatal Python error: Segmentation fault", id="crash"
        ),
        pytest.param(0, False, 120.0, "since its probe failed: .*nobody here vouches", id="error"),
        pytest.param(0, True, 0.01, "the probe did not finish within 0.01 s", id="hang"),
    ],
)
def test_a_probe_that_fails_is_told_of(home, tmp_path, monkeypatch, caplog, second, trusted, patience, said):
    monkeypatch.setattr(probe, "PATIENCE", patience)
    plan = large(home, tmp_path, second)
    sizes = probe.sizes(plan, begun(home, plan, trusted))
    assert (sizes.workers, sizes.threads, sizes.batch_size) == (probe.cores(), 1, BATCH)
    assert re.search(said, caplog.text)
