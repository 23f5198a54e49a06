import math

from hypothesis import given
from hypothesis import strategies as st

from argosy.capacity.waiting import Look, begin, decide
from argosy.spec.scaling import WaitingRoom


def test_requests_are_held_until_a_slot_is_free_in_their_order() -> None:
    room = WaitingRoom(size=10, deadline=60)
    verdict, state = decide(Look(now=0, came=("a", "b", "c")), begin(), room)
    assert (verdict.serve, verdict.refuse) == ((), ())
    verdict, state = decide(Look(now=5, free=2), state, room)
    assert verdict.serve == ("a", "b")
    verdict, state = decide(Look(now=6, left=frozenset({"c"}), free=2), state, room)
    assert (verdict.serve, state.guests) == ((), ())


def test_a_full_room_refuses_the_latest_and_says_when_to_come_back() -> None:
    verdict, state = decide(Look(now=0, came=("a", "b"), ready_in=41.2), begin(), WaitingRoom(size=1))
    assert [one.request for one in verdict.refuse] == ["b"]
    assert verdict.refuse[0].retry_after == 42
    assert [one.request for one in state.guests] == ["a"]


def test_who_waited_too_long_is_refused() -> None:
    room = WaitingRoom(deadline=9)
    _, state = decide(Look(now=0, came=("a",)), begin(), room)
    verdict, state = decide(Look(now=8, came=("b",)), state, room)
    assert not verdict.refuse
    verdict, state = decide(Look(now=9), state, room)
    assert [(one.request, one.retry_after) for one in verdict.refuse] == [("a", 1)]


@given(st.sampled_from([1e9, -1e9, math.nan, math.inf]))
def test_a_clock_that_jumps_expels_nobody(jump: float) -> None:
    room = WaitingRoom(deadline=60)
    _, state = decide(Look(now=0, came=("a",)), begin(), room)
    verdict, state = decide(Look(now=jump), state, room)
    assert not verdict.refuse
    for step in range(14):
        verdict, state = decide(Look(now=jump + step * 5.0), state, room)
    assert math.isnan(jump) or math.isinf(jump) or [one.request for one in verdict.refuse] or not state.guests


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=30), st.integers(0, 8))
def test_everybody_is_served_or_refused_once_or_waits(steps: list[tuple[int, int]], size: int) -> None:
    room, state, number = WaitingRoom(size=size, deadline=12), begin(), 0
    gone: list[object] = []
    for at, (came, free) in enumerate(steps):
        requests = tuple(range(number, number + came))
        number += came
        verdict, state = decide(Look(now=at * 3.0, came=requests, free=free), state, room)
        assert len(verdict.serve) <= free
        gone += [*verdict.serve, *(one.request for one in verdict.refuse)]
        assert len(state.guests) <= size
    assert sorted([*gone, *(one.request for one in state.guests)], key=int) == list(range(number))  # pyright: ignore
