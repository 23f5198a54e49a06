"""Universal Binary JSON as XGBoost reads it: what its own reader does not know is refused here, before it sees it."""

import struct
from mmap import mmap
from typing import Any

import numpy as np

from argosy.spec.errors import BadPackage

Buffer = bytes | mmap

NUMBERS = {"i": "i1", "U": "u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
"""Marker → type of a number, and of what a typed array holds."""
CONSTANTS = {"Z": None, "T": True, "F": False}
MAX_DEPTH = 64


def parse(data: Buffer) -> Any:
    """The one value that these bytes are: dicts, lists, texts, numbers; typed arrays are views of the data. Raises
    BadPackage for a marker or form that XGBoost does not read, a length beyond the data, a name that a table has twice,
    containers nested too deep, and bytes after the end."""
    reader = _Reader(data)
    found = reader.value(0)
    if reader.at != reader.size:
        raise BadPackage(f"{reader.size - reader.at} bytes come after its end")
    return found


class _Reader:
    """`at` is the next byte."""

    def __init__(self, data: Buffer) -> None:
        self.data, self.size, self.at = data, len(data), 0

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise BadPackage(f"nested more than {MAX_DEPTH} deep")
        marker = self._marker()
        if marker == "{":
            return self._table(depth + 1)
        if marker == "[":
            return self._array(depth + 1)
        if marker == "S":
            return self._text()
        if marker == "C":
            return self.data[self._take(1)]
        if marker in CONSTANTS:
            return CONSTANTS[marker]
        if marker not in NUMBERS:
            raise BadPackage(f"unknown marker {marker!r} at byte {self.at - 1}")
        return self._numbers(marker, 1)[0].item()

    def _table(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self._ended("}"):
            name = self._text()
            if name in found:
                raise BadPackage(f"'{name[:40]}' is there twice at byte {self.at}")
            found[name] = self.value(depth)
        return found

    def _array(self, depth: int) -> Any:
        if self._next("$"):
            if (kind := self._marker()) not in NUMBERS or not self._next("#"):
                raise BadPackage(f"an array of an unknown type at byte {self.at}")
            return self._numbers(kind, self._length())
        if not self._next("#"):
            found: list[Any] = []
            while not self._ended("]"):
                found.append(self.value(depth))
            return found
        if (count := self._length()) > self.size - self.at:
            raise BadPackage(f"truncated: {count} values cannot follow byte {self.at}")
        return [self.value(depth) for _ in range(count)]

    def _numbers(self, kind: str, count: int) -> Any:
        dtype = np.dtype(NUMBERS[kind])
        return (
            np.frombuffer(self.data, dtype, count, self._take(count * dtype.itemsize)) if count else np.empty(0, dtype)
        )

    def _text(self) -> str:
        length = self._length()
        start = self._take(length)
        try:
            return self.data[start : start + length].decode()
        except UnicodeDecodeError:
            raise BadPackage(f"a text at byte {start} is no UTF-8") from None

    def _length(self) -> int:
        if not self._next("L"):
            raise BadPackage(f"no length at byte {self.at}")
        start = self._take(8)
        length: int = struct.unpack(">q", self.data[start : start + 8])[0]
        if length < 0:
            raise BadPackage(f"a negative length at byte {start}")
        return length

    def _marker(self) -> str:
        return chr(self.data[self._take(1)])

    def _next(self, marker: str) -> bool:
        """Whether this marker comes next; then it is behind."""
        found = self.at < self.size and self.data[self.at] == ord(marker)
        self.at += found
        return found

    def _ended(self, bracket: str) -> bool:
        if self.at >= self.size:
            raise BadPackage(f"truncated: a container goes on past byte {self.at}")
        return self._next(bracket)

    def _take(self, count: int) -> int:
        """Go on by so many bytes; where they begin."""
        start = self.at
        if count > self.size - start:
            raise BadPackage(f"truncated: {count} bytes are needed from byte {start}, {self.size - start} are there")
        self.at += count
        return start
