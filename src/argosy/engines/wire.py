"""The protobuf wire format, just enough to walk a file without reading its tensors."""

from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

from argosy.spec.errors import BadPackage

Buffer = bytes | mmap

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """A field of a message: its number, and its value: an integer in `start` (varints), or the bytes start:end."""

    number: int
    wire: int
    start: int
    end: int


def fields(data: Buffer, start: int, end: int) -> Iterator[Field]:
    """The fields of the message at start:end, in order. Raises BadPackage for what is truncated or no protobuf."""
    while start < end:
        key, start = varint(data, start, end)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise BadPackage(f"not a protobuf message: field number 0 at byte {start}")
        if wire == VARINT:
            value, start = varint(data, start, end)
            yield Field(number, wire, value, start)
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(wire)
        if wire == BYTES:
            size, start = varint(data, start, end)
        if size is None:
            raise BadPackage(f"not a protobuf message: wire type {wire} at byte {start}")
        if size > end - start:
            raise BadPackage(f"truncated: {size} bytes announced at byte {start}, {end - start} are there")
        yield Field(number, wire, start, start + size)
        start += size


def varint(data: Buffer, start: int, end: int) -> tuple[int, int]:
    """The integer at `start` and where the next thing begins. Raises BadPackage past 10 bytes or the end."""
    value = 0
    for shift in range(0, 70, 7):
        if start >= end:
            raise BadPackage(f"truncated in the middle of a number at byte {start}")
        byte = data[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, start
    raise BadPackage(f"not a protobuf message: a number of more than 10 bytes at byte {start}")


def text(data: Buffer, field: Field) -> str:
    """A string field. Raises BadPackage unless it is UTF-8."""
    try:
        return data[field.start : field.end].decode()
    except UnicodeDecodeError:
        raise BadPackage(f"a name at byte {field.start} is not UTF-8") from None
