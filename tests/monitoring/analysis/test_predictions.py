import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from argosy.monitoring.analysis import predictions

SHARES = st.lists(st.floats(0.01, 1), min_size=3, max_size=3)


@given(SHARES, st.lists(st.integers(0, 50), min_size=3, max_size=3), st.floats(0, 0.3))
def test_no_mean_above_one_within_the_tolerance(raw: list[float], seen: list[int], tolerance: float):
    stable = np.array(raw) / sum(raw)
    moved = min(tolerance, stable[0])
    candidate = stable + np.array([-moved, 0, moved])
    p, q = predictions.guesses(np.array(seen), np.array([20, 10, 5]))
    mean, units = np.zeros(3), np.eye(3)
    for outcome in itertools.product(range(3), repeat=4):
        chance = math.prod(candidate[i] for i in outcome[:2]) * math.prod(stable[i] for i in outcome[2:])
        c, s = units[list(outcome[:2])].sum(0), units[list(outcome[2:])].sum(0)
        mean += chance * np.exp(predictions.differ(np.zeros(3), p, q, c, s, tolerance))
    assert (mean <= 1 + 1e-9).all()


def test_without_a_past_nothing_is_bet():
    p, q = predictions.guesses(np.zeros(3), np.array([20, 10, 5]))
    assert np.allclose(q, p)


def test_distance():
    assert predictions.distance(np.array([1.0, 0.0]), np.array([0.0, 5.0])) == 1
    assert predictions.distance(np.array([1.0, 1.0]), np.array([5.0, 5.0])) == 0
    assert predictions.distance(np.zeros(2), np.array([5.0, 5.0])) == 0
