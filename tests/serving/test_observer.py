"""The tap hands every engine call to the watchers once, never waits, and drops what it cannot hold."""

import asyncio
import math
from collections.abc import Sequence

import numpy as np
import pytest

from argosy.serving import observer
from argosy.serving.job import Job
from argosy.serving.observer import Ran, Tap


class Watcher:
    def __init__(self) -> None:
        self.seen: list[Ran] = []

    def look(self, ran: Sequence[Ran]) -> None:
        self.seen += ran


def job(rows: int) -> Job:
    return Job({"x": np.zeros((rows, 2), "f4")}, rows, (), lambda _: None, 0, 0, None)


async def test_a_full_batch_is_looked_at_at_once_and_the_rest_at_the_end() -> None:
    watcher = Watcher()
    one = Tap([watcher])
    first, second = job(observer.ENOUGH), job(1)
    one.put([first], first.rows, first.feeds, [np.zeros(observer.ENOUGH)], None)
    assert not watcher.seen
    await asyncio.sleep(0)
    assert [each.jobs for each in watcher.seen] == [[first]]
    one.put([second], 1, second.feeds, None, ValueError("no"))
    await asyncio.sleep(0)
    assert len(watcher.seen) == 1
    one.close()
    assert watcher.seen[1].outputs is None
    assert str(watcher.seen[1].error) == "no"


async def test_what_cannot_be_held_is_dropped_and_counted() -> None:
    watcher = Watcher()
    one = Tap([watcher])
    large = job(observer.MOST_ROWS)
    one.put([large], large.rows, large.feeds, [], None)
    one.put([job(5)], 5, {}, [], None)
    assert one.dropped == 5
    one.flush()
    one.put([job(5)], 5, {}, [], None)
    one.close()
    assert [sum(each.rows for each in seen.jobs) for seen in watcher.seen] == [observer.MOST_ROWS, 5]
    assert one.dropped == 5


async def test_bytes_are_bounded_too() -> None:
    one = Tap([Watcher()])
    one.put([job(1)], 1, {}, [np.zeros(observer.MOST_BYTES, "u1")], None)
    one.put([job(1)], 1, {}, [np.zeros(1, "u1")], None)
    assert one.dropped == 1
    one.close()


@pytest.mark.parametrize("inner", [(), (3,), (0,), (2, 4000)])
@pytest.mark.parametrize("dtype", ["f4", "i8", "O"])
def test_arrays_are_joined_as_numpy_would(inner: tuple[int, ...], dtype: str):
    arrays = [np.arange(n * math.prod(inner)).reshape(n, *inner).astype(dtype) for n in (1, 2, 1, 3)]
    for some in (arrays, arrays[:1], [array[:, ::-1] if inner else array for array in arrays]):
        whole = np.concatenate(some)
        found = observer.joined(some)
        assert (found.shape, found.dtype) == (whole.shape, whole.dtype)
        assert (found == whole).all()
