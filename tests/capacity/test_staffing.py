import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.capacity.staffing import late_share, slots_for, slots_soon


@given(st.floats(0.01, 2000), st.floats(1, 2), st.floats(0.001, 100), st.floats(0, 10), st.floats(1, 20))
def test_more_load_needs_more_slots(load: float, factor: float, service: float, wait: float, peaked: float) -> None:
    fewer = slots_for(load, service, wait, 0.01, peaked)
    assert fewer >= load
    assert late_share(load, fewer, service, wait, peaked) <= 0.01
    assert slots_for(load * factor, service, wait, 0.01, peaked) >= fewer * 0.997


def test_shares_at_the_ends() -> None:
    assert late_share(0, 0, 1, 1) == 0
    assert late_share(8, 8, 1, 1) == 1
    assert slots_for(0, 1, 1, 0.01) == 0


def test_close_to_erlang_c() -> None:
    # Erlang's C for 40 of 48 slots is 0.1435; the formula of Halfin and Whitt is within a few percent.
    assert late_share(40, 48, 1, 0) == pytest.approx(0.1435, rel=0.12)


@given(st.floats(0, 2000), st.floats(0, 2000), st.floats(0.001, 100), st.floats(0, 100), st.floats(0, 1))
def test_what_is_soon_grows_with_what_is_there(one: float, other: float, service: float, soon: float, late: float):
    fewer, more = (slots_soon(present, 20, service, soon, 2, late) for present in sorted((one, other)))
    assert 0 <= fewer <= more < math.inf


def test_what_is_soon_is_at_first_what_there_is_and_later_what_comes() -> None:
    assert slots_soon(30, 10, 5, 0, 0, 0.01) == 30
    assert slots_soon(30, 10, 5, 0, 5, 0.01) == 15  # the other 15 run once these are answered, after 5 s
    assert slots_soon(30, 10, 5, 1000, 0, 0.01) == pytest.approx(10 + 2.326 * math.sqrt(10), rel=1e-3)
