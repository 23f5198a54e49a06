from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from argosy.serving.seats import Standing, gives_way


class Seat(NamedTuple):
    standing: Standing
    since: float


SEATS = st.lists(st.builds(Seat, st.sampled_from(Standing), st.floats(0, 1e6)), max_size=50)


@given(SEATS)
def test_a_request_under_way_is_never_ended(seats: list[Seat]):
    found = gives_way(seats)
    if found is None:
        assert all(seat.standing is Standing.BUSY for seat in seats)
        return
    assert found.standing is not Standing.BUSY
    assert found.standing == min(seat.standing for seat in seats)
    assert found.since == min(seat.since for seat in seats if seat.standing == found.standing)


@given(st.integers(1, 200), st.integers(2, 20))
def test_whoever_came_last_is_not_ended_before_all_who_hold_a_seat_with_nothing(rounds: int, most: int):
    """Half-open connections come again and again: a caller's own has as many rounds to send its head as there are
    seats."""
    seats = [Seat(Standing.UNNAMED, float(n)) for n in range(most)]
    caller = Seat(Standing.UNNAMED, float(most))
    for number in range(min(rounds, most - 1)):
        if len(seats) >= most:
            leaving = gives_way(seats)
            assert leaving is not None
            assert leaving is not caller
            seats.remove(leaving)
        seats.append(caller if number == 0 else Seat(Standing.UNNAMED, float(most + number)))
    assert caller in seats or most == 1
