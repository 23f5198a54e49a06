import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.monitoring.analysis import latency
from argosy.monitoring.eprocess import mixture
from argosy.serving.counts import BUCKETS, bucket

COUNTS = st.lists(st.integers(0, 500), min_size=4, max_size=9).filter(lambda counts: sum(counts) > 0)


@given(COUNTS)
def test_slopes_grow_and_average_to_one(counts: list[int]):
    past = np.array(counts, float)
    g = latency.slopes(past)
    mass = (past + 0.5) / (past.sum() + 0.5 * len(past))
    assert (np.diff(g) >= -1e-6).all()
    assert (g * mass).sum(axis=1) == pytest.approx(np.ones(len(g)), abs=1e-4)


@given(COUNTS, st.lists(st.floats(0.01, 1), min_size=3, max_size=3), st.floats(0, 1))
def test_no_mean_above_one_unless_slower(counts: list[int], raw: list[float], move: float):
    """Blocks of two and three requests, summed over every outcome; the candidate is as the stable or faster."""
    g = latency.slopes(np.array(counts[:3], float))
    stable = np.array(raw) / sum(raw)
    faster = stable + np.array([move * stable[2], 0, -move * stable[2]])
    units = np.eye(3)
    mean = np.zeros(len(g))
    for outcome in itertools.product(range(3), repeat=5):
        chance = math.prod(faster[i] for i in outcome[:2]) * math.prod(stable[i] for i in outcome[2:])
        c, s = units[list(outcome[:2])].sum(0), units[list(outcome[2:])].sum(0)
        mean += chance * np.exp(latency.harm(np.zeros(len(g)), g, c, s))
    assert (mean <= 1 + 1e-9).all()


def test_one_arm_alone_says_nothing():
    g = latency.slopes(np.array([10.0, 10.0]))
    assert not latency.harm(np.zeros(len(g)), g, np.array([0, 9]), np.zeros(2)).any()


def test_cells_keep_every_request():
    past = latency.dense({bucket(0.001 * n): n for n in range(1, 300)})
    assert latency.cells(past, latency.cuts(past)).sum() == past.sum()


def test_a_shift_is_a_factor():
    moved = latency.dense({100: 5, BUCKETS - 1: 1}, 4)
    assert moved[104] == 5
    assert moved[BUCKETS - 1] == 1
    assert latency.factor_buckets(1.0) == 0
    assert latency.factor_buckets(1.25) == 4


def test_quantiles_and_means():
    counts = latency.dense({bucket(0.1): 90, bucket(1.0): 10})
    assert latency.quantile(counts, 0.5) == pytest.approx(0.1, rel=0.05)
    assert latency.quantile(counts, 0.95) == pytest.approx(1.0, rel=0.05)
    assert latency.mean(counts) == pytest.approx(0.19, rel=0.05)
    low, high = latency.quantile_interval(counts * 20, 0.5, 0.01)
    assert low <= 0.1 <= high
    assert math.isnan(latency.mean(counts * 0))
    assert math.isnan(latency.quantile(counts * 0, 0.5))


def test_a_proof_comes_only_for_the_fast():
    past, rng = latency.dense({bucket(0.05 * 1.05**n): 100 for n in range(30)}), np.random.default_rng(1)

    def proof(shift: int) -> float:
        logs = np.zeros(2)
        for _ in range(300):
            c, s = (latency.dense({bucket(0.05 * 1.05 ** int(n)): 1 for n in rng.integers(0, 30, 9)}) for _ in "cs")
            logs = latency.safe(logs, past, 0.5, 4, np.roll(c, shift), s)
        return float(mixture(logs, latency.SAFE_WEIGHTS))

    assert proof(0) > math.log(100)
    assert proof(6) < 0
