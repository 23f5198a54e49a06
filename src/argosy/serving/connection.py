"""One HTTP/1.1 connection: httptools parses, we bound sizes and times, and answer in order.

A request that can be answered at once never becomes a task: measured against Granian's RSGI this costs a quarter of the
CPU time (decision 5).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import httptools

from argosy.serving.eviction import Phase
from argosy.serving.exchange import CONTINUE, Exchange, Headers, error_reply, reply
from argosy.spec.endpoint import Runtime
from argosy.spec.errors import (
    ArgosyError,
    InvalidArgument,
    PayloadTooLarge,
    RequestTimeout,
    RequestTooLarge,
    Unsupported,
)

if TYPE_CHECKING:
    from argosy.serving.listener import Listener

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 128
MAX_JOINED = 8192
"""Bytes of a header that is sent again and again, which is copied each time."""
_HEAD_MESSAGE = f"the request line and headers have more than {MAX_HEAD_BYTES} bytes"
_COUNT_MESSAGE = f"the request has more than {MAX_HEADERS} headers"
HIGH_WATER = 256 * 1024
"""Unread bytes of answers from which on a connection is not read, and its next request not begun."""
LEAST_READ = 64 * 1024
"""What a client must read of an answer that waits, in `body_timeout` seconds."""
SLICE = 16 * 1024
"""What is parsed at once: so many small requests may be in it that the rest waits for their answers."""
FRAMING = 8
"""Bytes of chunk sizes, extensions and trailers for one of the body that are taken, beside `MAX_HEAD_BYTES`."""


class Connection(asyncio.Protocol):
    """The server's side of one connection. `handle` gets each exchange; it answers now or later.

    A client that sends requests without reading the answers is read no further, and no request of it is begun, until
    it has read; one that does not read is ended. Of requests sent at once, one is begun each turn of the loop.
    """

    def __init__(self, handle: Callable[[Exchange], None], runtime: Runtime, listener: "Listener") -> None:
        self._handle = handle
        self._listener = listener
        self._limit = runtime.max_body_bytes
        self._timeout = runtime.body_timeout
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._current: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._rest: bytes | memoryview = b""
        self.since = self._loop.time()
        self._headers: dict[bytes, bytes] = {}
        self._head_of: dict[bytes, bytes] = {}
        self._due = self._began = False
        self._receiving = self._closing = self._ended = self._blocked = False
        self._unread: tuple[int, float] | None = None
        self._reset()

    @property
    def unread(self) -> int:
        """Bytes of an answer that wait for a client that does not read on."""
        return self._transport.get_write_buffer_size() if self._blocked else 0

    @property
    def phase(self) -> Phase:
        """What it is at, for whoever must choose one to end; an answer that waits to be read counts as a body."""
        if self._blocked:
            return Phase.BODY
        if self._current is not None:
            return Phase.BUSY
        if self._receiving:
            return Phase.HEAD if self._head >= 0 else Phase.BODY
        return Phase.IDLE if self._head_of else Phase.HEAD

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless the listener refuses it."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(HIGH_WATER)
        if not self._listener.add(self):
            self._closing = True
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: whatever it still waited for is given up."""
        self._listener.remove(self)
        self._closing = True
        self._waiting.clear()
        self._rest = b""
        exchange, self._current = self._current, None
        if exchange is not None and exchange.cancelled is not None and not exchange.answered:
            exchange.answered = True
            exchange.cancelled()
            if exchange.reserved is not None:
                exchange.reserved.release()

    def eof_received(self) -> bool:
        """The client closed its side. It is no different from one that left, so a request that waits is given up; one
        that is answered without waiting is, and the connection closed after it."""
        self._ended = True
        if self._transport.get_extra_info("sslcontext") is not None:
            return False  # TLS knows no half of a connection
        return bool(self._waiting or self._rest) or (self._current is not None and self._current.cancelled is None)

    def pause_writing(self) -> None:
        """asyncio: the client does not read what it was answered."""
        self._blocked = True
        self._pause()
        self._listener.end_unread()

    def resume_writing(self) -> None:
        """asyncio: the client has read."""
        self._blocked, self._unread = False, None
        self._later()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._began = self._blocked
        self._chunk = size = len(data)
        if size > SLICE or self._rest:
            self._rest = b"".join((self._rest, data))
            self._feed_rest()
            return
        try:  # as `_feed` does, without a call of it
            self._parser.feed_data(data)
            if self._receiving:
                self._count(size)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._refuse(error)

    def on_message_begin(self) -> None:
        """httptools: the first byte of a request."""
        self._receiving = True
        self.since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """httptools: a part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header; a repeated one is joined, as RFC 9110 allows. After the head: one trailer."""
        key = name.lower()
        headers = self._headers
        if key not in headers:
            headers[key] = value
            return
        joined = headers[key] + b", " + value
        if len(joined) > MAX_JOINED:
            raise RequestTooLarge(f"a repeated header has more than {MAX_JOINED} bytes")
        headers[key] = joined

    def on_headers_complete(self) -> None:
        """httptools: the head is there. Refuse a body that says it is too large before any of it is read."""
        headers = self._head_of = self._headers
        self._headers = {}
        came, self._head = self._head + self._chunk, -1
        if came > MAX_HEAD_BYTES and sum(map(len, headers.values())) + len(self._url) > MAX_HEAD_BYTES:
            raise RequestTooLarge(_HEAD_MESSAGE)
        if len(headers) > MAX_HEADERS:
            raise RequestTooLarge(_COUNT_MESSAGE)
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._limit:
            raise PayloadTooLarge(f"the body has {int(length)} bytes; at most {self._limit} are taken")
        if b"upgrade" in headers:
            self._ended = True
            if length is not None or b"transfer-encoding" in headers:
                raise Unsupported("a request with a body cannot upgrade its connection here; leave 'Upgrade' out")
        if b"expect" in headers and headers[b"expect"].lower() == b"100-continue" and self._current is None:
            self._transport.write(CONTINUE)

    def on_body(self, data: bytes) -> None:
        """httptools: a part of the body."""
        self._size += len(data)
        if self._size > self._limit:
            raise PayloadTooLarge(f"the body has more than {self._limit} bytes")
        if not self._body:
            self._body = data
        elif type(self._body) is bytearray:
            self._body += data
        else:
            self._body = bytearray(self._body) + data

    def on_message_complete(self) -> None:
        """httptools: a whole request is there."""
        path = httptools.parse_url(self._url).path or b"/"
        method = self._parser.get_method().decode("latin-1")
        body = self._body if type(self._body) is bytes else bytes(self._body)
        exchange = Exchange(self, method, path.decode("latin-1"), self._head_of, body)
        exchange.keep_alive = self._parser.should_keep_alive()
        self._reset()
        if self._current is None and not self._began:
            self._began = True
            self._begin(exchange)
        else:
            self._waiting.append(exchange)
            self._pause()
            self._later()

    def send(self, exchange: Exchange, status: int, body: bytes | bytearray, headers: Headers) -> None:
        """Write an answer, and take the next request that waits behind it."""
        if exchange is not self._current:
            return
        self._current = None
        more = self._waiting or self._rest
        keep = exchange.keep_alive and not self._closing and not (self._ended and not more)
        if len(body) <= SLICE:
            self._transport.write(reply(status, body, headers, keep, exchange.method == "HEAD"))
        else:
            self._transport.write(reply(status, body, headers, keep, True))
            self._transport.write(b"" if exchange.method == "HEAD" else body)
        self.since = self._loop.time()
        if not keep:
            self._closing = True
            self._transport.close()
        elif more:
            self._later()

    def expire(self, now: float, idle: float) -> None:
        """End what is too slow: a request that does not arrive (408), a client that does not read, a connection without
        a request."""
        if self._blocked or (self._closing and self._current is None):
            unread = self._transport.get_write_buffer_size()
            if self._unread is None or unread <= self._unread[0] - LEAST_READ:
                self._unread = (unread, now)
            elif now - self._unread[1] > self._timeout:
                self.abort()
        elif self._current is not None or self._closing:
            return
        elif self._receiving and now - self.since > self._timeout:
            self._fail(RequestTimeout(f"the request did not arrive within {self._timeout:g} s"))
        elif not self._receiving and now - self.since > idle:
            self.shutdown()

    def shutdown(self) -> None:
        """Close once the current request is answered; at once when there is none."""
        self._closing = True
        if self._current is None:
            self._transport.close()

    def hand_over(self) -> asyncio.BaseTransport:
        """Leave the connection, which was upgraded, to another protocol: the listener bounds and ends it no more."""
        self._closing = True
        self._listener.remove(self)
        return self._transport

    def abort(self) -> None:
        """Close without regard for what is under way."""
        self._transport.abort()

    def _begin(self, exchange: Exchange) -> None:
        self._current = exchange
        self._handle(exchange)

    def _later(self) -> None:
        if not self._due:
            self._due = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        """Begin the next request that waits; read on when none does."""
        self._due = False
        if self._current is not None or self._blocked or self._transport.is_closing():
            return
        if self._waiting:
            self._begin(self._waiting.popleft())
        elif self._rest:
            self._began = self._blocked
            self._feed_rest()
        if self._waiting or self._rest:
            if self._current is None:
                self._later()
        elif not self._blocked and not self._transport.is_closing() and not self._transport.is_reading():
            self._transport.resume_reading()

    def _pause(self) -> None:
        if not self._transport.is_closing() and self._transport.is_reading():
            self._transport.pause_reading()

    def _feed_rest(self) -> None:
        """Parse what arrived at once by slices, until a request has to wait."""
        view, at = memoryview(self._rest), 0
        while at < len(view) and not (self._waiting or self._closing):
            self._feed(view[at : at + SLICE])
            at += SLICE
        self._rest = b"" if self._closing else bytes(view[at:])

    def _feed(self, data: bytes | memoryview) -> None:
        """Parse a slice; end the connection where it cannot be parsed."""
        self._chunk = len(data)
        try:
            self._parser.feed_data(data)
            if self._receiving:
                self._count(len(data))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        if isinstance(error, httptools.HttpParserUpgrade):
            self.shutdown()
        elif isinstance(error, httptools.HttpParserCallbackError):
            cause = error.__context__
            self._fail(cause if isinstance(cause, ArgosyError) else InvalidArgument("the request is malformed"))
        else:
            self._fail(InvalidArgument(f"this is no HTTP request: {error}"))

    def _count(self, size: int) -> None:
        """Bound what a request that is not there yet has sent beside its body."""
        if self._head >= 0:
            self._head += size
            if self._head > MAX_HEAD_BYTES:
                self._fail(RequestTooLarge(_HEAD_MESSAGE))
        else:
            self._raw += size
            if self._raw > FRAMING * self._size + MAX_HEAD_BYTES + SLICE:
                self._fail(RequestTooLarge("the chunks' framing and trailers are larger than the body allows"))
        if len(self._headers) > MAX_HEADERS:
            self._fail(RequestTooLarge(_COUNT_MESSAGE))

    def _reset(self) -> None:
        self._url = b""
        self._body: bytes | bytearray = b""
        self._size = self._head = self._chunk = self._raw = 0
        self._receiving = False
        if self._headers:
            self._headers = {}

    def _fail(self, error: ArgosyError) -> None:
        if self._closing:
            return
        self._closing = True
        status, body, headers = error_reply(error)
        if self._current is None:
            self._transport.write(reply(status, body, headers, False))
        self._transport.close()
