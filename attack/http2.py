"""HTTP/2 by hand: what no honest client sends cannot be sent with an honest client's library."""

import contextlib
import socket
import struct
import sys
from collections.abc import Iterable, Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW = 4
"""The setting that says how much an answer may send before it is asked for more."""

ELSEWHERE = "127.0.0.2"
"""Another address of this machine, for attacks that use up what an address may have of HTTP/2."""

Headers = Iterable[tuple[str, str]]


def connect(address: tuple[str, int], timeout: float = 20, source: str = "") -> socket.socket:
    """A connection, from another address of this machine where `source` is one and the system has it."""
    own = (source, 0) if source and address[0] == "127.0.0.1" and sys.platform == "linux" else None
    return socket.create_connection(address, timeout=timeout, source_address=own)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def block(headers: Headers) -> bytes:
    """HPACK without its tables: every field as a literal that is not indexed."""
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers)


def _text(value: str) -> bytes:
    raw = value.encode()
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    rest, size = bytearray([127]), len(raw) - 127
    while size >= 128:
        rest.append(size % 128 + 128)
        size //= 128
    rest.append(size)
    return bytes(rest) + raw


def head(stream: int, headers: Headers, *, end: bool = False) -> bytes:
    """HEADERS and, where they do not fit, CONTINUATION."""
    whole = block(headers)
    parts = [whole[at : at + 16384] for at in range(0, len(whole), 16384)] or [b""]
    frames: list[bytes] = []
    for n, part in enumerate(parts):
        flags = (END_HEADERS if n == len(parts) - 1 else 0) | (END_STREAM if end and not n else 0)
        frames.append(frame(CONTINUATION if n else HEADERS, flags, stream, part))
    return b"".join(frames)


def call(method: str, more: Headers = ()) -> list[tuple[str, str]]:
    """The head of a gRPC call."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", method),
        (":authority", "argosy"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        *more,
    ]


class Connection:
    """One connection in clear. `window` is what each answer may send unasked."""

    def __init__(self, address: tuple[str, int], *, window: int = 65535, source: str = "") -> None:
        self.socket = connect(address, source=source)
        self.streams = iter(range(1, 2**31, 2))
        self.closed = False
        self.send(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW, window)))
        for kind, flags, _, _ in self.frames(patience=5.0):
            if kind == SETTINGS and not flags & ACK:
                # Until it is told so, the other side holds us to the windows that all begin with.
                self.send(frame(SETTINGS, ACK, 0))
                break

    def send(self, data: bytes, *, patience: float = 20.0) -> bool:
        """Whether it went out: False once the other side has closed, or takes nothing for `patience` seconds."""
        self.socket.settimeout(patience)
        try:
            self.socket.sendall(data)
        except OSError:
            self.closed = True
        return not self.closed

    def open(self, headers: Headers, *, end: bool = False) -> int:
        """A new stream; its number."""
        stream = next(self.streams)
        self.send(head(stream, headers, end=end))
        return stream

    def frames(self, patience: float = 0.2) -> Iterator[tuple[int, int, int, bytes]]:
        """Kind, flags, stream and payload of what arrives, until nothing does for `patience` seconds."""
        self.socket.settimeout(patience)
        with contextlib.suppress(OSError, EOFError):
            while True:
                top = self._exactly(9)
                size = int.from_bytes(top[:3], "big")
                yield top[3], top[4], int.from_bytes(top[5:9], "big") & 0x7FFFFFFF, self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            part = self.socket.recv(size - len(got))
            if not part:
                self.closed = True
                raise EOFError
            got += part
        return got

    def close(self) -> None:
        """Leave."""
        with contextlib.suppress(OSError):
            self.socket.close()
