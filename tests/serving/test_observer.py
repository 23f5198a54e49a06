"""The batch observer passes every engine call to the watchers once, never waits, and drops what is too much."""

import asyncio
import math
from collections.abc import Sequence

import numpy as np
import pytest

from argosy.serving import observer
from argosy.serving.job import Job
from argosy.serving.observer import BatchObserver, EngineCall


class Watcher:
    def __init__(self) -> None:
        self.calls: list[EngineCall] = []

    def __call__(self, calls: Sequence[EngineCall]) -> None:
        self.calls += calls


def job(rows: int) -> Job:
    return Job({"x": np.zeros((rows, 2), "f4")}, rows, (), lambda _: None, 0, 0, None)


async def test_a_full_batch_is_passed_on_at_once_and_the_rest_at_the_end() -> None:
    watcher = Watcher()
    one = BatchObserver([watcher])
    first, second = job(observer.ENOUGH), job(1)
    one.put([first], first.rows, first.feeds, [np.zeros(observer.ENOUGH)])
    assert not watcher.calls
    await asyncio.sleep(0)
    assert [each.jobs for each in watcher.calls] == [[first]]
    one.put([second], 1, second.feeds, [np.zeros(1)])
    await asyncio.sleep(0)
    assert len(watcher.calls) == 1
    one.close()
    assert watcher.calls[1].jobs == [second]


async def test_what_cannot_be_held_is_dropped_and_counted() -> None:
    watcher = Watcher()
    one = BatchObserver([watcher])
    large = job(observer.MOST_ROWS)
    one.put([large], large.rows, large.feeds, [])
    one.put([job(5)], 5, {}, [])
    assert one.dropped == 5
    one.flush()
    one.put([job(5)], 5, {}, [])
    one.close()
    assert [sum(each.rows for each in call.jobs) for call in watcher.calls] == [observer.MOST_ROWS, 5]
    assert one.dropped == 5


async def test_bytes_are_bounded_too() -> None:
    one = BatchObserver([Watcher()])
    one.put([job(1)], 1, {}, [np.zeros(observer.MOST_BYTES, "u1")])
    one.put([job(1)], 1, {}, [np.zeros(1, "u1")])
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
