"""A queue of a few items between two threads, without the cost of `queue.Queue`, which is written in Python."""

import queue
from typing import Generic, TypeVar

T = TypeVar("T")


class Pipe(Generic[T]):
    """At most `depth` items are in it; for one thread at each end."""

    def __init__(self, depth: int) -> None:
        self._items: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(depth):
            self._room.put(None)

    def put(self, item: T, timeout: float) -> bool:
        """Put it in; False: there was no room for so many seconds."""
        try:
            self._room.get(timeout=timeout)
        except queue.Empty:
            return False
        self._items.put(item)
        return True

    def get(self, timeout: float) -> T | None:
        """Take the next; None: there was none for so many seconds."""
        try:
            item = self._items.get(timeout=timeout)
        except queue.Empty:
            return None
        self._room.put(None)
        return item
