import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.monitoring.drift.evidence import log_e, log_gamma
from argosy.monitoring.drift.geometry import geometry
from argosy.profiles.cells import Column
from argosy.profiles.layout import Layout
from tests.monitoring.drift.tables import column

SMALL = geometry(
    Layout(
        [column("n"), Column(side="input", tensor="c", datatype="BYTES", name="c", kind="categories", known=("a", "b"))]
    ),
    np.array([6, 5, 1, 0, 0, 2, 4, 3, 2, 1]),
)


def every_draw(pool: list[int], n: int) -> list[tuple[list[int], float]]:
    """All windows of n rows out of a pool of counts, with their probabilities."""
    if len(pool) == 1:
        return [([n], 1.0)] if n <= pool[0] else []
    return [
        ([k, *rest], math.comb(pool[0], k) * weight * math.comb(sum(pool[1:]), n - k) / math.comb(sum(pool), n))
        for k in range(min(pool[0], n) + 1)
        for rest, weight in every_draw(pool[1:], n - k)
        if n - k <= sum(pool[1:])
    ]


@pytest.mark.parametrize("n", [1, 2, 5, 7, 8])
@pytest.mark.parametrize("row", [0, 1])
def test_the_mean_over_all_windows_is_at_most_one(n, row):
    pool = [[3, 2, 1, 1, 0, 2], [4, 3, 2, 1]][row]
    recent = np.zeros((2, SMALL.weights.shape[1], SMALL.real.shape[1]))
    recent[row, :, :2] = 3
    mean, total = np.zeros(SMALL.weights.shape[1]), 0.0
    for drawn, probability in every_draw(pool, n):
        window, base = np.zeros(SMALL.real.shape), np.zeros(SMALL.real.shape)
        window[row, : len(drawn)] = drawn
        base[row, : len(pool)] = np.array(pool) - drawn
        mean += probability * np.exp(log_e(SMALL, base, window, recent)[row])
        total += probability
    assert total == pytest.approx(1)
    assert mean.max() <= 1 + 1e-9
    assert mean.max() > 0.5


@pytest.mark.parametrize("cell", [0, 2, 5])
def test_a_window_larger_than_the_base_tells_as_much_as_the_base_can(cell):
    """All of a million rows are in one cell, of the base's 300 a third is: as clear as 300 rows can be."""
    base, window = np.zeros(SMALL.real.shape), np.zeros(SMALL.real.shape)
    base[0, :3] = 100
    window[0, cell] = 1_000_000
    recent = np.zeros((2, SMALL.weights.shape[1], SMALL.real.shape[1]))
    assert log_e(SMALL, base, window, recent)[0].max() > 50
    alike = np.round(base * 1_000_000 / 300)
    assert log_e(SMALL, base, alike, recent)[0].max() < 3


def test_without_rows_nothing_is_said():
    none, some = np.zeros(SMALL.real.shape), np.where(SMALL.real, 5.0, 0.0)
    recent = np.zeros((2, SMALL.weights.shape[1], SMALL.real.shape[1]))
    assert not log_e(SMALL, some, none, recent).any()
    assert not log_e(SMALL, none, some, recent).any()


@given(st.floats(1e-10, 1e7))
def test_log_gamma(x):
    assert log_gamma(np.array(x)) == pytest.approx(math.lgamma(x), rel=1e-9, abs=1e-8)
