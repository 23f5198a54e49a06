"""One HTTP/1.1 connection: httptools parses, we bound sizes and times, and answer in order.

A request that can be answered at once never becomes a task: measured against Granian's RSGI this costs a quarter of the
CPU time (docs/design.md).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

import httptools

from argosy.serving.replies import CONTINUE, Headers, error_reply, reply
from argosy.spec.errors import ArgosyError, InvalidArgument, PayloadTooLarge, RequestTimeout, RequestTooLarge

MAX_HEAD_BYTES = 64 * 1024
_HEAD_MESSAGE = f"the request line and headers have more than {MAX_HEAD_BYTES} bytes"
HIGH_WATER = 256 * 1024


class Exchange:
    """A request and the way to answer it, once. `cancelled` is called when its client goes away before that."""

    __slots__ = ("_connection", "answered", "body", "cancelled", "headers", "keep_alive", "method", "path")

    def __init__(
        self, connection: "Connection", method: str, target: str, headers: dict[bytes, bytes], body: bytes
    ) -> None:
        self._connection = connection
        self.method = method
        self.path = target
        self.headers = headers
        self.body = body
        self.keep_alive = True
        self.answered = False
        self.cancelled: Callable[[], None] | None = None

    def answer(self, status: int, body: bytes, headers: Headers = ()) -> None:
        """Send the answer; JSON unless a content-type is among the headers."""
        if not self.answered:
            self.answered = True
            self._connection.send(self, status, body, headers)

    def refuse(self, error: ArgosyError, headers: Headers = ()) -> None:
        """Send an error in the protocol's form."""
        status, body, extra = error_reply(error)
        self.answer(status, body, (*extra, *headers))


class Limits(Protocol):
    """What a connection is held to: bytes of a body, seconds for a request to arrive."""

    @property
    def max_body_bytes(self) -> int: ...
    @property
    def body_timeout(self) -> float: ...


class Connection(asyncio.Protocol):
    """The server's side of one connection. `handle` gets each exchange; it answers now or later."""

    def __init__(
        self,
        handle: Callable[[Exchange], None],
        limits: Limits,
        connections: "set[Connection]",
        lost: Callable[[], None],
    ) -> None:
        self._handle = handle
        self._lost = lost
        self._limit = limits.max_body_bytes
        self._timeout = limits.body_timeout
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._current: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._since = self._loop.time()
        self._receiving = False
        self._closing = False
        self._reset()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(HIGH_WATER)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: whatever it still waited for is given up."""
        self._connections.discard(self)
        self._lost()
        self._closing = True
        self._waiting.clear()
        if self._current is not None:
            self._give_up(self._current)
            self._current = None

    def eof_received(self) -> bool:
        """The client closed its side. It cannot be told from one that left, so a request that waits is given up."""
        return self._current is not None and self._current.cancelled is None

    def data_received(self, data: bytes) -> None:
        """Parse what arrived."""
        if self._closing:
            return
        self._chunk = len(data)
        try:
            self._parser.feed_data(data)
            if self._receiving and self._head >= 0:
                self._count_head(len(data))
        except httptools.HttpParserUpgrade:
            self._closing = True
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._fail(cause if isinstance(cause, ArgosyError) else InvalidArgument("the request is malformed"))
        except httptools.HttpParserError as error:
            self._fail(InvalidArgument(f"this is no HTTP request: {error}"))

    def on_message_begin(self) -> None:
        """httptools: the first byte of a request."""
        self._receiving = True
        self._since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """httptools: a part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header; a repeated one is joined, as RFC 9110 allows."""
        key = name.lower()
        headers = self._headers
        headers[key] = headers[key] + b", " + value if key in headers else value

    def on_headers_complete(self) -> None:
        """httptools: the head is there. Refuse a body that says it is too large before any of it is read."""
        headers = self._headers
        came, self._head = self._head + self._chunk, -1
        if came > MAX_HEAD_BYTES and sum(map(len, headers.values())) + len(self._url) > MAX_HEAD_BYTES:
            raise RequestTooLarge(_HEAD_MESSAGE)
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._limit:
            raise PayloadTooLarge(f"the body has {int(length)} bytes; at most {self._limit} are taken")
        if b"expect" in headers and headers[b"expect"].lower() == b"100-continue":
            self._transport.write(CONTINUE)

    def on_body(self, data: bytes) -> None:
        """httptools: a part of the body."""
        self._size += len(data)
        if self._size > self._limit:
            raise PayloadTooLarge(f"the body has more than {self._limit} bytes")
        self._body.append(data)

    def on_message_complete(self) -> None:
        """httptools: a whole request is there."""
        path = httptools.parse_url(self._url).path or b"/"
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        method = self._parser.get_method().decode("latin-1")
        exchange = Exchange(self, method, path.decode("latin-1"), self._headers, body)
        exchange.keep_alive = self._parser.should_keep_alive()
        self._reset()
        if self._current is None:
            self._begin(exchange)
        else:
            self._waiting.append(exchange)
            self._transport.pause_reading()

    def send(self, exchange: Exchange, status: int, body: bytes, headers: Headers) -> None:
        """Write an answer, and take the next request that waits behind it."""
        if exchange is not self._current:
            return
        self._current = None
        keep = exchange.keep_alive and not self._closing
        self._transport.write(reply(status, body, headers, keep, exchange.method == "HEAD"))
        self._since = self._loop.time()
        if not keep:
            self._closing = True
            self._transport.close()
        elif self._waiting:
            self._loop.call_soon(self._next)

    def expire(self, now: float, idle: float) -> None:
        """End what is too slow: a request that does not arrive (408), a connection without one."""
        if self._current is not None or self._closing:
            return
        if self._receiving and now - self._since > self._timeout:
            self._fail(RequestTimeout(f"the request did not arrive within {self._timeout:g} s"))
        elif not self._receiving and now - self._since > idle:
            self.shutdown()

    def shutdown(self) -> None:
        """Close once the current request is answered; at once when there is none."""
        self._closing = True
        if self._current is None:
            self._transport.close()

    def abort(self) -> None:
        """Close without regard for what is under way."""
        self._transport.abort()

    def _begin(self, exchange: Exchange) -> None:
        self._current = exchange
        self._handle(exchange)

    def _next(self) -> None:
        if self._waiting and self._current is None:
            exchange = self._waiting.popleft()
            if not self._waiting and not self._transport.is_closing():
                self._transport.resume_reading()
            self._begin(exchange)

    def _count_head(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEAD_BYTES:
            self._fail(RequestTooLarge(_HEAD_MESSAGE))

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = self._head = self._chunk = 0
        self._receiving = False

    def _fail(self, error: ArgosyError) -> None:
        self._closing = True
        status, body, headers = error_reply(error)
        if self._current is None:
            self._transport.write(reply(status, body, headers, False))
        self._transport.close()

    def _give_up(self, exchange: Exchange) -> None:
        if exchange.cancelled is not None and not exchange.answered:
            exchange.answered = True
            exchange.cancelled()
