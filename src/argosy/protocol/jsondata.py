"""JSON tensor data: nested or flat arrays of numbers, booleans and strings.

JSON has no NaN, no infinity and no half floats. NaN and infinities are written as null; null is read as NaN for FP32
and FP64. FP16 and BF16 are refused with a pointer to the binary extension. Integers never pass through a float.
Unless it is to be strict, null is read as a missing text (empty) for BYTES, and 1.0 as 1 for integers.
"""

import contextlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

import msgspec
import numpy as np

from argosy.protocol.raw import elements, itemtype
from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import Array, Tensor

_ELEMENT: dict[str, Any] = {"f": float | None, "i": int, "u": int, "b": bool, "O": str}
_TOLERATED: dict[str, Any] = {"i": int | float, "u": int | float, "b": bool | int, "O": str | None}
_WHAT = {"f": "numbers", "i": "integers", "u": "integers", "b": "true or false", "O": "strings"}
WINDOW = 16 * 1024
"""Elements that are objects of Python at one time, where there are many."""
_encode = msgspec.json.Encoder().encode
_floats = msgspec.json.Decoder(list[float]).decode
_BINARY_ONLY = ("FP16", "BF16")


@cache
def _decoder(kind: str, depth: int, strict: bool = True) -> Callable[[msgspec.Raw], Any]:
    wanted = _ELEMENT[kind] if strict else _TOLERATED.get(kind, _ELEMENT[kind])
    for _ in range(depth):
        wanted = list[wanted]
    return msgspec.json.Decoder(wanted).decode


def decode(name: str, datatype: str, shape: Sequence[int], data: msgspec.Raw, strict: bool = False) -> Tensor:
    """JSON text → tensor. Raises InvalidArgument for wrong elements, counts, nesting or values out of range."""
    dtype = itemtype(name, datatype)
    if datatype in _BINARY_ONLY:
        raise InvalidArgument(f"tensor '{name}': {datatype} has no JSON form; send it as binary (binary_data_size)")
    count = elements(name, shape)
    if dtype.kind == "f":
        try:
            array = _array(name, datatype, _floats(data), dtype)
        except (msgspec.ValidationError, UnicodeDecodeError):
            array = _nested(name, datatype, data, strict)
    else:
        array = _nested(name, datatype, data, strict)
    return Tensor(name, datatype, _fit(name, array, tuple(shape), count))


def what(datatype: str) -> str:
    """What JSON data of this datatype holds, in words."""
    return _WHAT[itemtype("", datatype).kind]


def window(name: str, datatype: str, text: bytes, strict: bool = False) -> Array:
    """Elements with commas between them → an array. Raises InvalidArgument."""
    dtype, raw = itemtype(name, datatype), msgspec.Raw(b"[" + text + b"]")
    if dtype.kind == "f":
        with contextlib.suppress(msgspec.DecodeError):
            return _array(name, datatype, _floats(raw), dtype)
    return _built(name, datatype, raw, 1, strict)


def encode(tensor: Tensor) -> list[Any]:
    """Tensor → flat list for a JSON encoder. Raises InvalidArgument where JSON has no form for the data."""
    if tensor.datatype in _BINARY_ONLY:
        raise InvalidArgument(f"output '{tensor.name}': {tensor.datatype} has no JSON form; ask for binary_data")
    flat = tensor.array.ravel().tolist()
    if tensor.datatype != "BYTES":
        return flat
    try:
        return [value.decode() for value in cast("list[bytes]", flat)]
    except UnicodeDecodeError:
        raise InvalidArgument(
            f"output '{tensor.name}' holds bytes that are no UTF-8 text; ask for binary_data"
        ) from None


def write(tensor: Tensor, text: bytearray) -> None:
    """Append the flat JSON list of a tensor of many elements to a text, by windows. Raises as `encode` does."""
    flat = tensor.array.ravel()
    text += b"["
    for start in range(0, flat.size, WINDOW):
        part = Tensor(tensor.name, tensor.datatype, flat[start : start + WINDOW])
        text += memoryview(_encode(encode(part)))[1:-1]
        text += b","
    text[-1 if flat.size else len(text) :] = b"]"


def _nested(name: str, datatype: str, data: msgspec.Raw, strict: bool) -> Array:
    depth = _depth(memoryview(data))
    if depth > 32:
        raise InvalidArgument(f"tensor '{name}': data is nested more than 32 deep")
    return _built(name, datatype, data, depth, strict)


def _built(name: str, datatype: str, data: msgspec.Raw, depth: int, strict: bool) -> Array:
    """Elements nested so deep → an array. Raises InvalidArgument."""
    dtype = itemtype(name, datatype)
    try:
        values = _decoder(dtype.kind, depth)(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if not strict and dtype.kind in _TOLERATED:
            return _tolerated(name, datatype, data, depth)
        raise _misfit(name, datatype, error) from None
    return _strings(name, values, depth) if dtype.kind == "O" else _array(name, datatype, values, dtype)


def _tolerated(name: str, datatype: str, data: msgspec.Raw, depth: int) -> Array:
    """Whole numbers with a fraction of zero, truth values as 0 and 1, texts with gaps. Raises InvalidArgument."""
    dtype = itemtype(name, datatype)
    try:
        values = _decoder(dtype.kind, depth, False)(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _misfit(name, datatype, error) from None
    if dtype.kind == "O":
        return _strings(name, values, depth, gaps=True)
    found = np.array(values, dtype=object)
    try:
        whole = np.array([int(value) for value in found.reshape(-1)], dtype=object).reshape(found.shape)
    except (TypeError, OverflowError):
        raise InvalidArgument(f"tensor '{name}': data is a ragged array, or a number is too large") from None
    if (odd := found[whole != found]).size or (dtype.kind == "b" and (odd := whole[(whole != 0) & (whole != 1)]).size):
        raise InvalidArgument(f"tensor '{name}': {odd[0]} is no {datatype}")
    return _array(name, datatype, whole.tolist(), dtype)


def _misfit(name: str, datatype: str, error: Exception) -> InvalidArgument:
    return InvalidArgument(f"tensor '{name}' {datatype}: data must hold {what(datatype)} in even nesting: {error}")


def _depth(text: memoryview) -> int:
    depth = 0
    for byte in text:
        if byte == 0x5B:
            depth += 1
        elif byte not in b" \t\r\n":
            break
        if depth > 32:
            break
    return depth


def _array(name: str, datatype: str, values: Any, dtype: np.dtype[Any]) -> Array:
    try:
        with np.errstate(over="raise"):
            return np.array(values, dtype=dtype)
    except (OverflowError, FloatingPointError):
        raise InvalidArgument(f"tensor '{name}': a value is out of the range of {datatype}") from None
    except ValueError:
        raise InvalidArgument(f"tensor '{name}': data is a ragged array") from None


def _strings(name: str, values: Any, depth: int, *, gaps: bool = False) -> Array:
    shape: list[int] = []
    flat = cast("list[Any]", values if depth else [values])
    for axis in range(depth):
        if axis:
            if any(len(row) != len(flat[0]) for row in flat):
                raise InvalidArgument(f"tensor '{name}': data is a ragged array")
            shape.append(len(flat[0]) if flat else 0)
            flat = [item for row in flat for item in row]
        else:
            shape.append(len(flat))
    out = np.empty(len(flat), dtype=object)
    out[:] = [value.encode() for value in ([value or "" for value in flat] if gaps else flat)]
    return out.reshape(shape)


def _fit(name: str, array: Array, shape: tuple[int, ...], count: int) -> Array:
    if array.shape == shape:
        return array
    if array.size != count:
        raise InvalidArgument(f"tensor '{name}' has shape {list(shape)}: {count} elements, but {array.size} were sent")
    if array.ndim > 1 and count:
        raise InvalidArgument(f"tensor '{name}' has shape {list(shape)}, but data nested as {list(array.shape)}")
    return array.reshape(shape)
