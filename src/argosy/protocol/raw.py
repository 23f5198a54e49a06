"""Raw tensors: the binary tensor extension's bytes, shared by REST, gRPC and tensor files.

Little-endian, row-major, no padding; BOOL is one byte 0 or 1; BYTES elements are a u32 length followed by the bytes.
"""

import math
import struct
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import DATATYPES, NUMPY, Array, Tensor

MAX_RANK = 32
MAX_AXES = 2**56
"""Product of the axes beside an empty one: NumPy bounds it, times the item size, by 2**63."""
_LENGTH = struct.Struct("<I")


def elements(name: str, shape: Sequence[int]) -> int:
    """The number of elements of a shape. Raises InvalidArgument for a negative axis, more than 32 axes, and axes beside
    an empty one that no array can have."""
    if len(shape) > MAX_RANK:
        raise InvalidArgument(f"tensor '{name}' has {len(shape)} axes; at most {MAX_RANK} are allowed")
    if min(shape, default=0) < 0:
        raise InvalidArgument(f"tensor '{name}' has shape {list(shape)}; no axis may be negative")
    count = math.prod(shape)
    if not count and math.prod(axis for axis in shape if axis) > MAX_AXES:
        raise InvalidArgument(f"tensor '{name}' has shape {list(shape)}, which is too large for any array")
    return count


def itemtype(name: str, datatype: str) -> np.dtype[Any]:
    """The dtype that holds a datatype. Raises InvalidArgument for a name the protocol does not have."""
    dtype = NUMPY.get(datatype)
    if dtype is None:
        near = f"; did you mean '{datatype.upper()}'?" if datatype.upper() in NUMPY else ""
        known = ", ".join(DATATYPES)
        raise InvalidArgument(f"tensor '{name}' has the unknown datatype '{datatype[:40]}'{near} (there are {known})")
    return dtype


def decode(name: str, datatype: str, shape: Sequence[int], data: bytes | memoryview) -> Tensor:
    """Bytes → tensor, without a copy where the bytes are aligned. Raises InvalidArgument when the size does not fit."""
    dtype = itemtype(name, datatype)
    count = elements(name, shape)
    if datatype == "BYTES":
        return Tensor(name, datatype, _decode_bytes(name, data, count).reshape(shape))
    if len(data) != count * dtype.itemsize:
        need = count * dtype.itemsize
        raise InvalidArgument(f"tensor '{name}' {datatype} {list(shape)} needs {need} bytes, {len(data)} were sent")
    array = np.frombuffer(data, dtype=dtype).reshape(shape)
    if datatype == "BOOL" and count and array.view("u1").max() > 1:
        raise InvalidArgument(f"tensor '{name}' BOOL holds a byte other than 0 and 1")
    return Tensor(name, datatype, array if array.flags.aligned else array.copy())


def encode(tensor: Tensor) -> bytes:
    if tensor.datatype == "BYTES":
        parts: list[bytes] = []
        for value in cast("list[bytes]", tensor.array.reshape(-1).tolist()):
            parts += (_LENGTH.pack(len(value)), value)
        return b"".join(parts)
    return tensor.array.tobytes()


def size_of(tensor: Tensor) -> int:
    """Bytes that `encode` would give."""
    if tensor.datatype != "BYTES":
        return tensor.array.nbytes
    values = cast("list[bytes]", tensor.array.reshape(-1).tolist())
    return _LENGTH.size * len(values) + sum(map(len, values))


def _decode_bytes(name: str, data: bytes | memoryview, count: int) -> Array:
    view = memoryview(data)
    if count * _LENGTH.size > len(view):
        raise InvalidArgument(f"tensor '{name}' BYTES: {len(view)} bytes cannot hold {count} elements")
    out = np.empty(count, dtype=object)
    at = 0
    for position in range(count):
        end = at + _LENGTH.size
        if end > len(view):
            raise InvalidArgument(f"tensor '{name}' BYTES ends inside the length of element {position}")
        at, end = end, end + _LENGTH.unpack_from(view, at)[0]
        if end > len(view):
            raise InvalidArgument(f"tensor '{name}' BYTES ends inside element {position}")
        out[position] = bytes(view[at:end])
        at = end
    if at != len(view):
        raise InvalidArgument(f"tensor '{name}' BYTES has {len(view) - at} bytes left after {count} elements")
    return out
