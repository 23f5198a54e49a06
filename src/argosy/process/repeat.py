"""Work of a platform that is done again and again."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from argosy.spec.errors import ArgosyError


async def repeat(
    work: Callable[[], Awaitable[object]],
    pause: Callable[[], float] | float,
    what: str,
    log: logging.Logger,
    wake: asyncio.Event | None = None,
) -> None:
    """Do `work`, then pause for so many seconds, or until `wake` is set, until cancelled. A failure is logged, once
    while it stays the same, and the work is tried again after the pause."""
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
        seconds = pause if isinstance(pause, float | int) else pause()
        if wake is None:
            await asyncio.sleep(seconds)
            continue
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wake.wait()
        wake.clear()
