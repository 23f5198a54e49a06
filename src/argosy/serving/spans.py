"""What is sent of a sampled request: the span `request`, in it `queue` and `batch`, in `batch` the engine's `run`."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from argosy.serving.trace import Ran, Trail

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

SERVICE = "argosy-replica"
SAMPLED, HAS_REMOTE, IS_REMOTE = 1, 256, 512
"""Flags of a span: W3C's, and whether its parent is known to be elsewhere."""
MOST_TEXT = 1000
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


def message(some: Sequence[Ended], about: Mapping[str, str]) -> bytes:
    """An `ExportTraceServiceRequest` with all spans of some requests. `about` is of the replica."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    export = ExportTraceServiceRequest()
    resource = export.resource_spans.add()
    resource.resource.attributes.extend(_pairs({"service.name": SERVICE, **about}))
    scope = resource.scope_spans.add()
    scope.scope.name = "argosy"
    for each in some:
        scope.spans.extend(spans(each))
    return export.SerializeToString()


def spans(ended: Ended) -> Iterator["Span"]:
    """The spans of one request."""
    trail, offset = ended.trail, ended.offset
    top, parent = bytes.fromhex(trail.id), bytes.fromhex(trail.parent)
    failed = (trail.error or ended.code) if ended.code not in ("ok", "cancelled") else ""
    times = (ended.start + offset, ended.end + offset)
    yield _span(trail, "request", top, parent, times, failed, _request(ended), remote=True)
    for since, ran in trail.ran:
        batch = random.randbytes(8)
        yield _span(trail, "queue", random.randbytes(8), top, (since + offset, ran.start + offset))
        span = _span(trail, "batch", batch, top, (ran.start + offset, ran.end + offset), ran.error, _batch(ran))
        for other in [other for other in ran.trails if other is not trail][:LINKS]:
            span.links.add(trace_id=bytes.fromhex(other.trace), span_id=bytes.fromhex(other.id), flags=SAMPLED)
        yield span
        times = (ran.called + offset, ran.returned + offset)
        yield _span(trail, "run", random.randbytes(8), batch, times, ran.error)


def _span(
    trail: Trail,
    name: str,
    id: bytes,
    parent: bytes,
    times: tuple[int, int],
    error: str = "",
    attributes: Mapping[str, str | int] | None = None,
    remote: bool = False,
) -> "Span":
    from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

    span = Span(
        name=name,
        trace_id=bytes.fromhex(trail.trace),
        span_id=id,
        parent_span_id=parent,
        trace_state=trail.state,
        flags=SAMPLED | HAS_REMOTE | (IS_REMOTE if remote else 0),
        kind=Span.SPAN_KIND_SERVER if remote else Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=times[0],
        end_time_unix_nano=times[1],
        attributes=_pairs(attributes or {}),
    )
    if error:
        text = error[:MOST_TEXT].encode("utf-8", "replace").decode()
        span.status.code, span.status.message = Status.STATUS_CODE_ERROR, text
    return span


def _pairs(attributes: Mapping[str, str | int]) -> "list[KeyValue]":
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

    def told(value: str | int) -> Any:
        return AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)

    return [KeyValue(key=name, value=told(value)) for name, value in attributes.items()]


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
