"""Reading ahead: another thread takes from a source while this one works at what came before."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class _End:
    """After the last item, or in place of one that failed."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Ahead(Generic[T]):
    """An iterator whose items are made by a thread, at most `depth` of them before they are asked for.

    Used by `with`, so that the thread ends with it. An error of the source is raised where its item would have come.
    """

    def __init__(self, source: Iterator[T], depth: int = 3) -> None:
        self._source = source
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="read ahead", daemon=True)

    def _fill(self) -> None:
        end = _End(None)
        try:
            for item in self._source:
                self._put(item)
                if self._ended.is_set():
                    break
        except BaseException as error:
            end = _End(error)
        close: Callable[[], None] | None = getattr(self._source, "close", None)
        if close is not None:
            close()
        self._put(end)

    def _put(self, item: "T | _End") -> None:
        while not self._ended.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.5)
                return

    def __enter__(self) -> Iterator[T]:
        self._thread.start()
        return self._items()

    def _items(self) -> Iterator[T]:
        while True:
            item = self._queue.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        self._thread.join()
