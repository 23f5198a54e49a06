"""The frames that a replica and the recorder exchange on a stream.

A frame is `AGR1`, the sizes of head and body (32-bit, little-endian), a head in msgpack and a body of raw arrays.
"""

import math
import struct
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import NUMPY, Array
from argosy.store.payloads.record import REQUEST, Rows

MAGIC = b"AGR1"
HEAD = struct.Struct("<4sII")
MAX_HEAD = 4 * 1024 * 1024
MAX_BODY = 256 * 1024 * 1024
ALIGN = 8

Side = Literal["input", "output"]


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """The first frame of a connection: the replica, and the package (a folder) that it serves under which name."""

    replica: str
    endpoint: str
    version: str
    package: str


def hello(config: ReplicaConfig, model: ModelConfig) -> Hello:
    return Hello(replica=config.replica, endpoint=model.name, version=model.version, package=model.package)


class Orders(msgspec.Struct, frozen=True, kw_only=True, tag="orders"):
    """What the recorder wants: a share of the requests (None: no log), all that fail, every row for the profiles."""

    sample: float | None = None
    errors: bool = True
    profiles: bool = False

    @property
    def nothing(self) -> bool:
        """Whether nothing at all is wanted."""
        return self.sample is None and not self.profiles


class FrameTensor(msgspec.Struct, frozen=True, array_like=True):
    """A tensor in the body of a block; `size` in bytes. Axis 0 counts the rows of all its requests."""

    side: Side
    name: str
    datatype: str
    shape: tuple[int, ...]
    size: int


class Head(msgspec.Struct, frozen=True, array_like=True, tag="block"):
    """Requests in the order of their rows. `ids`: those of their callers, none where none is wanted: text, or bytes
    of Latin-1. `failures`: code and message of each, none where all were answered."""

    requests: int
    ids: tuple[Any, ...]
    parts: tuple[FrameTensor, ...]
    failures: tuple[tuple[str, str], ...] = ()


Frame = Hello | Orders | Rows
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Hello | Orders).decode
_decode_head = msgspec.msgpack.Decoder(Head).decode


def encode(message: Hello | Orders) -> bytes:
    head = _encode(message)
    return HEAD.pack(MAGIC, len(head), 0) + head


def encode_block(
    requests: Array,
    ids: Sequence[str | bytes],
    tensors: Sequence[tuple[Side, str, str, Array]],
    failures: Sequence[tuple[str, str]] = (),
) -> list[memoryview | bytes]:
    """A block as the buffers of its frame; arrays of numbers are not copied. `tensors`: side, name, datatype, array."""
    buffers: list[memoryview | bytes] = [requests.view("u1").data]
    parts: list[FrameTensor] = []
    size = requests.nbytes
    for side, name, datatype, array in tensors:
        if array.dtype == object:
            data = _encode([bytes(value) for value in array.reshape(-1).tolist()])
        else:
            data = np.ascontiguousarray(array).reshape(-1).view("u1").data
        parts.append(FrameTensor(side, name, datatype, array.shape, len(data)))
        buffers.append(data)
        size += len(data)
        if short := -len(data) % ALIGN:
            buffers.append(bytes(short))
            size += short
    head = _encode(("block", len(requests), ids, parts, failures))
    return [HEAD.pack(MAGIC, len(head), size) + head, *buffers]


def sizes(prefix: bytes) -> tuple[int, int]:
    """The sizes of head and body from the first `HEAD.size` bytes. Raises InvalidArgument for what is no frame."""
    magic, head, body = HEAD.unpack(prefix)
    if magic != MAGIC or head > MAX_HEAD or body > MAX_BODY:
        raise InvalidArgument(f"no frame of a replica begins with {prefix.hex()}")
    return head, body


def read(head: bytes | memoryview, body: bytes | memoryview) -> Frame:
    """A frame from its two parts. Raises InvalidArgument."""
    try:
        return _block(_decode_head(head), body) if body else _decode(head)
    except (msgspec.DecodeError, ValueError, TypeError) as error:
        raise InvalidArgument(f"a frame of {len(head)} and {len(body)} bytes cannot be read: {error}") from None


def _block(head: Head, body: bytes | memoryview) -> Rows:
    start = head.requests * REQUEST.itemsize
    if head.requests < 1 or start > len(body) or {len(head.ids), len(head.failures)} - {0, head.requests}:
        raise ValueError(f"{head.requests} requests with {len(head.ids)} ids and {len(head.failures)} failures")
    requests = np.frombuffer(body, REQUEST, head.requests)
    rows = int(requests["rows"].sum())
    if (requests["rows"] < 0).any() or (requests["time"] < 0).any() or not np.isfinite(requests["weight"]).all():
        raise ValueError("rows or times below 0, or weights that are no numbers")
    sides: dict[str, dict[str, Array]] = {"input": {}, "output": {}}
    for part in head.parts:
        end = start + part.size
        if part.size < 0 or end > len(body) or not part.shape or part.shape[0] != rows:
            raise ValueError(f"'{part.name}' has shape {part.shape} for {rows} rows")
        sides[part.side][part.name] = _array(part, memoryview(body)[start:end])
        start = end + -part.size % ALIGN
    if start != len(body):
        raise ValueError(f"{len(body) - start} bytes are left over")
    if set(map(type, head.ids)) - {str, bytes}:
        raise ValueError("an id is no text")
    ids = [id.decode("latin-1") if type(id) is bytes else id for id in head.ids] or [""] * head.requests
    return Rows(requests=requests, ids=ids, inputs=sides["input"], outputs=sides["output"], failures=head.failures)


def _array(part: FrameTensor, data: memoryview) -> Array:
    if min(part.shape) < 0:
        raise ValueError(f"'{part.name}' has shape {part.shape}")
    if part.datatype == "BYTES":
        values: list[Any] = msgspec.msgpack.decode(data, type=list[bytes])
        out = np.empty(len(values), object)
        out[:] = values
        return out.reshape(part.shape)
    dtype = NUMPY.get(part.datatype)
    if dtype is None or math.prod(part.shape) * dtype.itemsize != part.size:
        raise ValueError(f"'{part.name}' is {part.datatype} {part.shape} in {part.size} bytes")
    return np.frombuffer(data, dtype).reshape(part.shape)
