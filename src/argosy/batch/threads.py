"""Two threads with a queue of a few items between them: one that reads before this one needs it, or writes after it."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Abandoned(BaseException):
    """Raised in a thread, where its next item would have come: nobody wants the result. Not an error of anything."""


class _End:
    """After the last item, or in place of one that failed."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Pipe(Generic[T]):
    """At most `depth` items on their way between two threads. `queue.Queue`, which is written in Python, costs more."""

    def __init__(self, depth: int) -> None:
        self._items: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        self._slots: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(depth):
            self._slots.put(None)
        self.closed = False

    def put(self, item: T) -> bool:
        """Add an item; waits for a slot. False once the other end is closed."""
        self._slots.get()
        if self.closed:
            self._slots.put(None)
            return False
        self._items.put(item)
        return True

    def end(self, error: BaseException | None = None) -> None:
        """Mark the end of the items; `error` is raised there."""
        self._items.put(_End(error))

    def __iter__(self) -> Iterator[T]:
        while not isinstance(item := self._items.get(), _End):
            self._slots.put(None)
            yield item
        if item.error is not None:
            raise item.error

    def close(self) -> None:
        """Take no more items."""
        self.closed = True
        self._slots.put(None)


@contextmanager
def read_ahead(source: Iterator[T], depth: int = 3) -> Generator[Iterator[T]]:
    """The items of a source, at most `depth` of them made by a thread before they are asked for.

    The thread ends with the block. An error of the source is raised where its item would have come.
    """
    pipe = Pipe[T](depth)

    def fill() -> None:
        failure: BaseException | None = None
        try:
            for item in source:
                if not pipe.put(item):
                    break
        except BaseException as error:
            failure = error
        close: Callable[[], Any] | None = getattr(source, "close", None)
        if close is not None:
            close()
        pipe.end(failure)

    thread = threading.Thread(target=fill, name="read ahead", daemon=True)
    thread.start()
    try:
        yield iter(pipe)
    finally:
        pipe.close()
        thread.join()


class BackgroundThread(Generic[T, R]):
    """A thread at `work`, which is given an iterator of what is put; at most `depth` items wait.

    What it raises, `put` and `result` raise. `ended` is called by the thread at its end, with its result or its error.
    """

    def __init__(
        self, work: Callable[[Iterator[T]], R], depth: int, ended: Callable[[R | BaseException], None], name: str
    ) -> None:
        self._work, self._ended = work, ended
        self._pipe = Pipe[T](depth)
        self._outcome: R | BaseException
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome = self._work(iter(self._pipe))
        except BaseException as error:
            self._outcome = error
        self._pipe.close()
        self._ended(self._outcome)

    def put(self, item: T) -> None:
        """Add an item; waits while too many wait."""
        if not self._pipe.put(item):
            self.result()

    def end(self) -> None:
        """Add no more items."""
        self._pipe.end()
        if self._pipe.closed:
            self.result()

    def result(self) -> R:
        """Wait for the thread's end. Raises what it raised."""
        self._thread.join()
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome

    def abandon(self) -> None:
        """End the thread after the items that wait, unless it has had the last; waits for its end."""
        self._pipe.end(Abandoned())
        self._thread.join()
