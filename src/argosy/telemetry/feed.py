"""The counters of the gateway and of replicas, each read once for all who ask within a tick."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import msgspec

from argosy.gateway.admin import Admin
from argosy.gateway.traffic import Traffic
from argosy.serving.counts import ReplicaCounts, Work
from argosy.spec.errors import ArgosyError
from argosy.spec.revision import Replica
from argosy.telemetry.counters import ProcessCounts, add

LOG = logging.getLogger(__name__)

Key = tuple[str, str]
"""(endpoint, revision)"""
PATH = "/argosy/counts"
TIMEOUT, AT_ONCE = 2.0, 64
"""Seconds for replicas to answer; so many are asked at a time."""
FRESH = 0.5
"""Seconds for which a reading serves others who ask."""
_DECODER = msgspec.json.Decoder(dict[str, dict[str, ReplicaCounts]])


class Feed:
    """Reads `gateway` (what it raises, it raises) and replicas. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        gateway: Callable[[], Awaitable[Mapping[Key, Traffic]]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateway, self._clock = gateway, clock
        self._lock = asyncio.Lock()
        self._traffic: tuple[float, Mapping[Key, Traffic]] | None = None
        self._processes: dict[str, tuple[float, ProcessCounts | None]] = {}
        self._trouble = ""

    async def traffic(self) -> Mapping[Key, Traffic]:
        """What the gateway has counted, by endpoint and revision. Raises Unavailable, and logs it once."""
        async with self._lock:
            now = self._clock()
            if self._traffic is not None and 0 <= now - self._traffic[0] < FRESH:
                return self._traffic[1]
            try:
                found = await self._gateway()
            except ArgosyError as error:
                if error.message != self._trouble:
                    LOG.warning("the counters of the gateway cannot be read: %s", error.message)
                self._trouble = error.message
                raise
            self._traffic, self._trouble = (now, found), ""
            return found

    async def processes(self, replicas: Sequence[Replica]) -> dict[str, ProcessCounts | None]:
        """What the process of each replica has counted, by run; None where it does not answer in time."""
        now = self._clock()
        known = {run: each for run, each in self._processes.items() if 0 <= now - each[0] < FRESH}
        missing = [each for each in replicas if each.run not in known]
        known |= {each.run: (now, None) for each in missing}

        async def some(left: Iterator[Replica]) -> None:
            for each in left:
                known[each.run] = now, await read(each)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                left = iter(missing)
                await asyncio.gather(*(some(left) for _ in range(min(AT_ONCE, len(missing)))))
        self._processes = known
        return {each.run: known[each.run][1] for each in replicas}


async def read(replica: Replica) -> ProcessCounts | None:
    """What its process has counted; None where it does not answer in time."""
    try:
        models = _DECODER.decode(await Admin(replica.http, TIMEOUT).get(PATH))
    except (ArgosyError, OSError, ValueError):
        return None
    found = [each for versions in models.values() for each in versions.values()]
    work = Work(
        answered=sum(each.work.answered for each in found),
        engine=sum(each.work.engine for each in found),
        loop=max((each.work.loop for each in found), default=0.0),
        queued=sum(each.work.queued for each in found),
        slots=sum(each.work.slots for each in found),
    )
    return ProcessCounts(replica.started, add(found), work)
