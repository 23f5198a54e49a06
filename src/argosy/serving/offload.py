"""Large bodies: worked on in threads off the event loop, so that nobody else waits, and bounded together."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argosy.spec.errors import Unavailable
from argosy.spec.tensor import Tensor, nbytes

THREADS = 2
MOST = 4
"""Times the largest body: what large requests may take together, as they came and as arrays."""
OBJECT = 56
"""Bytes of an element of a BYTES tensor beside its text."""

R = TypeVar("R")


class Reservation:
    """What one request takes of the bytes that all large requests share, until it is released."""

    __slots__ = ("_offload", "size")

    def __init__(self, offload: "Offload") -> None:
        self._offload = offload
        self.size = 0

    def more(self, size: int) -> None:
        """Take so many bytes more. Raises Unavailable beyond the bound; a request alone is always let in."""
        reserved = self._offload.reserved
        if reserved > self.size and reserved + size > self._offload.most:
            raise Unavailable("too many large requests are under way; try again", retry_after=1)
        self.size += size
        self._offload.reserved += size

    def release(self) -> None:
        """Give all back; may be called again."""
        self._offload.reserved -= self.size
        self.size = 0

    def done(self, call: object) -> None:
        """`release`, as gRPC calls it at the end of a call."""
        self.release()


class Offload:
    """Threads, and the bytes that requests of bodies of at most `limit` bytes share. Belongs to the event loop."""

    def __init__(self, limit: int) -> None:
        self.most, self.reserved = MOST * limit, 0
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="offload")

    def reserve(self, size: int) -> Reservation:
        """Reserve the bytes of a body. Raises Unavailable."""
        reservation = Reservation(self)
        reservation.more(size)
        return reservation

    def run(self, work: Callable[[], R]) -> "asyncio.Future[R]":
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def size_of(tensors: Sequence[Tensor]) -> int:
    found = 0
    for tensor in tensors:
        found += nbytes(tensor.array) + (OBJECT * tensor.array.size if tensor.array.dtype == object else 0)
    return found
