"""Who may stay: whatever comes, newcomers are let in, and nobody at work goes for them."""

from collections import Counter
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from argosy.serving.eviction import ConnectionLimits, ConnectionState, Phase, admit, overdue, peer_of, shared, to_evict

LIMITS = ConnectionLimits(total=8, each=4)
connection_lists = st.lists(
    st.builds(ConnectionState, st.sampled_from("abc"), st.sampled_from(Phase), st.integers(0, 20).map(float)),
    max_size=12,
)


def of(text: str, phase: Phase = Phase.HEAD) -> list[ConnectionState]:
    return [ConnectionState(each, phase, float(number)) for number, each in enumerate(text)]


def test_a_party_that_has_its_share_gives_way_itself():
    connections = [*of("bbb"), *of("aaaa")]
    assert admit(connections, "a", LIMITS).ended == 3, "the oldest of its own, though others are as old"
    assert admit(of("aaa"), "a", LIMITS).ended is None


def test_unfinished_heads_go_first_and_those_at_work_never():
    connections = [
        ConnectionState("a", phase, float(9 - phase))
        for phase in sorted(Phase, reverse=True)
        if phase is not Phase.UNREAD
    ]
    assert connections[admit(connections, "a", LIMITS).ended or 0].phase is Phase.HEAD
    order = [Phase.BODY, Phase.IDLE, Phase.UNREAD, Phase.BUSY]
    assert admit([ConnectionState("a", each, 0.0) for each in order], "a", LIMITS).ended == 1
    assert not admit(of("aaaa", Phase.BUSY), "a", LIMITS).admitted
    assert admit(of("aaaa", Phase.BUSY), "b", LIMITS).admitted


def test_where_all_places_are_taken_whoever_holds_the_most_gives_way():
    connections = [*of("bcd"), *of("aaaa"), ConnectionState("b", Phase.HEAD, 0.0)]
    assert connections[admit(connections, "e", LIMITS).ended or 0].peer == "a"


@given(connection_lists, st.sampled_from("abcd"))
def test_a_newcomer_is_refused_only_where_all_that_could_go_for_it_are_at_work(
    connections: list[ConnectionState], whose: str
):
    verdict = admit(connections, whose, LIMITS)
    held = Counter(each.peer for each in connections)
    if verdict.ended is not None:
        gone = connections[verdict.ended]
        assert gone.phase is not Phase.BUSY
        assert not [
            each
            for each in connections
            if each.peer == gone.peer and (each.phase, each.since) < (gone.phase, gone.since)
        ]
        assert gone.peer == whose if held[whose] >= LIMITS.each else len(connections) >= LIMITS.total
    if not verdict.admitted:
        full = [each for each in connections if each.peer == whose] if held[whose] >= LIMITS.each else connections
        assert all(each.phase is Phase.BUSY for each in full)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(Phase)), max_size=60))
def test_nobody_ever_holds_more_than_may_be(comers: list[tuple[str, Phase]]):
    connections: list[ConnectionState] = []
    for number, (whose, phase) in enumerate(comers):
        verdict = admit(connections, whose, LIMITS)
        if verdict.ended is not None:
            del connections[verdict.ended]
        if verdict.admitted:
            connections.append(ConnectionState(whose, phase, float(number)))
        assert len(connections) <= LIMITS.total
        assert max(Counter(each.peer for each in connections).values(), default=0) <= LIMITS.each


def test_each_phase_has_its_time_but_for_work():
    at = {phase: LIMITS.seconds(phase) for phase in Phase}
    connections = [ConnectionState("a", phase, 0.0) for phase in Phase]
    assert overdue(connections, max(LIMITS.head, 0) + 0.1, LIMITS) == [Phase.HEAD]
    assert (
        overdue(connections, 1e9, LIMITS) == [phase for phase in Phase if at[phase] < float("inf")] == list(Phase)[:-1]
    )


def test_one_machine_is_one_party_whatever_its_address():
    assert peer_of("2001:db8:1:2::7") == peer_of("2001:db8:1:2:ffff::1") != peer_of("2001:db8:1:3::7")
    assert peer_of("::ffff:10.0.0.1") == peer_of("10.0.0.1") == "10.0.0.1"
    assert peer_of("fe80::1%eth0") == "fe80::/64"
    assert peer_of("") == ""


@given(st.integers(0, 1 << 20))
def test_files_are_left_for_the_work_of_the_process(files: int):
    found = shared(ConnectionLimits(), files)
    assert 1 <= found.each <= found.total <= 128
    assert found.total == 8 or found.total <= (files - 128) / 2


class Seat(NamedTuple):
    phase: Phase
    since: float


SEATS = st.lists(st.builds(Seat, st.sampled_from(Phase), st.floats(0, 1e6)), max_size=50)


@given(SEATS)
def test_a_request_under_way_is_never_ended(seats: list[Seat]):
    found = to_evict(seats)
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
            leaving = to_evict(seats)
            assert leaving is not None
            assert leaving is not caller
            seats.remove(leaving)
        seats.append(caller if number == 0 else Seat(Phase.HEAD, float(most + number)))
    assert caller in seats or most == 1
