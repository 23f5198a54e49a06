"""Cheap inputs to a replica: each of at most 1 MB on the wire, made to cost as much as it can.

A REST input is the bytes of whole requests; a gRPC input a method, a message, and whether it is sent compressed.
"""

import gzip
import json
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

MB = 1_000_000


class Rest(NamedTuple):
    """Bytes for one connection, which is read only where `read` says so. `times`: connections that send them. `worst`:
    one of those that are tried in the short tests."""

    name: str
    make: Callable[[], bytes]
    read: bool = True
    times: int = 1
    worst: bool = False


class Grpc(NamedTuple):
    """One call of `ModelInfer`, or of a stream of so many equal messages."""

    name: str
    make: Callable[[], bytes]
    messages: int = 0


def post(model: str, body: bytes, head: str = "") -> bytes:
    """An inference request."""
    start = f"POST /v2/models/{model}/infer HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n{head}\r\n"
    return start.encode() + body


def tensor(datatype: str, shape: list[int], data: bytes, more: str = "") -> bytes:
    """The JSON body of a request with one input."""
    about = f'{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":{json.dumps(shape)},"data":'
    return about.encode() + data + f"}}]{more}}}".encode()


def flat(item: bytes, size: int) -> tuple[int, bytes]:
    """How many of these items a JSON list of about this size has, and the list."""
    count = size // (len(item) + 1)
    return count, b"[" + ((item + b",") * count)[:-1] + b"]"


def listed(datatype: str, item: bytes, size: int, more: str = "") -> bytes:
    """A request with one long row of this item."""
    count, data = flat(item, size)
    return tensor(datatype, [1, count], data, more)


def nested(datatype: str, item: bytes, size: int) -> bytes:
    """A request with many rows of one item."""
    count, data = flat(b"[" + item + b"]", size)
    return tensor(datatype, [count, 1], data)


def gz(model: str, body: bytes) -> bytes:
    """The request, compressed by gzip."""
    return post(model, gzip.compress(body, 9), "content-encoding: gzip\r\n")


def most_gz(model: str, make: Callable[[int], bytes]) -> bytes:
    """As large a body as is taken of 1 MB of gzip, whose comment fills up what the body does not need."""
    body = make(7_900_000)
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = packed.compress(body) + packed.flush()
    comment = b"c" * max(0, MB - len(stream) - 18) + b"\0"
    head = b"\x1f\x8b\x08\x10\0\0\0\0\0\x03" + comment
    whole = head + stream + struct.pack("<II", zlib.crc32(body), len(body) & 0xFFFFFFFF)
    return post(model, whole, "content-encoding: gzip\r\n")


def binary(model: str, datatype: str, shape: list[int], raw: bytes, more: str = "", packed: bool = False) -> bytes:
    """A request with one binary input, which asks for JSON."""
    about = {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
    text = json.dumps({"inputs": [about]})[:-1].encode() + more.encode() + b"}"
    body, head = text + raw, f"inference-header-content-length: {len(text)}\r\n"
    return (
        post(model, gzip.compress(body, 9), head + "content-encoding: gzip\r\n") if packed else post(model, body, head)
    )


def get(path: str, times: int = 1) -> bytes:
    """Pipelined requests."""
    return f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode() * times


def _upgrade() -> bytes:
    return b"GET /v2 HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"


CHUNKED = b"POST /v2/models/rows/infer HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
REST = (
    Rest("gzip: 61 KB of zeros that become 61 MB", lambda: gz("floats", listed("FP32", b"0", 61_000_000))),
    Rest("gzip: numbers, 4 MB of 20 KB", lambda: gz("doubles", listed("FP64", b"0", 4_100_000))),
    Rest("gzip: numbers, 8 MB of 1 MB", lambda: most_gz("doubles", lambda n: listed("FP64", b"0", n))),
    Rest("gzip: rows of one number, 8 MB of 1 MB", lambda: most_gz("longs", lambda n: nested("INT64", b"0", n))),
    Rest("gzip: strings, 8 MB of 1 MB", lambda: most_gz("texts", lambda n: listed("BYTES", b'"ab"', n))),
    Rest("gzip: strings, 4 MB of 20 KB", lambda: gz("texts", listed("BYTES", b'"ab"', 2_500_000))),
    Rest("gzip: brackets, 8 MB of 1 MB", lambda: most_gz("floats", lambda n: tensor("FP32", [1, 1], b"[" * n))),
    Rest("gzip: empty lists", lambda: most_gz("floats", lambda n: tensor("FP32", [n // 3, 0], flat(b"[]", n)[1]))),
    Rest("gzip: inputs without end", lambda: most_gz("rows", lambda n: b'{"inputs":' + flat(b"{}", n)[1] + b"}")),
    Rest("gzip: parameters without end", lambda: gz("rows", _parameters(4_000_000))),
    Rest(
        "gzip: booleans asked for as JSON",
        lambda: binary("flags", "BOOL", [1, 4_000_000], bytes(4_000_000), packed=True),
    ),
    Rest("JSON: brackets", lambda: post("floats", tensor("FP32", [1, 1], b"[" * MB))),
    Rest("JSON: zeros", lambda: post("doubles", listed("FP64", b"0", MB))),
    Rest("JSON: rows of one zero", lambda: post("longs", nested("INT64", b"0", MB))),
    Rest("JSON: long numbers", lambda: post("doubles", listed("FP64", b"0.12345678901234567e-300", MB))),
    Rest("JSON: one number of 1 MB", lambda: post("longs", tensor("INT64", [1, 1], b"[" + b"9" * MB + b"]"))),
    Rest("JSON: empty strings", lambda: post("texts", listed("BYTES", b'""', MB))),
    Rest("JSON: rows of one string", lambda: post("texts", nested("BYTES", b'"ab"', MB))),
    Rest("JSON: escaped strings", lambda: post("texts", listed("BYTES", b'"\\u00e9"', MB))),
    Rest("JSON: parameters without end", lambda: post("rows", _parameters(MB))),
    Rest("JSON: outputs without end", lambda: post("rows", _outputs(MB))),
    Rest("JSON: inputs without end", lambda: post("rows", _inputs(MB))),
    Rest("JSON: a shape without end", lambda: post("rows", tensor("FP32", [0] * (MB // 3), b"[]"))),
    Rest("JSON: the same key again and again", lambda: post("rows", b'{"inputs":[],' * (MB // 13))),
    Rest("JSON: an id of 1 MB", lambda: post("rows", tensor("FP32", [1, 4], b"[1,2,3,4]", f',"id":"{"i" * MB}"'))),
    Rest("JSON: 10^9 rows of nothing", lambda: post("floats", tensor("FP32", [10**9, 0], b"[]"))),
    Rest("JSON: classes of a large row", lambda: post("floats", listed("FP32", b"0", MB, CLASSES % 1000))),
    Rest(
        "binary: classes of a large row", lambda: binary("bytes", "UINT8", [1, MB], bytes(MB), "," + CLASSES[1:] % MB)
    ),
    Rest("binary: booleans asked for as JSON", lambda: binary("flags", "BOOL", [1, MB], bytes(MB))),
    Rest("binary: empty strings", lambda: binary("texts", "BYTES", [1, MB // 4], bytes(MB // 4 * 4))),
    Rest("binary: short strings", lambda: binary("texts", "BYTES", [1, MB // 6], b"\2\0\0\0ab" * (MB // 6))),
    Rest("HTTP: a head of 64 KB", lambda: b"GET / HTTP/1.1\r\n" + b"a: " + b"b" * 64_000 + b"\r\n\r\n"),
    Rest(
        "HTTP: 16,000 headers",
        lambda: b"GET / HTTP/1.1\r\n" + b"".join(b"%x:\r\n" % n for n in range(16_000)) + b"\r\n",
    ),
    Rest("HTTP: one header 16,000 times", lambda: b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 16_000 + b"\r\n"),
    Rest(
        "HTTP: 1 MB of trailers",
        lambda: CHUNKED + b"1\r\n{\r\n0\r\n" + b"".join(b"a%x: b\r\n" % n for n in range(90_000)),
    ),
    Rest("HTTP: 1 MB of a chunk's extension", lambda: CHUNKED + b"1;" + b"e" * MB),
    Rest("HTTP: 1 MB in chunks of two bytes", lambda: CHUNKED + b"2\r\n  \r\n" * (MB // 7) + b"0\r\n\r\n"),
    Rest("HTTP: 3,000 pipelined /metrics, none read", lambda: get("/metrics", 3000), read=False),
    Rest("HTTP: 20,000 pipelined requests, none read", lambda: get("/openapi.json", 20_000), read=False),
    Rest("HTTP: upgrades that stay, 400 of them", _upgrade, read=False, times=400),
    Rest("HTTP: unfinished heads, 400 of 2 KB", lambda: b"GET / HTTP/1.1\r\na: " + b"b" * 2000, read=False, times=400),
    Rest("HTTP: 1,000 long paths", lambda: b"".join(get(f"/{'a' * 900}{n}") for n in range(1000))),
)
CLASSES = ',"outputs":[{"name":"y","parameters":{"classification":%d}}]'


def _parameters(size: int) -> bytes:
    pairs = b",".join(b'"%x":0' % n for n in range(size // 10))
    return b'{"inputs":[],"parameters":{' + pairs + b"}}"


def _outputs(size: int) -> bytes:
    return b'{"inputs":[],"outputs":' + flat(b'{"name":"y"}', size)[1] + b"}"


def _inputs(size: int) -> bytes:
    return b'{"inputs":' + flat(b'{"name":"x","shape":[],"datatype":""}', size)[1] + b"}"


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def message(model: str, datatype: str, shape: list[int], contents: bytes, rest: bytes = b"") -> bytes:
    """A ModelInferRequest with one input."""
    axes = field(3, b"".join(map(varint, shape)))
    one = field(1, b"x") + field(2, datatype.encode()) + axes + (field(5, contents) if contents else b"")
    return field(1, model.encode()) + field(5, one) + rest


ROW = message("rows", "FP32", [1, 4], b"", field(7, bytes(16)))
GRPC = (
    Grpc(
        "gzip: 61 MB of raw zeros",
        lambda: gzip.compress(message("floats", "FP32", [1, 15 * MB], b"", field(7, bytes(60 * MB)))),
    ),
    Grpc(
        "gzip: 4 MB of raw zeros",
        lambda: gzip.compress(message("floats", "FP32", [1, MB], b"", field(7, bytes(4 * MB)))),
    ),
    Grpc(
        "gzip: 2 MB of typed numbers",
        lambda: gzip.compress(message("longs", "INT64", [1, 2 * MB], field(3, bytes(2 * MB)))),
    ),
    Grpc(
        "gzip: 4 MB of typed numbers",
        lambda: gzip.compress(message("longs", "INT64", [1, 4 * MB], field(3, bytes(4 * MB)))),
    ),
    Grpc("gzip: typed strings", lambda: gzip.compress(message("texts", "BYTES", [1, MB], field(8, b"ab") * MB))),
    Grpc("gzip: inputs without end", lambda: gzip.compress(field(1, b"rows") + field(5, b"") * (2 * MB))),
    Grpc("typed numbers of one byte", lambda: message("longs", "INT64", [1, MB - 100], field(3, bytes(MB - 100)))),
    Grpc("typed numbers, unpacked", lambda: message("longs", "INT64", [1, MB // 2], b"\x18\x01" * (MB // 2 - 50))),
    Grpc("typed booleans", lambda: message("flags", "BOOL", [1, MB - 100], field(1, bytes(MB - 100)))),
    Grpc("typed empty strings", lambda: message("texts", "BYTES", [1, 499_000], field(8, b"") * 499_000)),
    Grpc("typed short strings", lambda: message("texts", "BYTES", [1, 249_000], field(8, b"ab") * 249_000)),
    Grpc("inputs without end", lambda: field(1, b"rows") + field(5, b"") * (MB // 2 - 50)),
    Grpc("outputs without end", lambda: field(1, b"rows") + field(6, b"") * (MB // 2 - 50)),
    Grpc("raw contents without end", lambda: field(1, b"rows") + field(7, b"") * (MB // 2 - 50)),
    Grpc("parameters without end", lambda: b"".join(field(4, field(1, b"%x" % n)) for n in range(110_000))),
    Grpc("a shape without end", lambda: message("rows", "FP32", [0] * (MB - 100), b"")),
    Grpc("unknown fields", lambda: b"\x78\x01" * (MB // 2)),
    Grpc("nested groups", lambda: b"\x7b" * MB),
    Grpc("a name of 1 MB", lambda: field(1, b"m" * (MB - 10))),
    Grpc("10^9 rows of nothing", lambda: message("floats", "FP32", [10**9, 0], b"", field(7, b""))),
    Grpc("raw booleans", lambda: message("flags", "BOOL", [1, MB - 100], b"", field(7, bytes(MB - 100)))),
    Grpc("a stream of 20,000 messages, no answer read", lambda: ROW, messages=20_000),
)
