"""What a device makes of what was sent: files out of the ways of a plan, chunks of its own files, pieces of a blob."""

import hashlib
import os
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .transfer import (
    ENTRY,
    HEAD,
    MOST,
    PATCH,
    PLANES,
    SEGMENT,
    WINDOW,
    Piece,
    around,
    beside,
    chunked,
    mapped,
    raw,
)
from .wire import PIECE, Transfer, UpdateFile, WireError

DEVICES = "backports.zstd"
READ = 256 * 1024


class ChunkPlace(NamedTuple):
    """Where a chunk lies on this device."""

    path: Path
    start: int


class Assembly:
    """A file of known size and SHA-256 that is being written."""

    def __init__(self, path: Path, file: UpdateFile) -> None:
        self.file, self.path, self.written = file, path, 0
        self._hasher = hashlib.sha256()
        self._handle = path.open("wb", buffering=0)

    def write(self, data: bytes | memoryview) -> None:
        """Raises WireError beyond the size."""
        self.written += len(data)
        if self.written > self.file.size:
            raise WireError(f"what was sent for {self.file.path} makes more than its {self.file.size} bytes")
        self._hasher.update(data)
        view = memoryview(data)
        while view:
            view = view[self._handle.write(view) :]

    def done(self) -> None:
        """Have it on the disk. Raises WireError where it is not what was signed."""
        if self.written != self.file.size:
            raise WireError(f"what was sent for {self.file.path} makes {self.written} bytes, not {self.file.size}")
        if (found := self._hasher.hexdigest()) != self.file.sha256:
            raise WireError(
                f"what was sent makes {self.file.path} another file: sha256 {found}, not {self.file.sha256}"
            )
        os.fsync(self._handle.fileno())

    def close(self) -> None:
        self._handle.close()


def apply(way: Transfer, blob: Path, into: Path, file: UpdateFile, base: Path | None = None) -> None:
    """Make `into` the file, from the blob of a way, `full` or `patch` (with `base`), and have it on the disk. Raises
    WireError where it is not the file that was signed; then `into` is gone."""
    output = Assembly(into, file)
    try:
        with blob.open("rb") as source:
            if way.kind == "full":
                _full(source, output)
            elif base is not None:
                _patch(source, mapped(base), output)
            else:
                raise WireError(f"a way of the kind {way.kind} needs a file of the device to make {file.path}")
        output.done()
    except BaseException:
        into.unlink(missing_ok=True)
        raise
    finally:
        output.close()


def _full(source: BinaryIO, output: Assembly) -> None:
    zstd = _zstd()
    try:
        if zstd.__name__ == DEVICES:
            reader = zstd.ZstdFile(source, options={zstd.DecompressionParameter.window_log_max: WINDOW})
        else:
            reader = zstd.ZstdDecompressor(max_window_size=1 << WINDOW).stream_reader(source)
        with reader:
            while data := reader.read(READ):
                output.write(data)
    except (zstd.ZstdError, EOFError) as error:
        raise WireError(f"what was sent for {output.file.path} is no zstd: {error}") from None


def _patch(source: BinaryIO, old: memoryview, output: Assembly) -> None:
    what = f"the patch for {output.file.path}"
    if source.read(len(PATCH)) != PATCH:
        raise WireError(f"{what} is none, or of another form")
    while output.written < output.file.size:
        wanted = min(SEGMENT, output.file.size - output.written)
        head = source.read(HEAD.size)
        if len(head) != HEAD.size:
            raise WireError(f"{what} ends early")
        planes, shift, length = HEAD.unpack(head)
        if length > wanted + wanted // 64 + 1024 or planes not in (0, *PLANES):
            raise WireError(f"{what} has a segment that cannot be")
        frame = source.read(length)
        if not planes:
            output.write(_unframed(frame, wanted, what, around(old, output.written, wanted)))
            continue
        mixed = joined(_unframed(frame, wanted + -wanted % planes, what), planes)[:wanted]
        output.write(np.bitwise_xor(mixed, beside(old, output.written + shift, wanted)).tobytes())
    if source.read(1):
        raise WireError(f"{what} goes on behind its end")


def _unframed(frame: bytes, size: int, what: str, prefix: memoryview | None = None) -> bytes:
    """What a frame of zstd holds, which has to be of this size: nothing is taken for a frame that says another."""
    zstd = _zstd()
    try:
        if zstd.__name__ == DEVICES:
            known = zstd.ZstdDict(prefix, is_raw=True).as_prefix if prefix and len(prefix) >= 8 else None
            found = zstd.ZstdDecompressor(zstd_dict=known).decompress(frame, size + 1)
        elif zstd.frame_content_size(frame) != size:
            raise WireError(f"{what} has a segment of another size")
        else:
            found = zstd.ZstdDecompressor(dict_data=raw(prefix) if prefix else None).decompress(frame)
    except (zstd.ZstdError, ValueError) as error:
        raise WireError(f"{what} does not fit the device's file: {error}") from None
    if len(found) != size:
        raise WireError(f"{what} has a segment of another size")
    return found


def joined(data: bytes, planes: int) -> np.ndarray[Any, Any]:
    """The reverse of `split`."""
    return np.frombuffer(data, "u1").reshape(planes, -1).T.ravel()


def chunks_of(data: bytes, file: UpdateFile) -> list[Piece]:
    """A list of chunks that came. Raises WireError where they do not make up the file's size."""
    if len(data) % ENTRY.size:
        raise WireError(f"the list of chunks of {file.path} ends within one")
    pieces = [Piece(digest.hex(), size) for digest, size in ENTRY.iter_unpack(data)]
    if any(not 0 < each.size <= MOST for each in pieces) or sum(each.size for each in pieces) != file.size:
        raise WireError(f"the list of chunks of {file.path} does not make up its {file.size} bytes")
    return pieces


def spans(paths: Sequence[Path]) -> dict[str, ChunkPlace]:
    """Every chunk that files of this device have."""
    found: dict[str, ChunkPlace] = {}
    for path in paths:
        found |= {piece.sha256: ChunkPlace(path, start) for start, piece in chunked(mapped(path))}
    return found


def pieces_of(way: Transfer) -> list[Piece]:
    """The pieces of a way's blob. Raises WireError where the plan contradicts itself."""
    count = -(-way.size // PIECE)
    if way.size < 0 or len(way.pieces) != count:
        raise WireError(f"the plan has {len(way.pieces)} pieces for a blob of {way.size} bytes; it takes {count}")
    return [Piece(each, min(PIECE, way.size - at * PIECE)) for at, each in enumerate(way.pieces)]


@cache
def _zstd() -> Any:
    """The backport of Python's own module, which devices have: zstandard takes fifteen times the disk. The platform has
    zstandard, with which it compresses."""
    try:
        return import_module(DEVICES)
    except ModuleNotFoundError:
        return import_module("zstandard")
