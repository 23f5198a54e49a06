"""What is sent of a sampled request: the span `request`, in it `queue` and `batch`, in `batch` the engine's `run`."""

import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from argosy.serving.trail import Ran, Trail

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Link, SpanContext

SERVICE = "argosy-replica"
LINKS = 32
"""Other requests of its batch that a `batch` span links to."""


class Ended(NamedTuple):
    """A request that was answered. `start` and `end` by the process' clock; `offset` makes them ns since 1970."""

    trail: Trail
    model: str
    version: str
    request_id: str
    rows: int
    start: int
    end: int
    offset: int
    code: str


def spans(ended: Ended, about: Mapping[str, str]) -> Iterator["ReadableSpan"]:
    """The spans of one request, as the SDK holds them. `about` is of the replica."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.trace import SpanKind

    trail, offset = ended.trail, ended.offset
    resource = Resource({"service.name": SERVICE, **about})
    top = _context(trail, trail.id)
    parent = _context(trail, trail.parent, remote=True)
    failed = (trail.error or ended.code) if ended.code not in ("ok", "cancelled") else ""
    times = (ended.start + offset, ended.end + offset)
    yield _span("request", top, parent, times, failed, resource, attributes=_request(ended), kind=SpanKind.SERVER)
    for since, ran in trail.ran:
        batch = _context(trail, _fresh())
        yield _span("queue", _context(trail, _fresh()), top, (since + offset, ran.start + offset), "", resource)
        times = (ran.start + offset, ran.end + offset)
        more: dict[str, Any] = {"attributes": _batch(ran), "links": _links(trail, ran)}
        yield _span("batch", batch, top, times, ran.error, resource, **more)
        times = (ran.called + offset, ran.returned + offset)
        yield _span("run", _context(trail, _fresh()), batch, times, ran.error, resource)


def _span(
    name: str,
    context: "SpanContext",
    parent: "SpanContext",
    times: tuple[int, int],
    error: str,
    resource: "Resource",
    **more: Any,
) -> "ReadableSpan":
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Status, StatusCode

    return ReadableSpan(
        name,
        context,
        parent,
        resource,
        status=Status(StatusCode.ERROR, error) if error else Status(),
        start_time=times[0],
        end_time=times[1],
        instrumentation_scope=InstrumentationScope("argosy"),
        **more,
    )


def _request(ended: Ended) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "argosy.model": ended.model,
        "argosy.version": ended.version,
        "argosy.rows": ended.rows,
        "argosy.outcome": ended.code,
    }
    if ended.request_id:
        attributes["argosy.request_id"] = ended.request_id
    return attributes | ({} if ended.code == "ok" else {"error.type": ended.code})


def _batch(ran: Ran) -> dict[str, str | int]:
    return {
        "argosy.batch.rows": ran.rows,
        "argosy.batch.requests": ran.requests,
        "argosy.batch.reason": ran.reason,
    }


def _links(trail: Trail, ran: Ran) -> "list[Link]":
    """To the other sampled requests that shared the batch."""
    from opentelemetry.trace import Link

    others = [other for other in ran.trails if other is not trail][:LINKS]
    return [Link(_context(other, other.id)) for other in others]


def _fresh() -> str:
    return f"{random.getrandbits(64) or 1:016x}"


def _context(trail: Trail, id: str, remote: bool = False) -> "SpanContext":
    from opentelemetry.trace import SpanContext, TraceFlags, TraceState

    state = TraceState.from_header([trail.state]) if trail.state else None
    return SpanContext(int(trail.trace, 16), int(id, 16), remote, TraceFlags(TraceFlags.SAMPLED), state)
