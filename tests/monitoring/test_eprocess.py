import math
import random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from argosy.monitoring.eprocess import RateRise, boundary, interval, log_e, mixture

RATE = st.floats(0.001, 0.9)


def mean_e(n_c: int, n_s: int, a: float, b: float, delta: float, at: tuple[float, float]) -> float:
    """E[E] by summing over every outcome of one block."""
    k_c, k_s = np.arange(n_c + 1)[:, None], np.arange(n_s + 1)[None, :]
    chance = binom.pmf(k_c, n_c, at[0]) * binom.pmf(k_s, n_s, at[1])
    return float((chance * np.exp(log_e(n_c, k_c, n_s, k_s, a, b, delta))).sum())


@given(st.integers(1, 6), st.integers(1, 12), RATE, RATE, st.floats(0.0, 0.3), RATE, RATE)
def test_no_mean_above_one_when_harmless(n_c: int, n_s: int, a: float, b: float, tolerance: float, s: float, f: float):
    worse = min(b + tolerance + a * (1 - b - tolerance), 0.999)
    if b + tolerance >= 0.98:
        return
    for candidate in (min(s + tolerance, 1.0), s * f):
        assert mean_e(n_c, n_s, worse, b, tolerance, (candidate, s)) <= 1 + 1e-7


@given(st.integers(1, 6), st.integers(1, 12), RATE, st.floats(0.01, 0.3), RATE, RATE)
def test_no_mean_above_one_past_the_margin(n_c: int, n_s: int, b: float, margin: float, s: float, f: float):
    for candidate in (s + margin, s + margin + f * (1 - s - margin)):
        if candidate <= 1:
            assert mean_e(n_c, n_s, 0.8 * b, b, margin, (candidate, s)) <= 1 + 1e-7


@given(st.integers(1, 9), st.integers(1, 99), RATE, RATE, st.floats(-0.05, 0.05))
def test_the_boundary_is_the_nearest_point(n_c: int, n_s: int, a: float, b: float, delta: float):
    def far(x: float) -> float:
        return -sum(n * (p * math.log(q) + (1 - p) * math.log1p(-q)) for n, p, q in ((n_c, a, x + delta), (n_s, b, x)))

    low, high = max(0, -delta) + 1e-9, 1 - max(0, delta) - 1e-9
    best = minimize_scalar(far, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
    assert far(float(boundary(n_c, n_s, a, b, delta))) <= best.fun + 1e-6


@given(st.integers(1, 20), st.integers(1, 200), st.integers(0, 19))
def test_more_errors_of_the_candidate_are_more_evidence(n_c: int, n_s: int, k: int):
    k = min(k, n_c - 1)
    assert log_e(n_c, k + 1, n_s, 1, 0.2, 0.01) > log_e(n_c, k, n_s, 1, 0.2, 0.01)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=6))
def test_ticks_of_the_same_split_merge(ticks: list[tuple[int, int]]):
    apart = sum(float(log_e(5, k_c, 95, k_s, 0.1, 0.01)) for k_c, k_s in ticks)
    k_c, k_s = (sum(side) for side in zip(*ticks, strict=True))
    assert apart == pytest.approx(float(log_e(5 * len(ticks), k_c, 95 * len(ticks), k_s, 0.1, 0.01)), abs=1e-9)


def test_one_side_alone_says_nothing():
    assert log_e(0, 0, 95, 3, 0.2, 0.01) == 0
    assert log_e(5, 5, 0, 0, 0.2, 0.01) == 0


def test_a_mixture_is_an_average():
    assert mixture(np.log([1.0, 3.0]), np.array([0.5, 0.5])) == pytest.approx(math.log(2))
    assert mixture(np.log([1.0, 3.0])) == pytest.approx(math.log(2))
    assert mixture(np.array([-np.inf, np.log(4)])) == pytest.approx(math.log(2))
    assert mixture(np.array([-np.inf, -np.inf])) == -np.inf


def test_the_interval_holds_at_all_times_together():
    rng, missed = np.random.default_rng(5), 0
    for _ in range(200):
        events = np.cumsum(rng.random(600) < 0.1)
        looks = (interval(int(events[n - 1]), n, 0.05) for n in range(20, 601, 20))
        missed += any(not low <= 0.1 <= high for low, high in looks)
    assert missed <= 10


def test_the_interval_without_data_is_everything():
    assert interval(0, 0, 0.01) == (0.0, 1.0)
    low, high = interval(0, 100, 0.01)
    assert low == 0
    assert 0.02 < high < 0.2


def until_alarm(rate: float, bound: float, windows: int, limit: float, seed: int, per_window: int = 1) -> int:
    chance, state = random.Random(seed), RateRise()
    for number in range(1, windows + 1):
        state = state.after(sum(chance.random() < rate for _ in range(per_window)), per_window, bound)
        if state.log_e >= math.log(limit):
            return number
    return windows + 1


@pytest.mark.slow
def test_false_alarms_come_no_sooner_than_promised_at_the_bound():
    first = [until_alarm(0.05, 0.05, 1000, 200, seed) for seed in range(150)]
    assert sum(first) / len(first) >= 200


def test_a_rise_is_found():
    assert max(until_alarm(0.5, 0.0144, 60, 3.15e6, seed) for seed in range(50)) <= 30
    assert max(until_alarm(0.3, 0.05, 60, 1000, seed, per_window=10) for seed in range(50)) <= 20


def test_windows_without_a_bad_one_may_be_taken_together():
    one = two = RateRise().after(1, 1, 0.01)
    for _ in range(7):
        one = one.after(0, 1, 0.01)
    two = two.after(0, 7, 0.01)
    assert one.after(1, 1, 0.01).logs == pytest.approx(two.after(1, 1, 0.01).logs)


@pytest.mark.parametrize("bound", [0.0, 1e-6, 0.5, 0.999, 1.0])
def test_every_bound_gives_finite_evidence(bound):
    state = RateRise().after(10**6, 10**6, bound)
    assert math.isfinite(state.after(0, 10**6, bound).log_e)


def wrong_beyond(truth: float, windows: int, seed: int, state: RateRise, run_length: float) -> tuple[RateRise, bool]:
    """Windows of 500 labelled rows that were estimated to be 90 % right, with 2 % to spare; whether there is an
    alarm."""
    chance = random.Random(seed)
    alarm = False
    for _ in range(windows):
        state = state.after(sum(chance.random() >= truth for _ in range(500)), 500, 0.12)
        alarm = alarm or state.log_e >= math.log(run_length)
    return state, alarm


def test_an_estimate_that_holds_is_no_alarm():
    assert not any(wrong_beyond(0.89, 100, seed, RateRise(), 100)[1] for seed in range(20))


def test_a_change_of_what_is_true_is_one():
    state, alarm = wrong_beyond(0.9, 20, 1, RateRise(), 2160)
    assert not alarm
    state, alarm = wrong_beyond(0.8, 3, 2, state, 2160)
    assert alarm
    assert msgspec.json.decode(msgspec.json.encode(state), type=RateRise) == state
