import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from argosy.capacity.autoscale import Autoscale, ScalerState
from argosy.capacity.policy import Decision, Observation
from argosy.spec.scaling import Scaling
from tests.capacity.looks import look

floats = st.one_of(st.floats(0, 1e6), st.sampled_from([math.nan, math.inf, -math.inf, -5.0, 1e300]))
looks = st.builds(
    Observation,
    now=floats,
    arrivals=st.integers(-3, 10_000),
    in_flight=st.integers(0, 5_000),
    queue=st.integers(0, 50_000),
    service_time=floats,
    concurrency=st.integers(1, 64),
    cold_start=floats,
    ready=st.integers(0, 60),
    starting=st.integers(0, 60),
)


def steady(policy: Autoscale, rate: float, seconds: float, **changes: Any) -> tuple[list[Decision], ScalerState, int]:
    """Decisions under a constant rate with replicas that are ready at once; the state; replicas in the end."""
    state, replicas, decisions = policy.begin(), int(changes.pop("ready", 1)), []
    steps = round(seconds / policy.interval)
    for step in range(steps):
        service = changes.get("service_time", 1.0)
        arrivals = round(rate * policy.interval * (step + 1)) - round(rate * policy.interval * step)
        seen = look(
            now=step * policy.interval, arrivals=arrivals, in_flight=round(rate * service), ready=replicas, **changes
        )
        decision, state = policy.decide(seen, state)
        replicas += decision.start - decision.stop
        decisions.append(decision)
    return decisions, state, replicas


@given(st.lists(looks, max_size=30), st.integers(0, 5), st.integers(1, 40))
def test_any_sequence_of_looks_keeps_the_bounds_and_spares_what_is_loading(
    seen: list[Observation], low: int, more: int
) -> None:
    policy = Autoscale(Scaling(min=low, max=low + more))
    state = policy.begin()
    for one in seen:
        decision, state = policy.decide(one, state)
        assert decision.cancel == 0
        assert decision.start >= 0
        assert 0 <= decision.stop <= one.ready
        assert not (decision.start and decision.stop)
        assert decision.reason
        after = one.total + decision.start - decision.stop
        assert after <= max(low + more, one.total)
        assert after >= min(low, one.total + decision.start)
        if decision.start:
            assert low <= after <= low + more
        if decision.stop and one.ready <= low + more:
            assert one.ready - decision.stop >= low


@given(st.integers(1, 400), st.integers(0, 5_000), st.integers(1, 8))
def test_what_is_starting_counts_so_that_a_second_look_starts_nothing(in_flight: int, queue: int, ready: int) -> None:
    policy = Autoscale(Scaling(max=1000))
    first = look(in_flight=in_flight, queue=queue, ready=ready, arrivals=in_flight)
    decision, state = policy.decide(first, policy.begin())
    again, _ = policy.decide(
        look(in_flight=in_flight, queue=queue, ready=ready, starting=decision.start, now=0.0), state
    )
    assert again.start == 0


@given(st.floats(0.5, 60), st.floats(1, 3), st.sampled_from([0.01, 0.5, 4.0, 20.0]))
def test_more_load_never_needs_fewer_replicas(rate: float, factor: float, service: float) -> None:
    policy = Autoscale(Scaling(max=1000), thrift=0)
    fewer, more = (steady(policy, one, 200, service_time=service)[2] for one in (rate, rate * factor))
    assert fewer <= more


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_a_longer_queue_never_needs_fewer_replicas(one: int, other: int) -> None:
    policy = Autoscale(Scaling(max=1000))
    _, state, _ = steady(policy, 10, 100)
    starts = [
        policy.decide(look(now=100, arrivals=50, in_flight=8, queue=queue), state)[0].start
        for queue in sorted((one, other))
    ]
    assert starts == sorted(starts)


@given(st.sampled_from([-1e9, -60.0, -5.0, 3600.0, 1e12, math.nan]))
def test_a_clock_that_jumps_changes_nothing_and_is_forgotten(jump: float) -> None:
    policy = Autoscale(Scaling(max=100))
    _, state, replicas = steady(policy, 20, 600)
    seen = look(now=600 + jump, arrivals=100, in_flight=20, ready=replicas)
    decision, after = policy.decide(seen, state)
    assert (decision.start, decision.stop) == (0, 0)
    assert (after.load.means, after.low_for, after.quiet) == (state.load.means, state.low_for, state.quiet)
    if not math.isnan(jump):
        decision, _ = policy.decide(look(now=605 + jump, arrivals=100, in_flight=20, ready=replicas), after)
        assert (decision.start, decision.stop) == (0, 0)


def test_a_steady_load_is_served_with_as_many_as_square_root_staffing_says() -> None:
    _, _, replicas = steady(Autoscale(Scaling(max=100, confidence=0.5), thrift=0), 40, 900)
    assert replicas == 6  # 40 slots are busy; 90 % of 48 are 43, and with 48 free at rate 8/s nobody waits 2 s


def test_down_only_after_patience_and_only_of_the_ready() -> None:
    policy = Autoscale(Scaling(max=100, patience=50))
    decisions, _, replicas = steady(policy, 5, 200, ready=9)
    stops = [number * policy.interval for number, one in enumerate(decisions) if one.stop]
    assert replicas == 1
    assert stops == [50.0]
    decisions, _, _ = steady(policy, 5, 200, ready=1, starting=8)
    assert not any(one.stop or one.start or one.cancel for one in decisions)


def test_a_step_of_ten_times_is_answered_within_seconds_not_windows() -> None:
    policy = Autoscale(Scaling(max=100), interval=1.0)
    _, state, replicas = steady(policy, 40, 300, service_time=0.1)
    assert replicas == 1
    for second in range(1, 6):
        seen = look(now=299.0 + second, arrivals=400, in_flight=8, queue=320 * second, service_time=0.1, ready=1)
        decision, state = policy.decide(seen, state)
        if decision.start:
            break
    assert second <= 3
    assert decision.start >= 4


def test_to_zero_after_the_grace_and_back_at_once() -> None:
    policy = Autoscale(Scaling(min=0, max=4, idle=30, patience=1000))
    state, decision, now = policy.begin(), Decision(), 0.0
    while not decision.stop:
        decision, state = policy.decide(look(now=now, ready=2), state)
        now += 5
    assert (now - 5, decision.stop) == (30, 2)
    for _ in range(100):
        decision, state = policy.decide(look(now=now, ready=0), state)
        assert decision.start == 0
        now += 5
    decision, state = policy.decide(look(now=now, ready=0, arrivals=1, queue=1), state)
    assert decision.start == 1
    assert "first request after zero" in decision.reason
    decision, _ = policy.decide(look(now=now + 5, ready=0, starting=1, queue=1), state)
    assert decision.start == 0


def test_lateness_makes_careful_and_its_absence_thrifty() -> None:
    scaling = Scaling(max=100)
    _, thrifty, _ = steady(Autoscale(scaling), 5, 900, service_time=6.8)
    assert (
        Autoscale(scaling).decide(look(now=900, arrivals=25, in_flight=34, ready=5, service_time=6.8), thrifty)[0].start
        == 0
    )
    late = ScalerState(load=thrifty.load, age=thrifty.age, late=thrifty.served * 0.2, served=thrifty.served)
    assert (
        Autoscale(scaling).decide(look(now=900, arrivals=25, in_flight=34, ready=5, service_time=6.8), late)[0].start
        > 0
    )


def test_a_queue_calls_for_one_replica_at_a_time_where_the_next_is_soon_there() -> None:
    policy = Autoscale(Scaling(max=100))
    _, state, _ = steady(policy, 5, 900, service_time=6.8, cold_start=3.0)
    crowded = look(now=900, arrivals=25, in_flight=40, queue=8, ready=5, service_time=6.8, cold_start=3.0)
    assert policy.decide(crowded, state)[0].start == 1
