"""The batch observer: engine calls that ended, for whoever counts or records them, off the path of requests."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from argosy.serving.job import Feeds, Job
from argosy.spec.tensor import Array

ENOUGH = 256
ENOUGH_BYTES = 4 * 1024 * 1024
"""Rows and bytes that are passed on at once; less is passed on once a second. So few that what they take stays in the
processor's cache, and that passing them on delays nobody for long."""
MOST_ROWS = 16_384
MOST_BYTES = 64 * 1024 * 1024
"""Rows and bytes that may wait; more are dropped, and counted."""
SECONDS = 1.0
SMALL = 4096
"""Arrays up to so many bytes are joined by their bytes: for a row or two numpy's own way costs twice as much."""


class EngineCall(NamedTuple):
    """One engine call that was answered: its jobs in order (`job.rows` rows each, `job.call` the request), its inputs
    and outputs along the same rows, and when it ended (ns since 1970)."""

    jobs: Sequence[Job]
    feeds: Feeds
    outputs: Sequence[Array]
    ended: int


Watcher = Callable[[Sequence[EngineCall]], None]
"""Gets engine calls in order, each once, on the event loop; must be quick and must not raise."""


class BatchObserver:
    """Queues engine calls until the watchers have got them. `put` may be called from any one thread."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._queue: deque[tuple[EngineCall, int, int]] = deque()
        self._put = [0, 0]
        self._taken = [0, 0]
        self._called = False
        self._timer = self._loop.call_later(SECONDS, self._tick)
        self.dropped = 0

    def put(self, jobs: Sequence[Job], rows: int, feeds: Feeds, outputs: Sequence[Array]) -> None:
        """Add one engine call of so many rows. Never waits."""
        size = 0
        for array in feeds.values():
            size += array.nbytes
        for array in outputs:
            size += array.nbytes
        queued = self._put[0] - self._taken[0] + rows
        if queued > MOST_ROWS or self._put[1] - self._taken[1] + size > MOST_BYTES:
            self.dropped += rows
            return
        self._put[0] += rows
        self._put[1] += size
        self._queue.append((EngineCall(jobs, feeds, outputs, time.time_ns()), rows, size))
        if not self._called and (queued >= ENOUGH or self._put[1] - self._taken[1] >= ENOUGH_BYTES):
            self._called = True
            call = self._loop.call_soon if threading.get_ident() == self._thread else self._loop.call_soon_threadsafe
            call(self.flush)

    def flush(self) -> None:
        """Pass all that waits to the watchers. On the event loop."""
        self._called = False
        calls: list[EngineCall] = []
        while self._queue:
            one, rows, size = self._queue.popleft()
            self._taken[0] += rows
            self._taken[1] += size
            calls.append(one)
        if calls:
            for watcher in self._watchers:
                watcher(calls)

    def close(self) -> None:
        """Pass on what waits, and end."""
        self._timer.cancel()
        self.flush()

    def _tick(self) -> None:
        self.flush()
        self._timer = self._loop.call_later(SECONDS, self._tick)


def joined(arrays: Sequence[Array]) -> Array:
    """Arrays of one dtype and inner shape, one after the other; not to be written to."""
    first = arrays[0]
    if len(arrays) == 1:
        return first
    if first.dtype == object or not 0 < first.nbytes <= SMALL:
        return np.concatenate(arrays)
    return np.frombuffer(b"".join([array.tobytes() for array in arrays]), first.dtype).reshape(-1, *first.shape[1:])
