"""Working behind: another thread takes what this one puts, and makes something of it while this one goes on."""

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from argosy.batch.pipe import Pipe

T = TypeVar("T")
R = TypeVar("R")

TICK = 0.5


class Abandoned(BaseException):
    """Raised in the thread, where its next item would have come: nobody wants the result. Not an error of anything."""


class _End:
    """After the last item."""


class BackgroundThread(Generic[T, R]):
    """A thread at `work`, which is given an iterator of what is put; at most `depth` items wait.

    What it raises, `put` and `result` raise. `ended` is called by the thread when it is at its end, whatever that was.
    """

    def __init__(
        self, work: Callable[[Iterator[T]], R], depth: int, ended: "Callable[[BackgroundThread[T, R]], None]", name: str
    ) -> None:
        self._work, self._ended = work, ended
        self._pipe: Pipe[T | _End] = Pipe(depth)
        self._unwanted = threading.Event()
        self._result: list[R] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result.append(self._work(self._items()))
        except BaseException as error:
            self._error = error
        self._ended(self)

    def _items(self) -> Iterator[T]:
        while True:
            item = self._pipe.get(TICK)
            if self._unwanted.is_set():
                raise Abandoned
            if isinstance(item, _End):
                return
            if item is not None:
                yield item

    def put(self, item: T) -> None:
        """Give one more; waits while too many wait."""
        self._put(item)

    def end(self) -> None:
        """That was the last."""
        self._put(_End())

    def _put(self, item: "T | _End") -> None:
        while self._thread.is_alive():
            if self._pipe.put(item, TICK):
                return
        self._raise()

    def result(self) -> R:
        """Wait for the thread's end. Raises what it raised."""
        self._thread.join()
        self._raise()
        return self._result[0]

    @property
    def outcome(self) -> R | BaseException:
        """Once it has ended: its result, or what it raised."""
        return self._result[0] if self._error is None else self._error

    def abandon(self) -> None:
        """End the thread at its next item, unless it has had the last; waits for its end."""
        self._unwanted.set()
        self._pipe.put(_End(), 0)
        self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
