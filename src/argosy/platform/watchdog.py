"""A gateway that runs but answers nothing is as bad as none: it is killed, and the controller starts another."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

LOG = logging.getLogger(__name__)

PERIOD = 5.0
MISSES = 3


class Watched(Protocol):
    """What the watchdog needs of a gateway."""

    async def alive(self) -> bool:
        """Whether its administration answers."""
        ...

    async def kill(self) -> None:
        """End it now."""
        ...


async def watch(gateway: Watched, killed: Callable[[], None], period: float = PERIOD, misses: int = MISSES) -> None:
    """Look every `period` seconds, for ever; after `misses` looks in a row without an answer, kill it."""
    missed = 0
    while True:
        await asyncio.sleep(period)
        missed = 0 if await gateway.alive() else missed + 1
        if missed >= misses:
            LOG.error("the gateway has not answered %d times in a row; it is replaced", missed)
            await gateway.kill()
            missed = 0
            killed()
