"""What comes in now: rates of the gateway's counters and what the replicas use, read every few seconds.

The last quarter of an hour is held in memory; `history.py` writes the minutes.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec

from argosy.gateway.traffic import Bin, Traffic
from argosy.process.repeat import repeat
from argosy.spec.errors import ArgosyError
from argosy.spec.revision import ResourceUsage
from argosy.store import usage as tokens
from argosy.telemetry.counters import traffic_since, traffic_sum
from argosy.telemetry.feed import Feed, Key

LOG = logging.getLogger(__name__)

EVERY = 5.0
"""Seconds between two readings."""
RETAINED = 180
"""Readings in memory: 15 minutes."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What came between two readings, the later at `at` (seconds since 1970): requests and errors (5xx answers and
    failed gRPC calls) a second, quantiles of the latency in milliseconds, None without answers; `tokens` that language
    models have generated a second, in answers that have ended, None for other models."""

    at: float
    requests: float = 0.0
    errors: float = 0.0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    tokens: float | None = None


class Usage(ResourceUsage, frozen=True, kw_only=True):
    """What a replica uses: `cpu` in cores since the last reading, resident `memory` in bytes."""


class Meter:
    """The rates of the last quarter of an hour, and what replicas use now. `used` gives what each replica has used, by
    its id; `clock` seconds since 1970."""

    def __init__(
        self,
        feed: Feed,
        used: Callable[[], Awaitable[Mapping[str, ResourceUsage]]],
        *,
        tokens: Callable[[], Iterable[tokens.Usage]] = tuple,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tokens, self._generated = tokens, dict[str, int]()
        self.usage: dict[str, Usage] = {}
        self._feed, self._used, self._clock = feed, used, clock
        self._rates: dict[Key, deque[Rates]] = {}
        self._before: tuple[float, Mapping[Key, Traffic], Mapping[str, ResourceUsage]] | None = None

    async def run(self) -> None:
        """Read every few seconds, until cancelled. Where the gateway does not answer, a reading is left out."""
        await repeat(self.read, EVERY, "reading the traffic", LOG)

    async def read(self) -> None:
        """Read once. Raises what the gateway raises."""
        traffic = await self._feed.traffic()
        used = await self._used()
        generated, earlier = await self._read_tokens(), self._generated
        self._generated = generated
        now, before = self._clock(), self._before
        self._before = (now, traffic, used)
        if before is None or now <= before[0]:
            return
        seconds = now - before[0]
        cores = {name: max(0.0, each.cpu - before[2].get(name, each).cpu) / seconds for name, each in used.items()}
        self.usage = {name: Usage(cpu=cores[name], memory=each.memory, pid=each.pid) for name, each in used.items()}
        grown = {key: traffic_since(new, before[1].get(key, Traffic())) for key, new in traffic.items()}
        fresh = {key: rates(now, seconds, each) for key, each in grown.items()}
        for name in {endpoint for endpoint, _ in grown}:
            whole = traffic_sum(each for (endpoint, _), each in grown.items() if endpoint == name)
            fresh[name, ""] = rates(now, seconds, whole)
        for name in generated.keys() & {endpoint for endpoint, _ in grown}:
            each = max(0, generated[name] - earlier.get(name, generated[name])) / seconds
            fresh[name, ""] = msgspec.structs.replace(fresh[name, ""], tokens=each)
        self._rates = {key: self._rates.get(key, deque(maxlen=RETAINED)) for key in fresh}
        for key, each in fresh.items():
            self._rates[key].append(each)

    async def _read_tokens(self) -> dict[str, int]:
        """Endpoint → what its language models have generated so far."""
        found: dict[str, int] = {}
        try:
            for row in await asyncio.to_thread(self._tokens):
                found[row.endpoint] = found.get(row.endpoint, 0) + row.output
        except ArgosyError:
            return {}
        return found

    def recent(self, endpoint: str, revision: str = "") -> Sequence[Rates]:
        """The last quarter of an hour of a revision, or of the whole endpoint; oldest first."""
        return tuple(self._rates.get((endpoint, revision), ()))

    def now(self, endpoint: str, revision: str = "") -> Rates:
        found = self._rates.get((endpoint, revision))
        return found[-1] if found else Rates(at=0.0)


def rates(at: float, seconds: float, grown: Traffic) -> Rates:
    """What came in `seconds`, as rates."""
    p50, p95, p99 = (quantile(grown.latency, q) for q in (0.5, 0.95, 0.99))
    errors = grown.errors + grown.grpc_failures
    return Rates(at=at, requests=grown.completed / seconds, errors=errors / seconds, p50=p50, p95=p95, p99=p99)


def quantile(bins: Iterable[Bin], q: float) -> float | None:
    """The q-quantile of a histogram, interpolated within its bin; None where it is empty."""
    found = sorted(each for each in bins if each.count)
    wanted, below = q * sum(each.count for each in found), 0
    for each in found:
        if below + each.count >= wanted:
            return each.lower + each.width * (wanted - below) / each.count
        below += each.count
    return None
