"""What comes in now: the gateway's counters and what the replicas use, read every few seconds.

The last quarter of an hour is kept in memory; what is kept for longer is written elsewhere.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from argosy.gateway.traffic import Bin, Traffic
from argosy.spec.errors import ArgosyError
from argosy.spec.revision import ResourceUsage

LOG = logging.getLogger(__name__)

EVERY = 5.0
"""Seconds between two looks."""
KEPT = 180
"""Looks that are kept: 15 minutes."""

Stats = Callable[[], Awaitable[Mapping[tuple[str, str], Traffic]]]
Used = Callable[[], Awaitable[Mapping[str, ResourceUsage]]]
Key = tuple[str, str]
"""(endpoint, revision); the revision is empty for all of an endpoint."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What came between two looks, the later at `at` (seconds since 1970): requests and errors (5xx answers and failed
    gRPC calls) a second, quantiles of the latency in milliseconds, None without answers."""

    at: float
    requests: float = 0.0
    errors: float = 0.0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class Usage(ResourceUsage, frozen=True, kw_only=True):
    """What a replica uses: `cpu` in cores since the last reading, resident `memory` in bytes."""


class Meter:
    """The last readings. `used` gives what each replica has used, by its id; `clock` seconds since 1970."""

    def __init__(self, stats: Stats, used: Used, *, clock: Callable[[], float] = time.time) -> None:
        self.usage: dict[str, Usage] = {}
        self._stats, self._used, self._clock = stats, used, clock
        self._course: dict[Key, deque[Rates]] = {}
        self._before: tuple[float, Mapping[Key, Traffic], Mapping[str, ResourceUsage]] | None = None

    async def run(self) -> None:
        """Look and look again, until cancelled. Where the gateway does not tell, a look is left out."""
        while True:
            try:
                await self.look()
            except ArgosyError:
                pass
            except Exception:
                LOG.exception("a look at the traffic failed; the next one tries again")
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """One look. Raises what the gateway raises."""
        counts = await self._stats()
        used = await self._used()
        now, before = self._clock(), self._before
        self._before = (now, counts, used)
        if before is None or now <= before[0]:
            return
        seconds = now - before[0]
        cores = {name: max(0.0, each.cpu - before[2].get(name, each).cpu) / seconds for name, each in used.items()}
        self.usage = {name: Usage(cpu=cores[name], memory=each.memory, pid=each.pid) for name, each in used.items()}
        self._note(now, seconds, counts, before[1])

    def _note(self, now: float, seconds: float, counts: Mapping[Key, Traffic], before: Mapping[Key, Traffic]) -> None:
        by_endpoint: dict[str, list[tuple[Traffic, Traffic]]] = {}
        fresh: dict[Key, Rates] = {}
        for key, new in counts.items():
            old = before.get(key, Traffic())
            fresh[key] = rates(now, seconds, [(old, new)])
            by_endpoint.setdefault(key[0], []).append((old, new))
        for endpoint, pairs in by_endpoint.items():
            fresh[endpoint, ""] = rates(now, seconds, pairs)
        self._course = {key: self._course.get(key, deque(maxlen=KEPT)) for key in fresh}
        for key, each in fresh.items():
            self._course[key].append(each)

    def course(self, endpoint: str, revision: str = "") -> Sequence[Rates]:
        """The last quarter of an hour, oldest first."""
        return tuple(self._course.get((endpoint, revision), ()))

    def now(self, endpoint: str, revision: str = "") -> Rates:
        """The last look."""
        course = self._course.get((endpoint, revision))
        return course[-1] if course else Rates(at=0.0)


def rates(at: float, seconds: float, pairs: Sequence[tuple[Traffic, Traffic]]) -> Rates:
    """What came between two looks, `seconds` apart, at one or several revisions.

    Counters that fell tell nothing: a gateway that began anew cannot be told from one that let go of a cluster.
    """
    requests = errors = 0
    bins: dict[Bin, int] = {}
    for old, new in pairs:
        if new.completed < old.completed:
            continue
        requests += new.completed - old.completed
        errors += max(0, new.errors + new.grpc_failures - old.errors - old.grpc_failures)
        had = {(each.lower, each.width): each.count for each in old.latency}
        for each in new.latency:
            place = Bin(each.lower, each.width, 0)
            bins[place] = bins.get(place, 0) + max(0, each.count - had.get((each.lower, each.width), 0))
    p50, p95, p99 = (quantile(bins, q) for q in (0.5, 0.95, 0.99))
    return Rates(at=at, requests=requests / seconds, errors=errors / seconds, p50=p50, p95=p95, p99=p99)


def quantile(bins: Mapping[Bin, int], q: float) -> float | None:
    """The q-quantile of a histogram, interpolated within its bin; None where it is empty."""
    wanted, came = q * sum(bins.values()), 0
    for place, count in sorted(bins.items()):
        if count and came + count >= wanted:
            return place.lower + place.width * (wanted - came) / count
        came += count
    return None
