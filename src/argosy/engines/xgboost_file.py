"""Is this a whole XGBoost model file? XGBoost itself crashes, or reads on past the end, on truncated UBJSON."""

import mmap
import struct
from pathlib import Path
from typing import Literal

from argosy.engines.base import check_file
from argosy.engines.wire import Buffer
from argosy.spec.errors import BadPackage

SIZES = {"Z": 0, "T": 0, "F": 0, "i": 1, "U": 1, "C": 1, "I": 2, "u": 2, "l": 4, "m": 4, "d": 4, "L": 8, "D": 8}
"""UBJSON marker → bytes of its value."""

INTEGERS = {"i": ">b", "U": ">B", "I": ">h", "u": ">H", "l": ">i", "m": ">I", "L": ">q"}
MAX_DEPTH = 64


def inspect(path: Path) -> Literal["json", "ubj"]:
    """Which of the formats it is, by content. Raises BadPackage for anything else, and for UBJSON cut short.

    Truncated JSON is left to XGBoost, whose JSON reader checks.
    """
    size = check_file(path, "an XGBoost model")
    with path.open("rb") as file:
        head = file.read(64)
        if head[:1] != b"{" or size < 16:
            old = " in the binary format XGBoost 3 no longer reads: load it with XGBoost 2 and save it as .ubj"
            raise BadPackage(f"{path.name} is no XGBoost model" + (old if head[:4] in (b"binf", b"CONF") else ""))
        if head[1:].lstrip()[:1] == b'"':
            return "json"
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _whole(data, size, path.name)
    return "ubj"


def inspect_bytes(data: bytes, name: str) -> None:
    """Raise BadPackage unless these are the bytes of a booster in a pickle: UBJSON, or JSON."""
    if data[:1] != b"{" or len(data) < 16:
        raise BadPackage(f"{name} is no XGBoost model")
    if data[1:64].lstrip()[:1] != b'"':
        _whole(data, len(data), name)


def _whole(data: Buffer, size: int, name: str) -> None:
    try:
        end = _walk(data, size)
    except (BadPackage, struct.error, IndexError) as error:
        raise BadPackage(f"{name} is not a whole XGBoost model: {error}") from None
    if end != size:
        raise BadPackage(f"{name} has {size - end} bytes after the end of its XGBoost model")


def _walk(data: Buffer, size: int) -> int:
    """The end of the UBJSON value at byte 0. Raises BadPackage where it goes past `size`.

    `left` holds, for each container that is open, how many values it still has: none of these end with a bracket;
    -1 for those that do.
    """
    kinds, left, at = ["{"], [-1], 1
    while kinds:
        byte = data[_bounded(at, size - 1)]
        if left[-1] == 0 or (left[-1] < 0 and byte == CLOSING[kinds[-1]]):
            at += left[-1] < 0
            kinds.pop()
            left.pop()
            if not kinds:
                break
            continue
        left[-1] -= left[-1] > 0
        if kinds[-1] == "{":
            at = _text(data, at, size)
        marker = chr(data[_bounded(at, size - 1)])
        if marker in "{[" and data[_bounded(at + 1, size - 1)] != 0x24:
            count, at = _count(data, at + 1, size)
            kinds.append(marker)
            left.append(count)
            if len(kinds) > MAX_DEPTH:
                raise BadPackage(f"nested more than {MAX_DEPTH} deep")
        else:
            at = _scalar(data, at, size)
    return at


CLOSING = {"{": 0x7D, "[": 0x5D}


def _count(data: Buffer, at: int, size: int) -> tuple[int, int]:
    """`#` and the number of values, or -1 where a bracket ends the container; and where the values begin."""
    return _integer(data, at + 1, size) if data[_bounded(at, size - 1)] == 0x23 else (-1, at)


def _scalar(data: Buffer, at: int, size: int) -> int:
    """The end of a number, a string, or an array of numbers all of one type."""
    marker = chr(data[at])
    if marker == "[":
        return _typed(data, at + 2, size)
    if marker == "S":
        return _text(data, at + 1, size)
    if marker not in SIZES:
        raise BadPackage(f"unknown marker {marker!r} at byte {at}")
    return _bounded(at + 1 + SIZES[marker], size)


def _typed(data: Buffer, at: int, size: int) -> int:
    """An array of one type: `$`, the type, `#`, the count, then the values without markers."""
    width = SIZES.get(chr(data[at]))
    if width is None or data[at + 1] != 0x23:
        raise BadPackage(f"a typed array of an unknown type at byte {at}")
    count, at = _integer(data, at + 2, size)
    return _bounded(at + count * width, size)


def _text(data: Buffer, at: int, size: int) -> int:
    length, at = _integer(data, at, size)
    return _bounded(at + length, size)


def _integer(data: Buffer, at: int, size: int) -> tuple[int, int]:
    form = INTEGERS.get(chr(data[at]))
    if form is None:
        raise BadPackage(f"no length at byte {at}")
    end = _bounded(at + 1 + struct.calcsize(form), size)
    value = struct.unpack(form, data[at + 1 : end])[0]
    if value < 0:
        raise BadPackage(f"a negative length at byte {at}")
    return value, end


def _bounded(at: int, size: int) -> int:
    if at > size:
        raise BadPackage(f"truncated: byte {at} is needed, {size} are there")
    return at
