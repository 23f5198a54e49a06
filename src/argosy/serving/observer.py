"""The tap: engine calls that ended, for whoever watches, off the path of requests."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from argosy.serving.job import Feeds, Job
from argosy.spec.tensor import Array

ENOUGH = 256
ENOUGH_BYTES = 4 * 1024 * 1024
"""What is worth a look at once; less is looked at once a second. So few that what they hold stays in the processor's
cache, and that nobody waits long for a look."""
MOST_ROWS = 16_384
MOST_BYTES = 64 * 1024 * 1024
"""What may wait to be looked at; more is dropped, and counted."""
SECONDS = 1.0
SMALL = 4096
"""Arrays up to so many bytes are joined by their bytes: for a row or two numpy's own way costs twice as much."""


class Ran(NamedTuple):
    """One engine call: its jobs in order (`job.rows` rows each, `job.origin` the request), its inputs and outputs
    along the same rows, and when it ended (ns since 1970). `outputs` is None where the call failed with `error`."""

    jobs: Sequence[Job]
    feeds: Feeds
    outputs: Sequence[Array] | None
    error: Exception | None
    ended: int


class Watcher(Protocol):
    """Somebody who looks at what ran. Called on the event loop; it must be quick and must not raise."""

    def look(self, ran: Sequence[Ran]) -> None:
        """Look at engine calls, in order, each once."""
        ...


class Tap:
    """Holds engine calls until the watchers have looked. `put` may be called from any one thread."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = watchers
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._held: deque[tuple[Ran, int, int]] = deque()
        self._put = [0, 0]
        self._taken = [0, 0]
        self._called = False
        self._timer = self._loop.call_later(SECONDS, self._tick)
        self.dropped = 0

    def put(
        self, jobs: Sequence[Job], rows: int, feeds: Feeds, outputs: Sequence[Array] | None, error: Exception | None
    ) -> None:
        """Hand over one engine call of so many rows. Never waits."""
        size = 0
        for array in feeds.values():
            size += array.nbytes
        for array in outputs or ():
            size += array.nbytes
        held = self._put[0] - self._taken[0]
        if held + rows > MOST_ROWS or self._put[1] - self._taken[1] + size > MOST_BYTES:
            self.dropped += rows
            return
        self._put[0] += rows
        self._put[1] += size
        self._held.append((Ran(jobs, feeds, outputs, error, time.time_ns()), rows, size))
        enough = held + rows >= ENOUGH or self._put[1] - self._taken[1] >= ENOUGH_BYTES
        if enough and not self._called:
            self._called = True
            call = self._loop.call_soon if threading.get_ident() == self._thread else self._loop.call_soon_threadsafe
            call(self.flush)

    def flush(self) -> None:
        """Let the watchers look at all that is held. On the event loop."""
        self._called = False
        ran: list[Ran] = []
        while self._held:
            one, rows, size = self._held.popleft()
            self._taken[0] += rows
            self._taken[1] += size
            ran.append(one)
        if ran:
            for watcher in self._watchers:
                watcher.look(ran)

    def close(self) -> None:
        """A last look."""
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
