"""A collector of OTLP over HTTP that keeps what it is sent, or hangs."""

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Span(msgspec.Struct, kw_only=True):
    """A span as it was sent; ids are lower-case hex, times ns since 1970."""

    name: str
    service: str
    trace: str
    id: str
    parent: str
    start: int
    end: int
    attributes: dict[str, object]
    links: list[tuple[str, str]]
    status: int
    message: str
    state: str


class Collector:
    """Listens on a port of its own until `close`. With `hang` set, it takes a request and does not answer."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.headers: list[dict[str, str]] = []
        self.hang, self.released = False, threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                owner.headers.append({name.lower(): value for name, value in self.headers.items()} | {"": self.path})
                body = self._body()
                if owner.hang:
                    owner.released.wait(60)
                    return
                owner.take(body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def _body(self) -> bytes:
                if "content-length" in self.headers:
                    return self.rfile.read(int(self.headers["content-length"]))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, body: bytes) -> None:
        """Read one export."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [_span(each, service) for each in scope.spans]

    def of(self, trace: str) -> list[Span]:
        """The spans of a trace."""
        return [each for each in self.spans if each.trace == trace]

    def wait(self, enough: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until it is so."""
        end = time.monotonic() + seconds
        while not enough():
            assert time.monotonic() < end, [(each.service, each.name) for each in self.spans]
            time.sleep(0.05)

    def close(self) -> None:
        """Listen no more."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


def _span(each, service) -> Span:
    return Span(
        name=each.name,
        service=str(service.get("service.name")),
        trace=each.trace_id.hex(),
        id=each.span_id.hex(),
        parent=each.parent_span_id.hex(),
        start=each.start_time_unix_nano,
        end=each.end_time_unix_nano,
        attributes=service | _attributes(each.attributes),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in each.links],
        status=each.status.code,
        message=each.status.message,
        state=each.trace_state,
    )


def _attributes(pairs) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
