from hypothesis import given
from hypothesis import strategies as st

from argosy.client.session import ATTEMPTS, LONGEST_WAIT, parse_retry_after, wait_before

JITTER = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 20), st.none() | st.floats(0, 100), st.floats(-1, 100), JITTER)
def test_bounds(attempt, retry_after, left, jitter):
    wait = wait_before(attempt, retry_after, left, jitter)
    if wait is not None:
        assert attempt < ATTEMPTS
        assert 0 <= wait < left
        assert wait >= (retry_after or 0)
        assert wait <= 1.5 * LONGEST_WAIT


def test_backs_off():
    assert wait_before(1, None, 60, 0.5) < wait_before(2, None, 60, 0.5) < wait_before(3, None, 60, 0.5)
    assert wait_before(1, None, 60, 0) != wait_before(1, None, 60, 0.9)
    assert wait_before(1, 2.0, 60, 0) == 2.0
    assert wait_before(1, 2.0, 1, 0) is None
    assert wait_before(1, 11.0, 60, 0) is None
    assert wait_before(ATTEMPTS, None, 60, 0) is None


def test_parse():
    assert parse_retry_after("3") == 3.0
    for nonsense in (None, "", "soon", "-1", "nan", "inf", "Wed, 21 Oct 2026 07:28:00 GMT"):
        assert parse_retry_after(nonsense) is None
