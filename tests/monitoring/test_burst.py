import math
import random

import pytest

from argosy.monitoring import burst
from argosy.monitoring.burst import Burst


def until_alarm(rate: float, bound: float, looks: int, limit: float, seed: int, per_look: int = 1) -> int:
    chance, state = random.Random(seed), Burst()
    for number in range(1, looks + 1):
        state = burst.look(state, sum(chance.random() < rate for _ in range(per_look)), per_look, bound)
        if burst.evidence(state) >= math.log(limit):
            return number
    return looks + 1


def test_false_alarms_come_no_sooner_than_promised_at_the_bound():
    first = [until_alarm(0.05, 0.05, 1000, 200, seed) for seed in range(150)]
    assert sum(first) / len(first) >= 200


def test_a_rise_is_found():
    assert max(until_alarm(0.5, 0.0144, 60, 3.15e6, seed) for seed in range(50)) <= 30
    assert max(until_alarm(0.3, 0.05, 60, 1000, seed, per_look=10) for seed in range(50)) <= 20


def test_looks_without_a_bad_one_may_be_taken_together():
    one = two = burst.look(Burst(), 1, 1, 0.01)
    for _ in range(7):
        one = burst.look(one, 0, 1, 0.01)
    two = burst.look(two, 0, 7, 0.01)
    assert burst.look(one, 1, 1, 0.01).logs == pytest.approx(burst.look(two, 1, 1, 0.01).logs)


@pytest.mark.parametrize("bound", [0.0, 1e-6, 0.5, 0.999, 1.0])
def test_every_bound_gives_finite_evidence(bound):
    state = burst.look(Burst(), 10**6, 10**6, bound)
    assert math.isfinite(burst.evidence(burst.look(state, 0, 10**6, bound)))
