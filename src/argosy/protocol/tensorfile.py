"""Tensors in a file: a u64 little-endian header length, then the body of an all-binary inference response.

The same bytes for the same tensors, on every machine.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

import msgspec

from argosy.protocol import rest
from argosy.spec.errors import BadPackage, InvalidArgument
from argosy.spec.tensor import Tensor

_HEADER = struct.Struct("<Q")
_MAX_HEADER = 16 * 1024 * 1024


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    outputs: list[rest.WireTensor]


def dump(tensors: Sequence[Tensor]) -> bytes:
    body, length = rest.encode_mixed({}, "outputs", tensors, [True] * len(tensors))
    return _HEADER.pack(length or len(body)) + body


def parse(data: bytes, where: str = "tensor file") -> list[Tensor]:
    """Bytes → tensors. Raises BadPackage when they are cut, altered or no tensor file."""
    if len(data) < _HEADER.size:
        raise BadPackage(f"{where} is cut short: {len(data)} bytes")
    length = _HEADER.unpack_from(data)[0]
    if length > min(_MAX_HEADER, len(data) - _HEADER.size):
        raise BadPackage(f"{where}: its header says {length} bytes, the file has {len(data)}")
    at = _HEADER.size + length
    view = memoryview(data)
    try:
        header = msgspec.json.decode(view[_HEADER.size : at], type=_Header)
        return rest.decode_tensors(header.outputs, view[at:], "output")
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidArgument) as error:
        raise BadPackage(f"{where}: {error}") from None


def write(path: Path, tensors: Sequence[Tensor]) -> None:
    path.write_bytes(dump(tensors))


def read(path: Path) -> list[Tensor]:
    """Read the tensors of a file. Raises BadPackage."""
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise BadPackage(f"{path} cannot be read: {error.strerror}") from None
