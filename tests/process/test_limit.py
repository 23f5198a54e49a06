"""What is said, and however often: a log stays small, and says what it left out."""

import logging

from hypothesis import given
from hypothesis import strategies as st

from argosy.process.limit import LogLimit


def record(message: str, *words: object) -> logging.LogRecord:
    return logging.LogRecord("argosy.x", logging.ERROR, "x.py", 1, message, words, None)


def test_what_is_said_again_and_again_is_left_out_and_counted():
    now = 0.0
    limit = LogLimit(1000, 60.0, alike=20, clock=lambda: now)
    assert sum(limit.filter(record("caller %d left", number)) for number in range(1000)) == 20
    assert limit.filter(record("something else"))
    now = 60.0
    assert limit.filter(last := record("caller %d left", 7))
    assert last.getMessage() == "caller 7 left (980 lines before it were left out)"
    assert limit.filter(after := record("caller %d left", 8))
    assert after.getMessage() == "caller 8 left"


def test_callers_cannot_fill_a_log_that_takes_what_is_alike():
    now, passed = 0.0, []
    limit = LogLimit(3, 1.0, clock=lambda: now)
    for second, count in ((1, 100), (2, 2), (3, 1)):
        now = float(second)
        for number in range(count):
            one = record("line %d", number)
            if limit.filter(one):
                passed.append(one.getMessage())
    assert passed == ["line 0", "line 1", "line 2", "line 0 (97 lines before it were left out)", "line 1", "line 0"]


def test_messages_that_are_all_different_are_bounded_and_not_remembered():
    limit = LogLimit(100, 60.0, alike=20, clock=lambda: 0.0)
    assert sum(limit.filter(record(f"caller {number} left")) for number in range(5000)) == 100
    assert len(limit._counts) <= 100


@given(
    st.integers(1, 9),
    st.integers(0, 9),
    st.lists(st.tuples(st.floats(0, 5), st.sampled_from("abc")), max_size=60),
)
def test_no_window_has_more_than_its_most_and_nothing_is_lost_uncounted(most: int, alike: int, said: list):
    now = 0.0
    limit = LogLimit(most, 10.0, alike=alike, clock=lambda: now)
    passed, told, since, counts = 0, 0, 0.0, []
    for pause, message in said:
        now += pause
        if now - since >= 10.0:
            since, counts = now, []
        if limit.filter(one := record(message)):
            passed += 1
            text = one.getMessage()
            told += int(text.partition("(")[2].split()[0]) if "(" in text else 0
            counts.append(text[0])
        assert len(counts) <= most
        assert all(counts.count(each) <= (alike or most) for each in counts)
    assert passed + told + limit._left_out == len(said)
