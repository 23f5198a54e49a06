"""The probe asks a slow model for few rows, and is not put off by rows that no model answers."""

import time

import numpy as np
import pytest

from argosy.batch import probe
from argosy.batch.sizes import BATCH
from argosy.engines.base import Engine
from argosy.packaging.package import open_package
from tests.batch import kit


class Slow(Engine):
    """Takes 10 ms a row; counts the rows."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def predict(self, inputs):
        self.rows.append(len(inputs["x"]))
        time.sleep(0.01 * len(inputs["x"]))
        return []


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return kit.home(tmp_path_factory.mktemp("home"))


def test_sizes_grow_until_a_call_takes_too_long():
    engine = Slow()
    found = probe.measure(engine, {"x": np.zeros((1000, 1))}, 1, probe.SIZES)
    assert [each.batch_size for each in found] == [8, 64]
    assert set(engine.rows) == {8, 64}
    assert all(60 < each.rate < 101 for each in found)


@pytest.mark.parametrize("bad", [None, 0, 20, 1000])
def test_a_row_that_is_refused_does_not_put_it_off(home, tmp_path, monkeypatch, bad):
    monkeypatch.setattr(probe, "SECONDS", 0.01)
    ids = np.arange(2000)
    if bad is not None:
        ids[bad] = -1
    data = kit.write(tmp_path / "data", kit.table(ids), group=2000)
    folder = kit.package(home, "picky")
    plan = kit.planned(folder, data, tmp_path / "out")
    found = probe.probe(plan, open_package(folder, trusted=True), plan.job)
    assert {each.threads for each in found.measured} == {1, probe.cores()}
    assert all(each.rate > 0 for each in found.measured)
    assert [each.batch_size for each in found.measured if each.threads == 1][:2] == [8, 64]


def test_a_job_too_small_for_it_takes_calls_that_suit_a_slow_model(home, tmp_path):
    data = kit.write(tmp_path / "data", kit.table(np.arange(2000)))
    plan = kit.planned(kit.package(home, "picky"), data, tmp_path / "out")
    sizes = probe.sizes(plan, kit.package(home, "picky"), ["--trusted"])
    assert (sizes.workers, sizes.threads, sizes.batch_size) == (probe.cores(), 1, BATCH)
