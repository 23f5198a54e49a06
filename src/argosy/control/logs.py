"""`control.log`: what the controller and the libraries in it have to say, bounded however often they say it."""

import logging
import logging.handlers
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager

from argosy.spec.settings import Home

LOG_BYTES = 16 * 1024 * 1024
WINDOW = 60.0
"""Seconds in which one message is written `ALIKE` times at most, and all of them `ALL` times."""
ALIKE = 20
ALL = 1000


class Calm(logging.Filter):
    """Leaves out what has been said often enough, and says how much that was. A message is what it is without its
    arguments, so that no caller makes a new one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock, self._since, self._left_out = clock, clock(), 0
        self._said: Counter[object] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is written."""
        now = self._clock()
        if now - self._since >= WINDOW:
            self._since, left_out, self._left_out = now, self._left_out, 0
            self._said.clear()
            if left_out:
                record.msg, record.args = f"{record.getMessage()} ({left_out} messages before this were left out)", ()
        message = record.name, record.levelno, record.msg
        self._said[message] += 1
        if self._said[message] <= ALIKE and len(self._said) <= ALL:
            return True
        self._left_out += 1
        return False


@contextmanager
def written(home: Home) -> Generator[None]:
    """Write what is logged in this process to the home's `control.log`; nothing of it goes to standard error."""
    handler = logging.handlers.RotatingFileHandler(
        home.logs / "control.log", maxBytes=LOG_BYTES, backupCount=1, delay=True
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(Calm())
    logging.getLogger().addHandler(handler)
    logging.getLogger("argosy").setLevel(logging.INFO)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
