"""JSON requests of more than 64 KiB, decoded so that no more is built than they declare.

msgspec skips what is left as raw text without building it. So the outline is read first; of the data of each tensor its
brackets and commas are compared with the declared shape, and its elements decoded by windows into one array.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import msgspec
import numpy as np

from argosy.protocol import jsondata
from argosy.protocol.raw import elements, itemtype
from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import Array, Tensor

WINDOW = 128 * 1024
"""Bytes of text whose elements are objects of Python at one time."""
STRINGS = 4096
"""Strings that are."""
MOST_MANNER = 64 * 1024
"""Bytes of a shape, of parameters, and of all outputs asked for."""

_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b"[],")
_UNBRACKETED = bytes(0x20 if byte in b"[]" else byte for byte in range(256))
_BLANK = b" \t\r\n"
STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|null', re.DOTALL)
_SOME = re.compile(rb'(?:(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"|null)[^"n]*+){1,%d}' % STRINGS, re.DOTALL)
"""Strings and gaps; in valid JSON an n outside of strings begins a null."""


class Item(msgspec.Struct):
    """A tensor whose text is left as it is."""

    name: str
    shape: msgspec.Raw
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: msgspec.Raw = msgspec.Raw(b"{}")


class StrictItem(Item, forbid_unknown_fields=True):
    """One without fields that the protocol does not have."""


class Outline(msgspec.Struct):
    """A request of which only names are read. Absent parts are empty."""

    inputs: msgspec.Raw
    id: str | None = None
    parameters: msgspec.Raw = msgspec.Raw(b"null")
    outputs: msgspec.Raw = msgspec.Raw(b"null")


class StrictOutline(Outline, forbid_unknown_fields=True):
    """One without fields that the protocol does not have."""

    model_name: str | None = None
    model_version: str | None = None


_outline = msgspec.json.Decoder(Outline).decode
_strict_outline = msgspec.json.Decoder(StrictOutline).decode


def outline(text: bytes | memoryview, *, strict: bool) -> Outline:
    """The outline of a request. Raises msgspec.DecodeError."""
    return (_strict_outline if strict else _outline)(text)


@cache
def _decoder_of_items(most: int, strict: bool) -> Callable[[msgspec.Raw], Any]:
    """Of a list with at most so many items: the first too many is an error before it is built."""
    item: Any = (StrictItem if strict else Item) | msgspec.UnsetType
    fields: list[Any] = [(f"i{number}", item, msgspec.UNSET) for number in range(most)]
    kind: Any = msgspec.defstruct("inputs", fields, array_like=True, forbid_unknown_fields=True)
    return msgspec.json.Decoder(kind).decode


def items(inputs: msgspec.Raw, most: int, *, strict: bool) -> list[Item]:
    """The tensors of an outline, at most so many. Raises msgspec.ValidationError."""
    found = _decoder_of_items(most, strict)(inputs)
    return [item for name in found.__struct_fields__ if (item := getattr(found, name)) is not msgspec.UNSET]


def manner(text: msgspec.Raw, kind: Any, what: str) -> Any:
    """A small part of a request. Raises InvalidArgument where it is not, msgspec.ValidationError."""
    size = len(text)
    if size > MOST_MANNER:
        raise InvalidArgument(f"{what} has {size} bytes; at most {MOST_MANNER} are taken")
    return msgspec.json.decode(text, type=kind)


def decode(name: str, datatype: str, shape: Sequence[int], data: msgspec.Raw, strict: bool = False) -> Tensor:
    """JSON text → tensor, as `jsondata.decode` does. Raises InvalidArgument."""
    dtype = itemtype(name, datatype)
    count = elements(name, shape)
    text = memoryview(data)
    if datatype in ("FP16", "BF16") or count == 0 or bytes(text[:1]) != b"[":
        if len(text) > WINDOW and datatype not in ("FP16", "BF16"):
            raise InvalidArgument(f"tensor '{name}' has shape {list(shape)}, but data of {len(text)} bytes")
        return jsondata.decode(name, datatype, shape, data, strict)
    if dtype.kind == "O":
        return Tensor(name, datatype, _texts(name, tuple(shape), count, text, strict))
    return Tensor(name, datatype, _numbers(name, datatype, tuple(shape), count, text, strict))


def _numbers(name: str, datatype: str, shape: tuple[int, ...], count: int, text: memoryview, strict: bool) -> Array:
    found = bytes(text).translate(None, _NOT_STRUCTURE)
    commas = found.count(b",")
    if commas + 1 != count:
        raise InvalidArgument(f"tensor '{name}' has shape {list(shape)}: {count} elements, but {commas + 1} were sent")
    lists = found.count(b"[")
    nested = len(shape) > 1 and lists > 1
    if not (lists == _lists(shape) and found == _structure(shape) if nested else lists == 1):
        raise _uneven(name, datatype, shape)
    del found
    out, filled = np.empty(count, itemtype(name, datatype)), 0
    for window in _windows(name, text):
        values = jsondata.window(name, datatype, window.translate(_UNBRACKETED) if nested else window, strict)
        if filled + values.size > count:
            raise _uneven(name, datatype, shape)
        out[filled : filled + values.size] = values
        filled += values.size
    if filled != count:
        raise _uneven(name, datatype, shape)
    return out.reshape(shape)


def _windows(name: str, text: memoryview) -> Iterator[bytes]:
    """Elements with the commas between them, without the outermost brackets."""
    at, end = 1, len(text) - 1
    while at < end:
        part = bytes(text[at : min(at + WINDOW, end)])
        cut = len(part) if at + len(part) == end else part.rfind(b",")
        if cut < 0:
            raise InvalidArgument(f"tensor '{name}': an element has more than {WINDOW} characters")
        yield part[:cut]
        at += cut + 1


def _texts(name: str, shape: tuple[int, ...], count: int, text: memoryview, strict: bool) -> Array:
    if 3 * count > len(text) + 1:
        raise InvalidArgument(f"tensor '{name}' has shape {list(shape)}: {count} elements, but fewer were sent")
    out, filled, found = np.empty(count, object), 0, bytearray()
    start = next((match.start() for match in _TEXT.finditer(text)), len(text))
    found += bytes(text[:start]).translate(None, _BLANK)
    for match in _SOME.finditer(text, start):
        part = match.group()
        tokens = _TEXT.findall(part)
        if filled + len(tokens) > count:
            raise InvalidArgument(f"tensor '{name}' has shape {list(shape)}: {count} elements, but more were sent")
        out[filled : filled + len(tokens)] = jsondata.window(name, "BYTES", b",".join(tokens), strict)
        filled += len(tokens)
        found += _TEXT.sub(b"", part).translate(None, _BLANK)
    flat = found.count(b"[") == 1
    if filled != count or not (flat or found.count(b"[") == _lists(shape)):
        raise _uneven(name, "BYTES", shape)
    if bytes(found) != _structure((count,) if flat else shape):
        raise _uneven(name, "BYTES", shape)
    return out.reshape(shape)


def _lists(shape: tuple[int, ...]) -> int:
    """The number of lists that data nested in this shape has."""
    return sum(math.prod(shape[:axis]) for axis in range(len(shape)))


def _structure(shape: tuple[int, ...]) -> bytes:
    """The brackets and commas of data nested in this shape, which has no empty axis."""
    text = b""
    for axis in reversed(shape):
        text = b"[" + ((text + b",") * axis)[:-1] + b"]"
    return text


def _uneven(name: str, datatype: str, shape: tuple[int, ...]) -> InvalidArgument:
    return InvalidArgument(
        f"tensor '{name}' {datatype} has shape {list(shape)}: data must hold {jsondata.what(datatype)}, flat or nested "
        "in that shape"
    )
