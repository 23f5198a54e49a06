"""Rows sent to an endpoint at an even pace, and a little later what was true of them, as a user's own system does."""

import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from argosy.client.client import Client
from argosy.spec.errors import ArgosyError
from argosy.spec.tensor import Array, tensor


class Stream:
    """A thread of its own sends `each` rows a request, `per_second` rows a second, and tells their labels `after` so
    many seconds. Nothing is sent before `use`. `answered` counts rows by the version that answered."""

    def __init__(self, client: Client, *, per_second: float, each: int, after: float) -> None:
        self._client = client
        self._each, self._pace, self._after = each, each / per_second, after
        self._rows: tuple[Array, Array] | None = None
        self._place = 0
        self._waiting: deque[tuple[float, str, Sequence[int]]] = deque()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-stream", daemon=True)
        self.answered: Counter[str] = Counter()
        self.told = 0
        self.failed: str = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()
        self._client.close()

    def use(self, inputs: Array, labels: Array) -> float:
        """Go on with these rows, from the first again after the last; when that was, in seconds since 1970."""
        self._place, self._rows = 0, (inputs, labels)
        return time.time()

    def _run(self) -> None:
        number, due = 0, time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._pace, time.monotonic() - 1.0)
            try:
                if self._rows is not None:
                    self._one(f"demo-{number}", *self._rows)
                    number += 1
                self._labels()
            except ArgosyError as error:
                self.failed = self.failed or error.message

    def _one(self, name: str, inputs: Array, labels: Array) -> None:
        if self._place + self._each > len(inputs):
            self._place = 0
        span = slice(self._place, self._place + self._each)
        self._place += self._each
        answer = self._client.infer(None, [tensor("x", inputs[span])], id=name)
        self.answered[answer.model_version or ""] += self._each
        self._waiting.append((time.monotonic() + self._after, name, labels[span].tolist()))

    def _labels(self) -> None:
        """Those that are due, a second's worth at once."""
        if not self._waiting or self._waiting[0][0] + 1.0 > time.monotonic():
            return
        found: list[dict[str, Any]] = []
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, name, labels = self._waiting.popleft()
            found += [{"request_id": name, "row": row, "label": label} for row, label in enumerate(labels)]
        answer = self._client.feedback(None, found)
        self.told += answer["taken"]
        if answer["refused"]:
            self.failed = self.failed or f"a label was refused: {answer['refused'][0]['reason']}"
