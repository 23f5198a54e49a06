"""A thread that works behind another: its result, its errors, its end, and nothing that waits for ever."""

import threading

import pytest

from argosy.batch.background import Abandoned, BackgroundThread


def nothing(_behind):
    """For those who do not ask."""


def test_all_items_come_in_order_and_the_end_is_told():
    ended = []
    behind = BackgroundThread(list, 2, ended.append, "test")
    for item in range(100):
        behind.put(item)
    behind.end()
    assert behind.result() == list(range(100))
    assert ended == [behind]
    assert behind.outcome == list(range(100))


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

    failed = threading.Event()
    behind = BackgroundThread(fail, 1, lambda _: failed.set(), "test")
    behind.put(1)
    assert failed.wait(5)
    with pytest.raises(OSError, match="full"):
        give_many(behind)
    with pytest.raises(OSError, match="full"):
        behind.end()
    with pytest.raises(OSError, match="full"):
        behind.result()
    assert isinstance(behind.outcome, OSError)
    behind.abandon()


@pytest.mark.parametrize("waiting", [0, 1])
def test_one_that_is_abandoned_ends_at_its_next_item(waiting):
    cleaned = []

    def work(items):
        try:
            return list(items)
        except BaseException as error:
            cleaned.append(error)
            raise

    behind = BackgroundThread(work, 2, nothing, "test")
    for item in range(waiting):
        behind.put(item)
    behind.abandon()
    assert [type(error) for error in cleaned] == [Abandoned]
    assert isinstance(behind.outcome, Abandoned)
