"""`/v1/endpoints/{name}/traffic` and `/v1/live`: requests, errors and latency over time, and at this moment."""

import asyncio
import time
from collections.abc import Mapping

import msgspec

from argosy.api.route import Route, Services
from argosy.serving.counts import edge
from argosy.spec.endpoint import check_name
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.store import traffic
from argosy.store.database import Database
from argosy.store.traffic import HOUR, MINUTE, RETENTION
from argosy.telemetry.rates import Rates

LONGEST_BY_MINUTES = 25 * HOUR
"""A time longer than this is reported by the hour."""
MOST = 2000


class Span(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last `since` seconds, in steps of `step` seconds: whole minutes, or whole hours from 25 hours on."""

    since: int = HOUR
    step: int = MINUTE

    def __post_init__(self) -> None:
        if not MINUTE <= self.since <= RETENTION[HOUR]:
            raise InvalidArgument(f"since must be {MINUTE} to {RETENTION[HOUR]} seconds, not {self.since}")
        if self.step < MINUTE or self.step % MINUTE or self.since / self.step > MOST:
            raise InvalidArgument(f"step must be a multiple of {MINUTE} s that gives at most {MOST} steps")


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """One step from `at` (seconds since 1970) on, and how many `seconds` of it are over: requests, errors among them,
    quantiles of the latency in ms to 5 %, and the most replicas that were ready. Steps in which nothing was measured
    are left out."""

    at: int
    seconds: int
    requests: int
    errors: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    replicas: int = 0


class ReplicaLoad(msgspec.Struct, frozen=True, kw_only=True):
    """A replica's load: processor time in cores, resident memory in bytes."""

    id: str
    endpoint: str
    cpu: float
    memory: int


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """The last measurement of everything: endpoint → its rates, and every replica's load."""

    endpoints: dict[str, Rates]
    replicas: tuple[ReplicaLoad, ...]


async def live(services: Services) -> Live:
    """The rates of the last few seconds; they are measured every 5 s."""
    view, meter = services.controller.view, services.meter
    loads = tuple(
        ReplicaLoad(id=each.id, endpoint=each.endpoint, cpu=used.cpu, memory=used.memory)
        for each in view.replicas
        if (used := meter.usage.get(each.id)) is not None
    )
    return Live(endpoints={name: meter.now(name) for name in view.endpoints}, replicas=loads)


async def get(services: Services, name: str, query: Span) -> list[Minute]:
    """All revisions of an endpoint together, oldest first."""
    if check_name(name) not in services.controller.view.endpoints:
        raise NotFound(f"there is no endpoint '{name}'")
    start = time.time() - query.since
    return await asyncio.to_thread(over_time, services.store.database, name, start, query.step)


def over_time(database: Database, endpoint: str, since: float, step: int) -> list[Minute]:
    """From `since` (seconds since 1970) to now in steps of at least so many seconds: by minutes, or by hours where the
    time is longer than 25 hours."""
    now = time.time()
    width = MINUTE if now - since <= LONGEST_BY_MINUTES + MINUTE else HOUR
    step = max(step // width, 1) * width
    rows = traffic.read(database, endpoint, since // step * step, width)
    return [
        Minute(
            at=each.at,
            seconds=max(MINUTE, min(step, int(now // MINUTE) * MINUTE - each.at)),
            requests=each.requests,
            errors=each.errors,
            p50=quantile(each.latency, 0.5),
            p95=quantile(each.latency, 0.95),
            p99=quantile(each.latency, 0.99),
            replicas=each.replicas,
        )
        for each in traffic.steps(rows, step)
    ]


def quantile(latency: Mapping[int, int], q: float) -> float | None:
    """The q-quantile of a histogram of buckets, in milliseconds; None where it is empty."""
    wanted, before = q * sum(latency.values()), 0
    for place, count in sorted(latency.items()):
        if count and before + count >= wanted:
            low, high = (edge(place - 1) if place else 0.0), edge(place)
            return 1000 * (low + (high - low) * (wanted - before) / count) if high < float("inf") else 1000 * low
        before += count
    return None


ROUTES = (
    Route("GET", "/v1/live", live, "Traffic and load now"),
    Route("GET", "/v1/endpoints/{name}/traffic", get, "Traffic over time"),
)
