"""Keeps the platform's own tasks going, which end only by a bug; replaces a gateway that hangs; rotates logs."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import GatewayConfig
from argosy.spec.settings import Home
from argosy.targets import log
from argosy.targets.backoff import Backoff, BackoffPolicy, Ended, after

LOG = logging.getLogger(__name__)

ACCESS_LOG_BYTES = 64 * 1024 * 1024
HOUSEKEEPING = 5.0
"""Seconds between two times that logs are bounded."""
PERIOD = 5.0
"""Seconds between two questions to the gateway."""
MISSES = 3
POLICY = BackoffPolicy(first=0.2, cap=60.0, healthy=60.0)


class Supervisor:
    """Runs tasks for ever. `restarts`: by name, how often each had to be begun again."""

    def __init__(self, policy: BackoffPolicy = POLICY) -> None:
        self.restarts: Counter[str] = Counter()
        self._policy = policy

    def begin(self, name: str, work: Callable[[], Awaitable[object]]) -> asyncio.Task[None]:
        """Begin `work`, and again whenever it ends, with growing pauses, until the task is cancelled."""
        self.restarts[name] += 0
        return asyncio.create_task(self._keep(name, work), name=name)

    async def _keep(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        clock, state, last = asyncio.get_running_loop().time, Backoff(), ""
        while True:
            began, error = clock(), None
            try:
                await work()
            except Exception as found:
                error = found
            reason = f"{type(error).__name__}: {error}" if error else "it returned"
            known, last = reason == last, reason
            LOG.error("the task '%s' has ended, and begins again: %s", name, reason, exc_info=None if known else error)
            self.restarts[name] += 1
            ended = Ended(now=clock(), status=None, healthy=clock() - began, reason=reason)
            pause, state = after(ended, state, self._policy)
            await asyncio.sleep(pause)


def rotate_logs(home: Home, config: GatewayConfig) -> None:
    """Bound every log of the home that others write: each process appends to its own. The access log is bounded by the
    gateway."""
    access, own = Path(config.access_log_path), home.logs / "control.log"
    for path in {*home.logs.glob("*.log"), Path(config.log_path)} - {access, own}:
        log.rotate(path)


async def watch_gateway(
    gateway: Gateway, killed: Callable[[], None], period: float = PERIOD, misses: int = MISSES
) -> None:
    """Kill a gateway that runs and did not answer `misses` times in a row, for ever. One that is gone is the
    controller's concern."""
    missed = 0
    while True:
        await asyncio.sleep(period)
        missed = 0 if not gateway.process.alive() or await gateway.alive() else missed + 1
        if missed >= misses:
            LOG.error("the gateway has not answered %d times in a row; it is replaced", missed)
            await gateway.process.kill()
            missed = 0
            killed()
