import numpy as np
import pytest

from argosy_simulators.baselines.static import Static
from argosy_simulators.clairvoyant import clairvoyant
from argosy_simulators.score import score
from argosy_simulators.simulate import Setup, simulate
from argosy_simulators.trace import make


def test_a_lull_longer_than_a_cold_start_is_left_and_a_shorter_one_is_not() -> None:
    busy = np.arange(0, 100, 0.5)
    trace = make("lull", np.concatenate((busy, busy + 400)), np.ones(400))
    short, long = (
        clairvoyant(trace, Setup(cold_start=cold, concurrency=1), step=10, late=0.0).plan[15:35] for cold in (20, 400)
    )
    assert short.max() == 0
    assert long.min() >= 1


def test_the_bound_lies_between_the_work_and_the_best_fixed_number() -> None:
    random = np.random.default_rng(3)
    arrivals = np.sort(random.uniform(0, 1800, 4000))
    trace = make("uniform", arrivals, random.exponential(5.0, 4000))
    setup = Setup(concurrency=4)
    bound = clairvoyant(trace, setup, begin=600)
    fixed = [score(trace, simulate(trace, Static(n), Setup(concurrency=4, initial=n)), 600) for n in range(1, 8)]
    best = min(one.replica_hours for one in fixed if one.late <= 0.01)
    assert bound.work_hours < bound.replica_hours <= best * 1.001
    assert bound.late <= 0.01


def test_a_constant_load_needs_its_own_number_of_replicas() -> None:
    trace = make("even", np.arange(0, 3600, 0.25), np.full(14_400, 4.0))  # 16 slots, always
    bound = clairvoyant(trace, Setup(concurrency=8), begin=600, end=3000, step=60)
    assert bound.replica_hours == pytest.approx(2 * 2400 / 3600, rel=0.02)
    assert bound.work_hours == pytest.approx(2 * 2400 / 3600, rel=0.01)
