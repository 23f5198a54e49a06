"""Sends the spans of sampled requests to a collector, from a thread of its own: `request`, in it `queue` and `batch`,
in `batch` the engine's `run`. Spans that the collector does not take in time are dropped, and counted."""

import http.client
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from argosy.engines.base import require
from argosy.serving.trace import TraceContext
from argosy.spec.tracing import Tracing

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

log = logging.getLogger("argosy.serving")

MOST = 2048
"""Requests that may wait to be sent."""
AT_ONCE = 256
GATHER_SECONDS = 1.0
EXPORT_SECONDS = 5.0
CLOSE_SECONDS = 2.0
MOST_ANSWER = 64 * 1024
SAMPLED, HAS_REMOTE, IS_REMOTE = 1, 256, 512
"""Flags of a span: W3C's, and whether its parent is known to be elsewhere."""
MOST_TEXT = 1000
LINKS = 32
"""Other requests of its batch that a `batch` span links to."""
_HEADERS = {"content-type": "application/x-protobuf", "user-agent": "argosy"}

_clock = time.perf_counter_ns


class Sender:
    """Sends to one URL with these headers. `seconds` bound every wait for the collector."""

    def __init__(self, url: str, headers: Mapping[str, str], seconds: float) -> None:
        parts = urlsplit(url)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {**_HEADERS, **headers}
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=seconds)

    def send(self, body: bytes) -> bool:
        """Whether the collector took it. A connection that it had closed meanwhile is opened again, once."""
        for fresh in (self._connection.sock is None, True):
            try:
                self._connection.request("POST", self._path, body, self._headers)
                answer = self._connection.getresponse()
                answer.read(MOST_ANSWER)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if fresh or not isinstance(error, BrokenPipeError | ConnectionResetError):
                    return False
                continue
            if not answer.isclosed():
                self.close()
            return 200 <= answer.status < 300
        return False

    def close(self) -> None:
        self._connection.close()


class EndedRequest(NamedTuple):
    """A request that was answered. `start` and `end` by the process' clock; `offset` makes them ns since 1970."""

    context: TraceContext
    model: str
    version: str
    request_id: str
    rows: int
    start: int
    end: int
    offset: int
    code: str


class Tracer:
    """One replica's. `about` are attributes of all its spans. Raises MissingExtra, InvalidArgument."""

    def __init__(self, tracing: Tracing, about: Mapping[str, str]) -> None:
        require("opentelemetry.proto.collector.trace.v1.trace_service_pb2", "tracing", "sending traces")
        self.sent = self.dropped = 0
        self._url, self._headers = tracing.target, tracing.secrets(os.environ)
        self._about = about
        self._ended: deque[EndedRequest] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._failing = False
        self._thread = threading.Thread(target=self._work, name="tracer", daemon=True)
        self._thread.start()

    def end(self, context: TraceContext, model: str, version: str, id: str, rows: int, start: int, code: str) -> None:
        """A request is over, by the code of its outcome. Never waits."""
        if len(self._ended) >= MOST:
            self.dropped += 1
            return
        now = _clock()
        self._ended.append(EndedRequest(context, model, version, id, rows, start, now, time.time_ns() - now, code))
        if len(self._ended) >= AT_ONCE:
            self._wake.set()

    def close(self) -> None:
        """Send what waits, for at most two seconds. Blocks."""
        self._closing = True
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)

    def _work(self) -> None:
        sender = Sender(self._url, self._headers, EXPORT_SECONDS)
        while not self._closing or self._ended:
            self._wake.wait(GATHER_SECONDS)
            self._wake.clear()
            while self._ended:
                self._export(sender, [self._ended.popleft() for _ in range(min(AT_ONCE, len(self._ended)))])
        sender.close()

    def _export(self, sender: Sender, requests: Sequence[EndedRequest]) -> None:
        try:
            good = sender.send(message(requests, self._about))
        except Exception:
            log.exception("traces are not sent because of a bug")
            good = False
        if good:
            self.sent += len(requests)
        else:
            self.dropped += len(requests)
        if good and self._failing:
            log.info("the collector of traces at %s takes them again", self._url)
        elif not good and not self._failing:
            log.warning("the collector of traces at %s takes nothing; they are dropped", self._url)
        self._failing = not good


def message(requests: Sequence[EndedRequest], about: Mapping[str, str]) -> bytes:
    """An `ExportTraceServiceRequest` with all spans of some requests. `about` is of the replica."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    export = ExportTraceServiceRequest()
    resource = export.resource_spans.add()
    resource.resource.attributes.extend(_attributes({"service.name": "argosy-replica", **about}))
    scope = resource.scope_spans.add()
    scope.scope.name = "argosy"
    for each in requests:
        scope.spans.extend(spans(each))
    return export.SerializeToString()


def spans(ended: EndedRequest) -> Iterator["Span"]:
    context, offset = ended.context, ended.offset
    top, parent = bytes.fromhex(context.id), bytes.fromhex(context.parent)
    failed = (context.error or ended.code) if ended.code not in ("ok", "cancelled") else ""
    about: dict[str, str | int] = {
        "argosy.model": ended.model,
        "argosy.version": ended.version,
        "argosy.rows": ended.rows,
        "argosy.outcome": ended.code,
    }
    if ended.request_id:
        about["argosy.request_id"] = ended.request_id
    if ended.code != "ok":
        about["error.type"] = ended.code
    times = (ended.start + offset, ended.end + offset)
    yield _span(context, "request", top, parent, times, failed, about, remote=True)
    for since, batch in context.batches:
        yield _span(context, "queue", random.randbytes(8), top, (since + offset, batch.start + offset))
        about = {
            "argosy.batch.rows": batch.rows,
            "argosy.batch.requests": batch.requests,
            "argosy.batch.reason": batch.reason,
        }
        id, times = random.randbytes(8), (batch.start + offset, batch.end + offset)
        span = _span(context, "batch", id, top, times, batch.error, about)
        for other in [other for other in batch.contexts if other is not context][:LINKS]:
            span.links.add(trace_id=bytes.fromhex(other.trace), span_id=bytes.fromhex(other.id), flags=SAMPLED)
        yield span
        times = (batch.called + offset, batch.returned + offset)
        yield _span(context, "run", random.randbytes(8), id, times, batch.error)


def _span(
    context: TraceContext,
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
        trace_id=bytes.fromhex(context.trace),
        span_id=id,
        parent_span_id=parent,
        trace_state=context.state,
        flags=SAMPLED | HAS_REMOTE | (IS_REMOTE if remote else 0),
        kind=Span.SPAN_KIND_SERVER if remote else Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=times[0],
        end_time_unix_nano=times[1],
        attributes=_attributes(attributes or {}),
    )
    if error:
        text = error[:MOST_TEXT].encode("utf-8", "replace").decode()
        span.status.code, span.status.message = Status.STATUS_CODE_ERROR, text
    return span


def _attributes(attributes: Mapping[str, str | int]) -> "list[KeyValue]":
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

    def value(given: str | int) -> Any:
        return AnyValue(string_value=given) if isinstance(given, str) else AnyValue(int_value=given)

    return [KeyValue(key=name, value=value(given)) for name, given in attributes.items()]
