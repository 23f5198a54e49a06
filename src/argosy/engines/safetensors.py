"""Safetensors files: what is in them by their header, and their tensors as arrays, without the library of that name."""

from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from argosy.spec.errors import BadPackage
from argosy.spec.tensor import Array, bf16_to_fp32

_KINDS = {1: "BOOL U8 I8 F8_E4M3 F8_E5M2 F8_E8M0", 2: "I16 U16 F16 BF16", 4: "I32 U32 F32", 8: "I64 U64 F64"}
WIDTH = {kind: width for width, kinds in _KINDS.items() for kind in kinds.split()}
"""Datatype → bytes of an element."""
NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U8": "u1"}
MOST_HEADER = 100 * 1024 * 1024
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


class Stored(NamedTuple):
    """A tensor in a file: its datatype, its shape, and the bytes `start` to `end` of the file."""

    file: Path
    datatype: str
    shape: tuple[int, ...]
    start: int
    end: int


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def inspect(path: Path) -> dict[str, Stored]:
    """The tensors of a file by name. Raises BadPackage where it is none, or truncated, or says what cannot be."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MOST_HEADER):
            raise BadPackage(f"{path.name} is no safetensors file, or its header is cut off: it has {size} bytes")
        try:
            header = msgspec.json.decode(file.read(length), type=dict[str, Any])
            header.pop("__metadata__", None)
            entries = msgspec.convert(header, dict[str, _Entry])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadPackage(f"the header of {path.name} is no safetensors header: {error}") from None
    found: dict[str, Stored] = {}
    for name, entry in entries.items():
        start, end = (8 + length + offset for offset in entry.data_offsets)
        if entry.dtype not in WIDTH:
            raise BadPackage(f"{path.name}: tensor '{name[:100]}' has the unknown datatype '{entry.dtype[:20]}'")
        if (
            min(entry.shape, default=0) < 0
            or end - start != prod(entry.shape) * WIDTH[entry.dtype]
            or start < 8 + length
        ):
            raise BadPackage(f"{path.name}: the bytes of tensor '{name[:100]}' are not those of its shape")
        if end > size:
            raise BadPackage(
                f"{path.name} is truncated: tensor '{name[:100]}' ends at byte {end} of {size}; fetch it again"
            )
        found[name] = Stored(path, entry.dtype, tuple(entry.shape), start, end)
    at = 8 + length
    for name, each in sorted(found.items(), key=lambda one: (one[1].start, one[1].end)):
        if each.start != at:
            raise BadPackage(f"{path.name}: tensor '{name[:100]}' does not begin where the one before it ends")
        at = each.end
    if at != size:
        raise BadPackage(f"{path.name}: {size - at} bytes follow its last tensor")
    return found


def inspect_folder(folder: Path) -> dict[str, Stored]:
    """The tensors of `model.safetensors`, or of all files that its index names. Raises BadPackage, also for a file that
    the index names and that is not there."""
    if not (folder / INDEX).is_file():
        return inspect(folder / WEIGHTS)
    try:
        index = msgspec.json.decode((folder / INDEX).read_bytes(), type=dict[str, Any])
        placed = msgspec.convert(index.get("weight_map"), dict[str, str])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadPackage(f"{INDEX} cannot be read: {error}") from None
    files = sorted({*placed.values()})
    if missing := [name[:100] for name in files if "/" in name or not (folder / name).is_file()]:
        raise BadPackage(
            f"{INDEX} names {len(files)} files, and of these {', '.join(missing[:5])} is not there: fetch it again"
        )
    found: dict[str, Stored] = {}
    for name in files:
        found |= inspect(folder / name)
    if wrong := [name[:100] for name, file in placed.items() if name not in found or found[name].file.name != file]:
        raise BadPackage(f"{INDEX} says of tensor '{wrong[0]}' that it is in {placed[wrong[0]]}, where it is not")
    return found


def read(stored: Stored) -> Array:
    """The tensor as an array of floats or integers; it lies in the file, except for BF16, which becomes FP32."""
    if stored.datatype not in NUMPY:
        raise BadPackage(f"{stored.file.name} holds {stored.datatype}, which cannot be read")
    array = np.memmap(stored.file, NUMPY[stored.datatype], "r", stored.start, stored.shape)
    return bf16_to_fp32(array) if stored.datatype == "BF16" else array
