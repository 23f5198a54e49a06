"""`control.log`: what the controller and the libraries in it have to say, bounded however often they say it."""

import logging
import logging.handlers
from collections.abc import Generator
from contextlib import contextmanager

from argosy.process.limit import LogLimit
from argosy.spec.settings import Home

LOG_BYTES = 16 * 1024 * 1024
WINDOW = 60.0
"""Seconds in which one message is written `ALIKE` times at most, and all of them `ALL` times."""
ALIKE = 20
ALL = 1000


@contextmanager
def written(home: Home) -> Generator[None]:
    """Write what is logged in this process to the home's `control.log`; nothing of it goes to standard error."""
    handler = logging.handlers.RotatingFileHandler(
        home.logs / "control.log", maxBytes=LOG_BYTES, backupCount=1, delay=True
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(LogLimit(ALL, WINDOW, alike=ALIKE))
    logging.getLogger().addHandler(handler)
    logging.getLogger("argosy").setLevel(logging.INFO)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
