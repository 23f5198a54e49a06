"""Reading ahead: the same items, the same errors, no thread left behind."""

import threading
import time

import pytest

from argosy.batch.readahead import ReadAhead


def reading():
    return [thread for thread in threading.enumerate() if thread.name == "read ahead"]


def test_items_come_in_order_and_a_few_ahead():
    made = []

    def source():
        for number in range(10):
            made.append(number)
            yield number

    with ReadAhead(source(), depth=2) as items:
        assert next(items) == 0
        limit = time.monotonic() + 5
        while len(made) < 4 and time.monotonic() < limit:
            time.sleep(0.001)
        time.sleep(0.02)
        assert len(made) == 4  # one taken, two waiting, one in the hand of the thread
        assert list(items) == list(range(1, 10))
    assert not reading()


def test_an_error_comes_where_its_item_would_have_come():
    def source():
        yield 1
        raise ValueError("two")

    with ReadAhead(source()) as items:
        assert next(items) == 1
        with pytest.raises(ValueError, match="two"):
            next(items)
    assert not reading()


def test_who_leaves_early_leaves_no_thread():
    ended = threading.Event()

    def source():
        try:
            yield from range(10**9)
        finally:
            ended.set()

    with ReadAhead(source()) as items:
        next(items)
    assert not reading()
    assert ended.wait(5)
