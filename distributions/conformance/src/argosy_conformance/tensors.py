"""Tensors as the judge sees them: datatype, shape, little-endian row-major bytes (BYTES: uint32 length + bytes).

Written from the text of the protocol with `struct` alone, so that nothing here is shared with the code it may judge.
"""

import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from argosy_conformance.check import Failed

CODES = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
"""Datatype → format code of `struct`; BYTES is the thirteenth and has no fixed size."""

DATATYPES = (*CODES, "BYTES")
FLOATS = ("FP16", "FP32", "FP64")

EXTREMES: dict[str, tuple[Any, ...]] = {
    "BOOL": (True, False),
    "UINT8": (0, 255),
    "UINT16": (0, 65535),
    "UINT32": (0, 2**32 - 1),
    "UINT64": (0, 2**64 - 1, 2**53 + 1),
    "INT8": (-128, 127),
    "INT16": (-(2**15), 2**15 - 1),
    "INT32": (-(2**31), 2**31 - 1),
    "INT64": (-(2**63), 2**63 - 1, 2**53 + 1),
    "FP16": (65504.0, -0.0, 2.0**-24),
    "FP32": (3.4028234663852886e38, -0.0, 1.401298464324817e-45),
    "FP64": (1.7976931348623157e308, -0.0, 5e-324, 0.1),
    "BYTES": ("", "é漢😀", 'quote " and \\ and \n', "nul \x00 inside"),
}
"""Values at the borders of each datatype, as JSON can carry them."""


class Tensor(msgspec.Struct, frozen=True):
    """One named tensor; `raw` is its form in the binary extension and in raw gRPC contents."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes

    def values(self) -> list[Any]:
        """The elements, row-major; BYTES elements are `bytes`."""
        if self.datatype == "BYTES":
            return split_bytes(self.raw)
        code = CODES.get(self.datatype)
        if code is None:
            raise Failed(f"tensor '{self.name}' has datatype {self.datatype!r}, which the protocol does not list")
        size = struct.calcsize("<" + code)
        if len(self.raw) % size:
            raise Failed(f"tensor '{self.name}': {len(self.raw)} bytes are no whole number of {self.datatype} elements")
        return list(struct.unpack(f"<{len(self.raw) // size}{code}", self.raw))

    def texts(self) -> list[Any]:
        """The elements as JSON values."""
        return [value.decode() if isinstance(value, bytes) else value for value in self.values()]

    def json(self, *, nested: bool = False) -> dict[str, Any]:
        """The tensor as an element of `inputs`, flat or nested."""
        flat = self.texts()
        data = nest(flat, self.shape) if nested else flat
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape), "data": data}

    def renamed(self, name: str) -> "Tensor":
        """The same tensor under another name."""
        return Tensor(name, self.datatype, self.shape, self.raw)


def tensor(name: str, datatype: str, shape: Sequence[int], values: Sequence[Any]) -> Tensor:
    """Pack values; raises Failed when they do not fit the datatype."""
    return Tensor(name, datatype, tuple(shape), pack(datatype, values))


def pack(datatype: str, values: Sequence[Any]) -> bytes:
    """Elements → little-endian bytes. Raises Failed when a value has the wrong type or range."""
    try:
        if datatype == "BYTES":
            return b"".join(_prefixed(value) for value in values)
        return struct.pack(f"<{len(values)}{CODES[datatype]}", *(_exact(datatype, value) for value in values))
    except (struct.error, OverflowError, TypeError, KeyError) as error:
        raise Failed(f"values that do not fit {datatype}: {error}") from None


def _exact(datatype: str, value: Any) -> Any:
    if datatype == "BOOL" and not isinstance(value, bool):
        raise TypeError(f"{value!r} is not true or false")
    if datatype.startswith(("INT", "UINT")) and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError(f"{value!r} is no integer")
    return value


def _prefixed(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<I", len(data)) + data


def split_bytes(raw: bytes) -> list[bytes]:
    """The elements of a BYTES tensor. Raises Failed when a length runs past the end."""
    found: list[bytes] = []
    at = 0
    while at < len(raw):
        if at + 4 > len(raw):
            raise Failed("a BYTES tensor ends inside a length")
        (length,) = struct.unpack_from("<I", raw, at)
        if at + 4 + length > len(raw):
            raise Failed("a BYTES element runs past the end of its tensor")
        found.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def count(shape: Sequence[int]) -> int:
    """The number of elements of a shape; 1 for a scalar."""
    total = 1
    for axis in shape:
        total *= axis
    return total


def nest(flat: list[Any], shape: Sequence[int]) -> Any:
    """A flat row-major list as nested lists; a scalar stays a list of one, as JSON `data` must be an array."""
    if len(shape) <= 1:
        return flat
    step = count(shape[1:])
    return [nest(flat[row * step : (row + 1) * step], shape[1:]) for row in range(shape[0])]


def flatten(data: Any) -> list[Any]:
    """Nested lists → a flat row-major list."""
    if not isinstance(data, list):
        return [data]
    flat: list[Any] = []
    for item in data:  # pyright: ignore[reportUnknownVariableType]
        flat.extend(flatten(item))
    return flat


def made(name: str, datatype: str, shape: Sequence[int], seed: int = 0) -> Tensor:
    """A valid tensor with values that depend on `seed`: small, so that any model can take them."""
    total = count(shape)
    values: list[Any]
    if datatype == "BOOL":
        values = [(seed + place) % 2 == 0 for place in range(total)]
    elif datatype == "BYTES":
        values = [f"row {seed}.{place}" for place in range(total)]
    elif datatype in FLOATS:
        values = [((seed * 31 + place * 7) % 64) / 64 for place in range(total)]
    else:
        values = [(seed * 31 + place * 7) % 100 for place in range(total)]
    return tensor(name, datatype, shape, values)
