"""Bounds on what a process logs, whatever its callers or libraries make it say."""

import logging
import time
from collections import Counter
from collections.abc import Callable


class LogLimit(logging.Filter):
    """Passes at most `most` records in `window` seconds, and of them `alike` (0: all) that are alike: of one logger and
    level, and the same message without its arguments. The first record of the next window says how many were left
    out."""

    def __init__(
        self, most: int, window: float, *, alike: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._most, self._window, self._alike, self._clock = most, window, alike or most, clock
        self._since, self._passed, self._left_out = clock(), 0, 0
        self._counts: Counter[object] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        now, kind = self._clock(), (record.name, record.levelno, str(record.msg))
        if now - self._since >= self._window:
            self._since, self._passed = now, 0
            self._counts.clear()
            if self._left_out:
                record.msg = f"{record.getMessage()} ({self._left_out} lines before it were left out)"
                record.args, self._left_out = (), 0
        if self._passed >= self._most or self._counts[kind] >= self._alike:
            self._left_out += 1
            return False
        self._passed += 1
        self._counts[kind] += 1
        return True
