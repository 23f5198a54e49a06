"""`/v1/endpoints/{name}/traffic`: requests, errors and latency over time."""

import asyncio
import time
from collections.abc import Mapping

import msgspec

from argosy.api.route import Call, Route
from argosy.serving.counts import edge
from argosy.spec.endpoint import check_name
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.store import traffic
from argosy.store.database import Database
from argosy.store.traffic import HOUR, KEPT, MINUTE

LONGEST_BY_MINUTES = 25 * HOUR
"""A time longer than this is told by the hour."""
MOST = 2000


class Span(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last `since` seconds, in steps of `step` seconds: whole minutes, or whole hours past 25 hours."""

    since: int = HOUR
    step: int = MINUTE

    def __post_init__(self) -> None:
        if not MINUTE <= self.since <= KEPT[HOUR]:
            raise InvalidArgument(f"since must be {MINUTE} to {KEPT[HOUR]} seconds, not {self.since}")
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


async def get(call: Call) -> list[Minute]:
    """All revisions of an endpoint together, oldest first."""
    name = check_name(call.path["name"])
    if name not in call.services.controller.view.endpoints:
        raise NotFound(f"there is no endpoint '{name}'")
    start = time.time() - call.query.since
    return await asyncio.to_thread(course, call.services.store.database, name, start, call.query.step)


def course(database: Database, endpoint: str, since: float, step: int) -> list[Minute]:
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
    Route(
        method="GET",
        path="/v1/endpoints/{name}/traffic",
        handler=get,
        summary="Traffic over time",
        query=Span,
        answer=list[Minute],
    ),
)
