"""Reading ahead: another thread takes from a source while this one works at what came before."""

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

from argosy.batch.pipe import Pipe

T = TypeVar("T")

TICK = 0.5


class _End:
    """After the last item, or in place of one that failed."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class ReadAhead(Generic[T]):
    """An iterator whose items are made by a thread, at most `depth` of them before they are asked for.

    Used by `with`, so that the thread ends with it. An error of the source is raised where its item would have come.
    """

    def __init__(self, source: Iterator[T], depth: int = 3) -> None:
        self._source = source
        self._pipe: Pipe[T | _End] = Pipe(depth)
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
        while not self._ended.is_set() and not self._pipe.put(item, TICK):
            pass

    def __enter__(self) -> Iterator[T]:
        self._thread.start()
        return self._items()

    def _items(self) -> Iterator[T]:
        while True:
            item = self._pipe.get(TICK)
            if item is None:
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        while self._pipe.get(0) is not None:
            pass
        self._thread.join()
