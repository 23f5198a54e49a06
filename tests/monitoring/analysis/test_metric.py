import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from argosy.monitoring.analysis import evidence

ZERO = np.zeros(len(evidence.BETS))


@given(st.floats(-1, 0), st.floats(0, 1), st.floats(0, 0.2))
def test_bounded_is_fair_at_the_tolerance(low: float, high: float, tolerance: float):
    """Two values around the tolerance, with the chances that make it the mean."""
    high = max(high, tolerance + 0.001)
    chance = (tolerance - low) / (high - low)
    mean = chance * np.exp(evidence.bounded(ZERO, high, 1.0, tolerance))
    mean += (1 - chance) * np.exp(evidence.bounded(ZERO, low, 1.0, tolerance))
    assert (mean <= 1 + 1e-9).all()


@given(st.floats(0, 1e6), st.floats(1e-3, 1e3))
def test_unbounded_is_fair_for_symmetric_differences(d: float, square: float):
    up, down = (np.exp(evidence.unbounded(ZERO, side, square, 3)) for side in (d, -d))
    assert (up + down <= 2 + 1e-9).all()


@given(st.floats(-100, 100), st.floats(0, 10))
def test_worse_is_more_evidence(d: float, more: float):
    assert (evidence.unbounded(ZERO, d + more, 4.0, 4) >= evidence.unbounded(ZERO, d, 4.0, 4) - 1e-12).all()


def test_the_first_look_only_sets_the_scale():
    assert not evidence.unbounded(ZERO, 1000.0, 0.0, 0).any()
