"""Attacks on the control API by callers without a token: connections that ask for nothing whole, and never end."""

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

MANY = 320
SECONDS = 8.0
"""Seconds that a whole request waits for its answer: fewer than any half request is given to become whole."""


class Place(msgspec.Struct, frozen=True):
    """Where the control API listens, and whether it speaks TLS."""

    host: str
    port: int
    tls: bool = False

    def connect(self, seconds: float = SECONDS) -> socket.socket:
        """A connection, under TLS with its handshake."""
        plain = socket.create_connection((self.host, self.port), seconds)
        return _unverified().wrap_socket(plain) if self.tls else plain


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _request(line: str, body: str = "", **headers: object) -> bytes:
    head = [line, "Host: localhost", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


HALF_HEAD = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX-Half: "
HALF_BODY = _request("POST /console/login HTTP/1.1", "token=", Content_Length=9999)
UNREAD_BODY = _request("PUT /v1/endpoints/x HTTP/1.1", "{", Content_Length=100_000_000)
WHOLE = _request("GET /v1/status HTTP/1.1")
LOGIN = _request("POST /console/login HTTP/1.1", "token=x", Content_Length=7)
HELD: dict[str, bytes] = {
    "connections that say nothing": b"",
    "half heads": HALF_HEAD,
    "a single byte": b"G",
    "half bodies where they are waited for": HALF_BODY,
    "half bodies of what was refused": UNREAD_BODY,
    "half chunks": _request("POST /console/login HTTP/1.1", "5\r\nto", Transfer_Encoding="chunked"),
    "whole requests, and then nothing": WHOLE,
    "whole requests, and half of the next": WHOLE + HALF_HEAD,
    "an announced body that is not sent": _request("POST /v1/jobs HTTP/1.1", Content_Length=10, Expect="100-continue"),
    "upgrades": _request("GET / HTTP/1.1", Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Version=13),
    "no HTTP": b"\x00\xff" * 300,
}
"""What is sent on each of many connections, which then stay open."""
FLOODS: dict[str, bytes] = {
    "requests sent ahead, their answers unread": WHOLE * 30_000,
    "logins sent ahead, their answers unread": LOGIN * 30_000,
    "a head without end": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 300_000,
    "a line without end": b"GET /" + b"a" * 2_000_000,
    "a body that nobody waits for": UNREAD_BODY + b"x" * 2_000_000,
    "chunks of one byte": _request("POST /console/login HTTP/1.1", "1\r\nx\r\n" * 200_000, Transfer_Encoding="chunked"),
    "garbage": b"\x16\x03\x01\x02\x00\x01" * 200_000,
}
"""What is sent on a few connections, as much of it as the server takes, and nothing read."""


@contextmanager
def held(place: Place, data: bytes, many: int = MANY) -> Iterator[list[socket.socket]]:
    """`many` connections on which this was sent. Those that the server ends meanwhile are not opened again."""
    with _closing() as sockets:
        for _ in range(many):
            with contextlib.suppress(OSError):
                sockets.append(place.connect())
                sockets[-1].sendall(data)
        yield sockets


@contextmanager
def flooded(place: Place, data: bytes, many: int = 8) -> Iterator[list[socket.socket]]:
    """A few connections on which as much of this was sent as was taken."""
    with _closing() as sockets:
        for _ in range(many):
            with contextlib.suppress(OSError):
                sockets.append(place.connect())
                sockets[-1].settimeout(0.5)
                sockets[-1].sendall(data)
        yield sockets


@contextmanager
def unfinished_handshakes(place: Place, many: int = MANY) -> Iterator[list[socket.socket]]:
    """Connections that begin a TLS handshake, and leave it there."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = _unverified().wrap_bio(incoming, outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    with held(msgspec.structs.replace(place, tls=False), outgoing.read(), many) as sockets:
        yield sockets


@contextmanager
def _closing() -> Iterator[list[socket.socket]]:
    sockets: list[socket.socket] = []
    try:
        yield sockets
    finally:
        for each in sockets:
            each.close()


def answered(place: Place, token: str) -> int:
    """The status that a whole request gets now. Raises OSError where it gets none in time."""
    with place.connect() as connection:
        connection.sendall(_request("GET /v1/status HTTP/1.1", Authorization=f"Bearer {token}", Connection="close"))
        found = b""
        while more := connection.recv(65536):
            found += more
    if not found.startswith(b"HTTP/1.1 "):
        raise OSError(f"no answer: {found[:100]!r}")
    return int(found.split()[1])


def attacks() -> dict[str, Callable[[Place], contextlib.AbstractContextManager[list[socket.socket]]]]:
    """All of them by name, to be entered one after the other; while one goes on, `answered` shall say 200."""
    found: dict[str, Callable[[Place], contextlib.AbstractContextManager[list[socket.socket]]]] = {}
    for name, data in HELD.items():
        found[name] = lambda place, data=data: held(place, data)
    for name, data in FLOODS.items():
        found[name] = lambda place, data=data: flooded(place, data)
    found["TLS handshakes that never end"] = unfinished_handshakes
    return found
