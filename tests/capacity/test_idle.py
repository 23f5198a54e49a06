"""Deferred work in idle slots: what stays free, what is pushed out, and how much slower requests may become."""

from hypothesis import given
from hypothesis import strategies as st

from argosy.capacity.idle import IdleObservation, IdlePolicy, IdleState, decide, reserves, spare

POLICY = IdlePolicy()


def taught(steps: dict[int, float]) -> IdleState:
    """After enough samples of each occupancy."""
    state = IdleState()
    for occupancy, step in steps.items():
        for _ in range(POLICY.samples):
            seen = IdleObservation(slots=8, requests=0, work=0, occupancy=occupancy, step=step)
            _, state = decide(seen, state, POLICY)
    return state


@given(
    slots=st.integers(1, 64),
    requests=st.integers(0, 80),
    work=st.integers(0, 64),
    reserve=st.integers(0, 8),
    known=st.dictionaries(st.integers(1, 64), st.floats(0.001, 10.0), max_size=20),
)
def test_requests_never_wait_for_work_and_what_stays_free_is_free(
    slots: int, requests: int, work: int, reserve: int, known: dict[int, float]
):
    work = min(work, max(0, slots - min(requests, slots)) + 1)
    state = taught(known)
    seen = IdleObservation(slots=slots, requests=requests, work=work, reserve=reserve)
    decision, after = decide(seen, state, POLICY)
    assert after == state
    assert 0 <= decision.push <= work
    assert requests + work - decision.push <= slots or decision.push == work
    assert decision.work == 0 or requests + decision.work + reserve <= slots


def test_an_item_is_pushed_out_only_for_a_request_without_a_slot():
    seen = IdleObservation(slots=8, requests=5, work=3, reserve=2)
    decision, _ = decide(seen, IdleState(), POLICY)
    assert decision.push == 0
    assert decision.work <= 1
    decision, _ = decide(IdleObservation(slots=8, requests=6, work=3), IdleState(), POLICY)
    assert decision.push == 1


def test_work_goes_one_beyond_what_was_measured_and_not_where_it_is_too_slow():
    seen = IdleObservation(slots=8, requests=2, work=0)
    assert decide(seen, IdleState(), POLICY)[0].work == 1
    assert decide(seen, taught({2: 1.0, 3: 1.01}), POLICY)[0].work == 2
    assert decide(seen, taught({2: 1.0, 3: 1.01, 4: 1.04, 5: 1.06}), POLICY)[0].work == 2
    fast = taught(dict.fromkeys(range(1, 9), 1.0))
    assert decide(seen, fast, POLICY)[0].work == 6


def test_a_single_sample_moves_a_mean_of_many_little():
    state = taught({1: 1.0, 2: 1.0})
    seen = IdleObservation(slots=2, requests=1, work=1, occupancy=2, step=1.2)
    decision, state = decide(seen, state, POLICY)
    assert decision.work == 1
    for _ in range(50):
        decision, state = decide(seen, state, POLICY)
    assert decision.work == 0


@given(st.lists(st.integers(0, 12), min_size=1, max_size=20), st.integers(1, 10), st.floats(0.0, 1000.0))
def test_reserves_are_as_many_as_arrivals_exceed_rarely_as_far_as_there_are_slots(
    requests: list[int], slots: int, rate: float
):
    found = reserves(requests, slots, rate, POLICY)
    free = sum(max(0, slots - each) for each in requests)
    assert sum(found) == min(free, spare(rate * POLICY.regain, POLICY.late))
    assert all(kept == 0 or count + kept <= slots for kept, count in zip(found, requests, strict=True))


def test_the_spare_slots_of_a_poisson_number_of_arrivals():
    assert spare(0.0, 0.05) == 0
    assert spare(0.04, 0.05) == 0
    assert spare(1.0, 0.05) == 3  # P(N > 3) = 0.019, P(N > 2) = 0.080
    assert spare(100.0, 0.01) == 124
