"""Work of a platform that is done again and again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from argosy.spec.errors import ArgosyError


async def repeat(
    work: Callable[[], Awaitable[None]], pause: Callable[[], float] | float, what: str, log: logging.Logger
) -> None:
    """Do `work`, then pause for so many seconds, until cancelled. A failure is logged, once while it stays the same,
    and the work is tried again after the pause."""
    logged = ""
    while True:
        trouble = ""
        try:
            await work()
        except ArgosyError as error:
            trouble = error.message
            if trouble != logged:
                log.warning("%s failed and is tried again: %s", what, trouble)
        except Exception:
            log.exception("%s failed and is tried again", what)
        logged = trouble
        await asyncio.sleep(pause if isinstance(pause, float | int) else pause())
