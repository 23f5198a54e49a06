"""Who may stay: whatever comes, newcomers are let in, and nobody at work goes for them."""

from collections import Counter
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from argosy.serving.eviction import Limits, Phase, Standing, admit, gives_way, overdue, party, shared

LIMITS = Limits(total=8, each=4)
crowds = st.lists(
    st.builds(Standing, st.sampled_from("abc"), st.sampled_from(Phase), st.integers(0, 20).map(float)), max_size=12
)


def of(text: str, phase: Phase = Phase.HEAD) -> list[Standing]:
    return [Standing(each, phase, float(number)) for number, each in enumerate(text)]


def test_a_party_that_has_its_share_gives_way_itself():
    crowd = [*of("bbb"), *of("aaaa")]
    assert admit(crowd, "a", LIMITS).ended == 3, "the oldest of its own, though others are as old"
    assert admit(of("aaa"), "a", LIMITS).ended is None


def test_unfinished_heads_go_first_and_those_at_work_never():
    crowd = [
        Standing("a", phase, float(9 - phase)) for phase in sorted(Phase, reverse=True) if phase is not Phase.UNREAD
    ]
    assert crowd[admit(crowd, "a", LIMITS).ended or 0].phase is Phase.HEAD
    order = [Phase.BODY, Phase.IDLE, Phase.UNREAD, Phase.BUSY]
    assert admit([Standing("a", each, 0.0) for each in order], "a", LIMITS).ended == 1
    assert not admit(of("aaaa", Phase.BUSY), "a", LIMITS).admitted
    assert admit(of("aaaa", Phase.BUSY), "b", LIMITS).admitted


def test_where_all_places_are_taken_whoever_holds_the_most_gives_way():
    crowd = [*of("bcd"), *of("aaaa"), Standing("b", Phase.HEAD, 0.0)]
    assert crowd[admit(crowd, "e", LIMITS).ended or 0].party == "a"


@given(crowds, st.sampled_from("abcd"))
def test_a_newcomer_is_refused_only_where_all_that_could_go_for_it_are_at_work(crowd: list[Standing], whose: str):
    verdict = admit(crowd, whose, LIMITS)
    held = Counter(each.party for each in crowd)
    if verdict.ended is not None:
        gone = crowd[verdict.ended]
        assert gone.phase is not Phase.BUSY
        assert not [
            each for each in crowd if each.party == gone.party and (each.phase, each.since) < (gone.phase, gone.since)
        ]
        assert gone.party == whose if held[whose] >= LIMITS.each else len(crowd) >= LIMITS.total
    if not verdict.admitted:
        full = [each for each in crowd if each.party == whose] if held[whose] >= LIMITS.each else crowd
        assert all(each.phase is Phase.BUSY for each in full)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(Phase)), max_size=60))
def test_nobody_ever_holds_more_than_may_be(comers: list[tuple[str, Phase]]):
    crowd: list[Standing] = []
    for number, (whose, phase) in enumerate(comers):
        verdict = admit(crowd, whose, LIMITS)
        if verdict.ended is not None:
            del crowd[verdict.ended]
        if verdict.admitted:
            crowd.append(Standing(whose, phase, float(number)))
        assert len(crowd) <= LIMITS.total
        assert max(Counter(each.party for each in crowd).values(), default=0) <= LIMITS.each


def test_each_phase_has_its_time_but_for_work():
    at = {phase: LIMITS.seconds(phase) for phase in Phase}
    crowd = [Standing("a", phase, 0.0) for phase in Phase]
    assert overdue(crowd, max(LIMITS.head, 0) + 0.1, LIMITS) == [Phase.HEAD]
    assert overdue(crowd, 1e9, LIMITS) == [phase for phase in Phase if at[phase] < float("inf")] == list(Phase)[:-1]


def test_one_machine_is_one_party_whatever_its_address():
    assert party("2001:db8:1:2::7") == party("2001:db8:1:2:ffff::1") != party("2001:db8:1:3::7")
    assert party("::ffff:10.0.0.1") == party("10.0.0.1") == "10.0.0.1"
    assert party("fe80::1%eth0") == "fe80::/64"
    assert party("") == ""


@given(st.integers(0, 1 << 20))
def test_files_are_left_for_the_work_of_the_process(files: int):
    found = shared(Limits(), files)
    assert 1 <= found.each <= found.total <= 128
    assert found.total == 8 or found.total <= (files - 128) / 2


class Seat(NamedTuple):
    phase: Phase
    since: float


SEATS = st.lists(st.builds(Seat, st.sampled_from(Phase), st.floats(0, 1e6)), max_size=50)


@given(SEATS)
def test_a_request_under_way_is_never_ended(seats: list[Seat]):
    found = gives_way(seats)
    if found is None:
        assert all(seat.phase is Phase.BUSY for seat in seats)
        return
    assert found.phase is not Phase.BUSY
    assert found.phase == min(seat.phase for seat in seats)
    assert found.since == min(seat.since for seat in seats if seat.phase == found.phase)


@given(st.integers(1, 200), st.integers(2, 20))
def test_whoever_came_last_is_not_ended_before_all_who_hold_a_seat_with_nothing(rounds: int, most: int):
    """Half-open connections come again and again: a caller's own has as many rounds to send its head as there are
    seats."""
    seats = [Seat(Phase.HEAD, float(n)) for n in range(most)]
    caller = Seat(Phase.HEAD, float(most))
    for number in range(min(rounds, most - 1)):
        if len(seats) >= most:
            leaving = gives_way(seats)
            assert leaving is not None
            assert leaving is not caller
            seats.remove(leaving)
        seats.append(caller if number == 0 else Seat(Phase.HEAD, float(most + number)))
    assert caller in seats or most == 1
