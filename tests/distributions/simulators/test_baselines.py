from typing import Any

import pytest

from argosy.capacity.policy import Decision, Policy
from argosy_simulators.baselines.hpa import HPA
from argosy_simulators.baselines.kpa import KPA
from argosy_simulators.baselines.ray import RayServe
from argosy_simulators.baselines.static import Static
from tests.capacity.looks import look


def after(
    policy: Policy[Any], seconds: float, state: Any = None, start: float = 0.0, **seen: Any
) -> tuple[Decision, Any]:
    """The last decision of so many seconds of the same look, and the state; earlier decisions are not carried out."""
    state = policy.begin() if state is None else state
    decision = Decision()
    for step in range(round(seconds / policy.interval) + 1):
        decision, state = policy.decide(look(now=start + step * policy.interval, **seen), state)
    return decision, state


def acted(policy: Policy[Any], seconds: float, **seen: Any) -> list[tuple[float, Decision]]:
    """Every decision that is not to hold, with its time in tenths of a second, while nothing is carried out."""
    state, found = policy.begin(), list[tuple[float, Decision]]()
    for step in range(round(seconds / policy.interval) + 1):
        decision, state = policy.decide(look(now=step * policy.interval, **seen), state)
        if decision.start or decision.stop or decision.cancel:
            found.append((round(step * policy.interval, 1), decision))
    return found


def test_kpa_divides_the_mean_by_70_percent_of_the_slots() -> None:
    decision, _ = after(KPA(), 60, in_flight=15, ready=2)  # 15 / 5.6 = 2.7
    assert decision.start == 1
    decision, _ = after(KPA(), 60, in_flight=10, ready=2)  # 10 / 5.6 = 1.8
    assert (decision.start, decision.stop) == (0, 0)


def test_kpa_goes_down_by_half_at_most() -> None:
    decision, _ = after(KPA(), 60, in_flight=0, ready=9)
    assert decision.stop == 5  # to floor(9 / 2)


def test_kpa_panics_at_twice_the_ready_and_never_falls_until_a_window_later() -> None:
    policy = KPA()
    _, state = after(policy, 60, in_flight=8, ready=2)
    decision, state = after(policy, 4, state, 62, in_flight=8, queue=40, ready=2)  # 48 / 5.6 = 8.6
    assert decision.start == 7
    assert "panic" in decision.reason
    decision, state = after(policy, 50, state, 68, in_flight=1, ready=9)
    assert decision.stop == 0
    decision, _ = after(policy, 30, state, 120, in_flight=1, ready=9)
    assert decision.stop > 0


def test_kpa_does_not_count_what_is_starting_and_gives_up_what_loads() -> None:
    decision, _ = after(KPA(), 60, in_flight=8, queue=100, ready=1, starting=3)
    assert decision.start == 16  # ceil(108 / 5.6) = 20, less the 4 there are
    decision, _ = after(KPA(), 120, in_flight=1, ready=1, starting=3)
    assert (decision.cancel, decision.stop) == (3, 0)


def test_kpa_goes_to_zero_after_window_and_grace_and_comes_back() -> None:
    decision, state = after(KPA(min=0), 28, ready=1)
    assert decision.stop == 0
    decision, state = after(KPA(min=0), 2, state, 30, ready=1)
    assert decision.stop == 1
    decision, _ = after(KPA(min=0), 0, state, 34, queue=1, ready=0)
    assert decision.start == 1


@pytest.mark.parametrize(
    ("ongoing", "replicas", "start"),
    [
        (11, 2, 0),  # 11 / 11.2: within 10 %
        (12, 2, 0),
        (13, 2, 1),  # 13 / 5.6 = 2.3
        (100, 2, 4),  # 18 wanted, +4 replicas allowed
        (1000, 10, 10),  # +100 % allowed
    ],
)
def test_hpa_up(ongoing: int, replicas: int, start: int) -> None:
    assert HPA().decide(look(in_flight=ongoing, ready=replicas), HPA().begin())[0].start == start


def test_hpa_down_only_below_the_maximum_of_300_s() -> None:
    _, state = HPA().decide(look(in_flight=56, ready=10), HPA().begin())
    decision, state = after(HPA(), 270, state, 15, in_flight=6, ready=10)
    assert decision.stop == 0
    decision, _ = after(HPA(), 15, state, 300, in_flight=6, ready=10)
    assert decision.stop == 8  # ceil(6 / 5.6) = 2


def test_ray_acts_after_its_delays_on_what_was_pushed() -> None:
    policy = RayServe(target=2)
    (at, up), *_ = acted(policy, 50, in_flight=9, ready=2)  # pushed at 10 s, 30 s of delay; ceil(9 / 2) = 5
    assert (at, up.start) == (pytest.approx(40, abs=0.11), 3)
    (at, down), *_ = acted(policy, 620, in_flight=1, ready=3)
    assert (at, down.stop) == (pytest.approx(610, abs=0.11), 2)
    assert acted(policy, 620, in_flight=4, ready=2) == []


def test_ray_means_30_s() -> None:
    policy, state = RayServe(target=2, up_delay=0), RayServe().begin()
    for step in range(301):
        decision, state = policy.decide(look(now=step / 10, in_flight=12 if step < 100 else 0, ready=1), state)
    assert state.pushed == pytest.approx((12, 0, 0), abs=0.13)
    assert decision.start == 1  # ceil((12 + 0 + 0) / 3 / 2) = 2


def test_ray_from_zero_at_once_and_to_zero_through_one() -> None:
    policy = RayServe(min=0)
    assert policy.decide(look(ready=0, queue=1), policy.begin())[0].start == 1
    assert policy.decide(look(ready=0), policy.begin())[0].start == 0
    assert [one.stop for _, one in acted(policy, 620, ready=3)] == [2]
    assert [one.stop for _, one in acted(policy, 620, ready=1)] == [1]


def test_static_holds_its_number() -> None:
    assert Static(4).decide(look(ready=1, starting=1), None)[0].start == 2
    assert Static(4).decide(look(ready=5, starting=1), None)[0].cancel == 1
