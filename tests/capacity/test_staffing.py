import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.capacity.staffing import late_share, slots_for


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
