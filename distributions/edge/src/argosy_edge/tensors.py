"""Tensors: the datatypes of the Open Inference Protocol, their bytes, their form in JSON, and files of them.

Little-endian and row-major; BYTES are object arrays of `bytes`, each element a u32 length and the bytes. In JSON null
is NaN for floats, and FP16 has no form.
"""

import math
import struct
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from argosy_edge.errors import BadPackage, InvalidArgument

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, Array]

NUMPY: dict[str, np.dtype[Any]] = {
    name: np.dtype(code)
    for name, code in (
        *(("BOOL", "bool"), ("UINT8", "u1"), ("UINT16", "<u2"), ("UINT32", "<u4"), ("UINT64", "<u8")),
        *(("INT8", "i1"), ("INT16", "<i2"), ("INT32", "<i4"), ("INT64", "<i8")),
        *(("FP16", "<f2"), ("FP32", "<f4"), ("FP64", "<f8"), ("BYTES", "O")),
    )
}
"""Datatype → dtype. (No device computes in BF16.)"""
MOST_AXES = 32
MOST_NESTED = 32
MOST_GOLDEN = 256 * 1024 * 1024
_LENGTH = struct.Struct("<I")
_HEADER = struct.Struct("<Q")
_ELEMENT: dict[str, Any] = {"f": float | None, "i": int, "u": int, "b": bool, "O": str}
_WHAT = {"f": "numbers", "i": "integers", "u": "integers", "b": "true or false", "O": "strings"}

Parameters = dict[str, str | int | float | bool | list[Any] | dict[str, Any]]
"""Lists and objects are those of metadata, which callers send back with it; they are passed over."""


class WireTensor(msgspec.Struct, forbid_unknown_fields=True):
    """A tensor of a body: as JSON `data`, or as `parameters.binary_data_size` bytes behind the JSON part."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: Parameters = {}


class _TensorFile(msgspec.Struct):
    outputs: list[WireTensor]


def decode(items: Sequence[WireTensor], rest: memoryview | None) -> Arrays:
    """Name → array of the tensors of a body; `rest` is what follows its JSON part. Raises InvalidArgument."""
    found: Arrays = {}
    at = 0
    for item in items:
        if item.name in found:
            raise InvalidArgument(f"the tensor '{item.name[:80]}' is given twice")
        size = item.parameters.get("binary_data_size")
        if "shared_memory_region" in item.parameters:
            raise InvalidArgument("shared memory is not supported: send the tensors, binary for instance")
        if size is None:
            found[item.name] = _of_json(item)
            continue
        if rest is None:
            raise InvalidArgument(
                f"'{item.name[:80]}' is binary, but there is no Inference-Header-Content-Length header"
            )
        if item.data or type(size) is not int or not 0 <= size <= len(rest) - at:
            raise InvalidArgument(
                f"'{item.name[:80]}': binary_data_size is {str(size)[:40]}, of {len(rest) - at} bytes that are left; "
                "it must be the number of its bytes, and there must be no 'data'"
            )
        found[item.name] = of_bytes(item.name, item.datatype, item.shape, rest[at : at + size])
        at += size
    if rest is not None and at != len(rest):
        raise InvalidArgument(f"{len(rest) - at} bytes belong to no tensor: the binary_data_size do not add up")
    return found


def of_bytes(name: str, datatype: str, shape: Sequence[int], data: bytes | memoryview) -> Array:
    """Bytes → array. Raises InvalidArgument where they do not fit."""
    dtype, count = _form(name, datatype, shape)
    if datatype == "BYTES":
        return _shaped(name, _strings_of(name, memoryview(data), count), shape)
    if len(data) != count * dtype.itemsize:
        need = count * dtype.itemsize
        raise InvalidArgument(
            f"tensor '{name[:80]}' {datatype} {list(shape)} needs {need} bytes, {len(data)} were sent"
        )
    array: Array = np.frombuffer(data, dtype)
    if datatype == "BOOL" and count and array.view("u1").max() > 1:
        raise InvalidArgument(f"tensor '{name[:80]}' BOOL holds a byte other than 0 and 1")
    return _shaped(name, array if array.flags.aligned else array.copy(), shape)


def to_bytes(array: Array) -> bytes:
    """The bytes of an array."""
    if array.dtype != object:
        return array.tobytes()
    return b"".join(part for value in array.reshape(-1) for part in (_LENGTH.pack(len(value)), value))


def to_json(name: str, datatype: str, array: Array) -> list[Any]:
    """A flat list. Raises InvalidArgument where JSON has no form for the values."""
    if datatype == "FP16":
        raise InvalidArgument(f"output '{name}': FP16 has no JSON form; ask for binary_data")
    flat = array.reshape(-1).tolist()
    if datatype != "BYTES":
        return flat
    try:
        return [value.decode() for value in flat]
    except UnicodeDecodeError:
        raise InvalidArgument(f"output '{name}' holds bytes that are no UTF-8 text; ask for binary_data") from None


def read(path: Path) -> dict[str, tuple[str, Array]]:
    """A file of tensors, as packages have their golden examples: name → datatype and array. Raises BadPackage."""
    try:
        if path.stat().st_size > MOST_GOLDEN:
            raise BadPackage(f"{path} is larger than {MOST_GOLDEN} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise BadPackage(f"{path} cannot be read: {error.strerror}") from None
    try:
        end = _HEADER.size + _HEADER.unpack_from(data)[0]
        header = msgspec.json.decode(memoryview(data)[_HEADER.size : end], type=_TensorFile)
        arrays = decode(header.outputs, memoryview(data)[end:])
    except (struct.error, msgspec.DecodeError, UnicodeDecodeError, OverflowError, InvalidArgument) as error:
        raise BadPackage(f"{path} is no file of tensors: {error}") from None
    return {item.name: (item.datatype, arrays[item.name]) for item in header.outputs}


def _form(name: str, datatype: str, shape: Sequence[int]) -> tuple[np.dtype[Any], int]:
    dtype = NUMPY.get(datatype)
    if dtype is None:
        raise InvalidArgument(f"tensor '{name[:80]}' has the datatype '{datatype[:40]}'; there are {', '.join(NUMPY)}")
    if len(shape) > MOST_AXES or min(shape, default=0) < 0:
        raise InvalidArgument(
            f"tensor '{name[:80]}' has {len(shape)} axes; there are at most {MOST_AXES}, and none is negative"
        )
    return dtype, math.prod(shape)


def _shaped(name: str, array: Array, shape: Sequence[int]) -> Array:
    if array.shape == tuple(shape):
        return array
    try:
        if array.ndim > 1 and array.size:
            raise ValueError(f"its data is nested as {list(array.shape)}")
        return array.reshape(shape)
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(f"tensor '{name[:80]}' has shape {list(shape)}: {error}") from None


def _strings_of(name: str, data: memoryview, count: int) -> Array:
    out = np.empty(min(count, len(data) // _LENGTH.size), dtype=object)
    at = 0
    try:
        for place in range(count):
            end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
            if end > len(data):
                raise IndexError
            out[place] = bytes(data[at + _LENGTH.size : end])
            at = end
    except (struct.error, IndexError):
        raise InvalidArgument(f"tensor '{name[:80]}' BYTES ends within one of its {count} elements") from None
    if at != len(data):
        raise InvalidArgument(f"tensor '{name[:80]}' BYTES has {len(data) - at} bytes behind its {count} elements")
    return out


def _of_json(item: WireTensor) -> Array:
    name, data = item.name[:80], bytes(item.data)
    dtype, _ = _form(name, item.datatype, item.shape)
    if item.datatype == "FP16":
        raise InvalidArgument(f"tensor '{name}': FP16 has no JSON form; send it as binary (binary_data_size)")
    depth = 0
    for byte in data:
        if byte == 0x5B and depth <= MOST_NESTED:
            depth += 1
        elif byte not in b" \t\r\n":
            break
    if not 0 < depth <= MOST_NESTED:
        raise InvalidArgument(f"tensor '{name}': 'data' must be a list, nested at most {MOST_NESTED} deep")
    try:
        values = _decoder(dtype.kind, depth)(data)
        with np.errstate(over="raise"):
            array: Array = np.array(values, dtype)
    except (OverflowError, FloatingPointError):
        raise InvalidArgument(f"tensor '{name}': a value is out of the range of {item.datatype}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        what = _WHAT[dtype.kind]
        raise InvalidArgument(
            f"tensor '{name}' {item.datatype}: data must hold {what}, evenly nested: {error}"
        ) from None
    if item.datatype == "BYTES":
        array = _encoded(name, array)
    return _shaped(name, array, item.shape)


@cache
def _decoder(kind: str, depth: int) -> Callable[[bytes], Any]:
    wanted = _ELEMENT[kind]
    for _ in range(depth):
        wanted = list[wanted]
    return msgspec.json.Decoder(wanted).decode


def _encoded(name: str, texts: Array) -> Array:
    out = np.empty(texts.shape, dtype=object)
    flat = out.reshape(-1)
    for place, text in enumerate(texts.reshape(-1)):
        if not isinstance(text, str):
            raise InvalidArgument(f"tensor '{name}': data is a ragged array")
        flat[place] = text.encode()
    return out
