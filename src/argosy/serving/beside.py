"""Work on large bodies, in threads beside the event loop, so that nobody else waits for it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argosy.spec.errors import Unavailable

THREADS = 2
MOST = 4
"""Bodies of the largest size that may wait or be worked on; past them, 503."""

R = TypeVar("R")


class Beside:
    """Threads for bodies of at most `limit` bytes. Its methods belong to the event loop."""

    def __init__(self, limit: int) -> None:
        self._most = MOST * limit
        self._held = 0
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="beside")

    def begin(self, size: int, work: Callable[[], R]) -> "asyncio.Future[R]":
        """Begin `work` on a body that came in `size` bytes. Raises Unavailable where too much waits."""
        if self._held + size > self._most:
            raise Unavailable("too many large requests are being read; try again", retry_after=1)
        self._held += size
        future = self.finish(work)
        future.add_done_callback(lambda _: self._free(size))
        return future

    def finish(self, work: Callable[[], R]) -> "asyncio.Future[R]":
        """Begin `work` on what was taken already: an answer."""
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Begin nothing new."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _free(self, size: int) -> None:
        self._held -= size
