"""Threads that work behind or read ahead: their results, errors and ends, and nothing that waits for ever."""

import threading
import time

import pytest

from argosy.batch.threads import Abandoned, BackgroundThread, read_ahead


def nothing(_outcome):
    """For those who do not ask."""


def test_all_items_come_in_order_and_the_end_is_told():
    ended = []
    behind = BackgroundThread(list, 2, ended.append, "test")
    for item in range(100):
        behind.put(item)
    behind.end()
    assert behind.result() == list(range(100))
    assert ended == [list(range(100))]


def test_who_puts_waits_for_who_takes():
    go = threading.Event()

    def slow(items):
        go.wait()
        return sum(1 for _ in items)

    behind = BackgroundThread(slow, 2, nothing, "test")
    behind.put(1)
    behind.put(2)
    threading.Timer(0.1, go.set).start()
    behind.put(3)
    assert go.is_set()
    behind.end()
    assert behind.result() == 3


def give_many(behind):
    """More than there is room for."""
    for item in range(10):
        behind.put(item)


def test_what_goes_wrong_is_raised_where_more_is_given_and_at_the_end():
    def fail(items):
        next(items)
        raise OSError("full")

    ended, failed = [], threading.Event()

    def note(outcome):
        ended.append(outcome)
        failed.set()

    behind = BackgroundThread(fail, 1, note, "test")
    behind.put(1)
    assert failed.wait(60)
    with pytest.raises(OSError, match="full"):
        give_many(behind)
    with pytest.raises(OSError, match="full"):
        behind.end()
    with pytest.raises(OSError, match="full"):
        behind.result()
    assert [type(outcome) for outcome in ended] == [OSError]
    behind.abandon()


@pytest.mark.parametrize("waiting", [0, 1, 2])
def test_one_that_is_abandoned_ends_after_what_waits(waiting):
    cleaned, ended = [], []

    def work(items):
        try:
            return list(items)
        except BaseException as error:
            cleaned.append(error)
            raise

    behind = BackgroundThread(work, 2, ended.append, "test")
    for item in range(waiting):
        behind.put(item)
    behind.abandon()
    assert [type(error) for error in cleaned] == [Abandoned]
    assert [type(outcome) for outcome in ended] == [Abandoned]


def reading():
    return [thread for thread in threading.enumerate() if thread.name == "read ahead"]


def test_items_come_in_order_and_a_few_ahead():
    made = []

    def source():
        for number in range(10):
            made.append(number)
            yield number

    with read_ahead(source(), depth=2) as items:
        assert next(items) == 0
        limit = time.monotonic() + 60
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

    with read_ahead(source()) as items:
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

    with read_ahead(source()) as items:
        next(items)
    assert not reading()
    assert ended.wait(60)
