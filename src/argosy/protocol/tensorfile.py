"""Tensors in a file: a u64 little-endian header length, then the body of an all-binary inference response.

The same bytes for the same tensors, on every machine.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

import msgspec

from argosy.protocol import raw
from argosy.spec.errors import BadPackage, InvalidArgument
from argosy.spec.tensor import Tensor

_HEADER = struct.Struct("<Q")
_MAX_HEADER = 16 * 1024 * 1024


class _Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    binary_data_size: int


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: _Parameters


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    outputs: tuple[_Entry, ...]


def dump(tensors: Sequence[Tensor]) -> bytes:
    """Tensors → bytes."""
    bodies = [raw.encode(tensor) for tensor in tensors]
    entries = tuple(
        _Entry(tensor.name, tensor.datatype, tensor.shape, _Parameters(len(body)))
        for tensor, body in zip(tensors, bodies, strict=True)
    )
    header = msgspec.json.encode(_Header(entries))
    return b"".join((_HEADER.pack(len(header)), header, *bodies))


def parse(data: bytes, where: str = "tensor file") -> list[Tensor]:
    """Bytes → tensors. Raises BadPackage when they are cut, altered or no tensor file."""
    if len(data) < _HEADER.size:
        raise BadPackage(f"{where} is cut short: {len(data)} bytes")
    length = _HEADER.unpack_from(data)[0]
    if length > min(_MAX_HEADER, len(data) - _HEADER.size):
        raise BadPackage(f"{where}: its header says {length} bytes, the file has {len(data)}")
    at = _HEADER.size + length
    view = memoryview(data)
    tensors: list[Tensor] = []
    try:
        for entry in msgspec.json.decode(view[_HEADER.size : at], type=_Header).outputs:
            end = at + max(entry.parameters.binary_data_size, 0)
            tensors.append(raw.decode(entry.name, entry.datatype, entry.shape, view[at:end]))
            at = end
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidArgument) as error:
        raise BadPackage(f"{where}: {error}") from None
    if at != len(data):
        raise BadPackage(f"{where}: {len(data) - at} bytes follow the last tensor")
    return tensors


def write(path: Path, tensors: Sequence[Tensor]) -> None:
    """Write tensors to a file."""
    path.write_bytes(dump(tensors))


def read(path: Path) -> list[Tensor]:
    """Read the tensors of a file. Raises BadPackage."""
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise BadPackage(f"{path} cannot be read: {error.strerror}") from None
