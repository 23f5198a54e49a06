"""Is this a whole XGBoost model file? XGBoost itself crashes, or reads on past the end, on truncated UBJSON."""

import mmap
import struct
from pathlib import Path
from typing import Literal

from argosy.engines.base import check_file
from argosy.engines.wire import Buffer
from argosy.spec.errors import BadPackage

SIZES = {"Z": 0, "N": 0, "T": 0, "F": 0, "i": 1, "U": 1, "C": 1, "I": 2, "u": 2, "l": 4, "m": 4, "d": 4, "L": 8, "D": 8}
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
            try:
                end = _walk(data, size)
            except (BadPackage, struct.error, IndexError) as error:
                raise BadPackage(f"{path.name} is not a whole XGBoost model: {error}") from None
    if end != size:
        raise BadPackage(f"{path.name} has {size - end} bytes after the end of its XGBoost model")
    return "ubj"


def _walk(data: Buffer, size: int) -> int:
    """The end of the UBJSON value at byte 0. Raises BadPackage where it goes past `size`."""
    at = _bounded(1, size)
    open_ = ["{"]
    while open_:
        at = _skip_noop(data, at, size)
        if data[at] == (0x7D if open_[-1] == "{" else 0x5D):
            open_.pop()
            at += 1
            continue
        if open_[-1] == "{":
            at = _text(data, at, size)
        marker = chr(data[_bounded(at, size - 1)])
        at += 1
        if marker == "[" and data[_bounded(at, size - 1)] == 0x24:
            at = _typed(data, at + 1, size)
        elif marker in "{[":
            open_.append(marker)
            if len(open_) > MAX_DEPTH:
                raise BadPackage(f"nested more than {MAX_DEPTH} deep")
            at = _counted(data, at, size, open_)
        elif marker == "S":
            at = _text(data, at, size)
        elif marker in SIZES:
            at = _bounded(at + SIZES[marker], size)
        else:
            raise BadPackage(f"unknown marker {marker!r} at byte {at - 1}")
    return at


def _counted(data: Buffer, at: int, size: int, open_: list[str]) -> int:
    """Containers with a count and no type: XGBoost writes none around other values, only empty ones."""
    if data[_bounded(at, size - 1)] != 0x23:
        return at
    count, at = _integer(data, at + 1, size)
    if count:
        raise BadPackage(f"a counted container of {count} at byte {at}")
    open_.pop()
    return at


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


def _skip_noop(data: Buffer, at: int, size: int) -> int:
    while data[_bounded(at, size - 1)] == 0x4E:
        at += 1
    return at


def _bounded(at: int, size: int) -> int:
    if at > size:
        raise BadPackage(f"truncated: byte {at} is needed, {size} are there")
    return at
