"""How a file crosses the network, as both sides have it: the formats of what is sent, and what is made of them.

Sizes are known before anything is read, from what was signed and from the plan; whatever goes beyond them is refused,
so that no data costs more memory or disk than it may. The agent has this file by a link.

A patch: `PATCH`, then for each `SEGMENT` of the new file a head and a frame of zstd. A frame has the old file's bytes
around the segment (`MARGIN` on both sides) as its prefix, so memory does not grow with the file; or it holds the
exclusive or of both files, byte planes apart, for weights that all changed a little. A list of chunks: the SHA-256 and
the size (four bytes, little-endian) of each.
"""

import hashlib
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .wire import PIECE, Transfer, UpdateFile, WireError

PATCH = b"A1"
SEGMENT = 4 * 1024 * 1024
MARGIN = 4 * 1024 * 1024
HEAD = struct.Struct("<BiI")
"""Of a segment: how many byte planes (0: the old file is the prefix), how far the old file's bytes lie ahead of the new
one's, bytes of the frame."""
PLANES = (1, 2, 4, 8)
WINDOW = 23
"""log2 of the most that is looked back in a whole file: what decompressing it takes of memory."""
READ = 256 * 1024
LEAST, USUAL, MOST = 4 * 1024, 16 * 1024, 64 * 1024
"""Bytes of a chunk."""
ENTRY = struct.Struct("<32sI")
DEVICES = "backports.zstd"
_BOX = 1024 * 1024


class Piece(NamedTuple):
    """A part of a file, by content: its SHA-256 and its bytes."""

    sha256: str
    size: int


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


def raw(prefix: memoryview) -> Any:
    """Bytes that a frame may refer to, for zstandard."""
    zstd = import_module("zstandard")
    return zstd.ZstdCompressionDict(prefix, dict_type=zstd.DICT_TYPE_RAWCONTENT)


def around(old: memoryview, start: int, size: int) -> memoryview:
    """What a segment of the new file may refer to."""
    return old[max(0, start - MARGIN) : start + size + MARGIN]


def beside(old: memoryview, start: int, size: int) -> np.ndarray[Any, Any]:
    """`size` bytes of the old file, zeros where it has none."""
    found = np.zeros(size, "u1")
    low, high = max(start, 0), min(max(start + size, 0), len(old))
    if low < high:
        found[low - start : high - start] = np.frombuffer(old[low:high], "u1")
    return found


def split(data: np.ndarray[Any, Any], planes: int) -> bytes:
    """The first byte of every `planes` bytes, then the second ones; zeros fill the last one up."""
    return np.pad(data, (0, -len(data) % planes)).reshape(-1, planes).T.tobytes()


def joined(data: bytes, planes: int) -> np.ndarray[Any, Any]:
    """The reverse of `split`."""
    return np.frombuffer(data, "u1").reshape(planes, -1).T.ravel()


def mapped(path: Path) -> memoryview:
    """The content of a file, which is read as it is used, and let go with the last use."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


@cache
def _gear() -> np.ndarray[Any, Any]:
    """A number for each byte. They are part of the format."""
    return np.array([int.from_bytes(hashlib.sha256(bytes([at])).digest()[:4], "big") for at in range(256)], "u4")


def cuts(data: memoryview) -> list[int]:
    """Where chunks end. It depends on the 32 bytes before an end alone, so what is inserted moves the ends behind it
    along: before the usual size one byte in 2^16 is an end, from then on one in 2^13."""
    ends: list[int] = []
    strict: list[int] = []
    loose: list[int] = []
    for box in range(0, len(data), _BOX):
        start = max(0, box - 31)
        rolling = _gear()[np.frombuffer(data[start : box + _BOX], "u1")]
        for power in range(5):
            width = 1 << power
            before = rolling.copy()
            rolling[width:] += before[:-width] << np.uint32(width)
        rolling = rolling[box - start :]
        places = np.flatnonzero(rolling >> np.uint32(19) == 0)
        loose += (places + (box + 1)).tolist()
        strict += (places[rolling[places] >> np.uint32(16) == 0] + (box + 1)).tolist()
    begun = hard = easy = 0
    while begun < len(data):
        while hard < len(strict) and strict[hard] < begun + LEAST:
            hard += 1
        while easy < len(loose) and loose[easy] < begun + USUAL:
            easy += 1
        found = min(begun + MOST, len(data))
        if easy < len(loose):
            found = min(found, loose[easy])
        if hard < len(strict) and strict[hard] < begun + USUAL:
            found = min(found, strict[hard])
        ends.append(begun := found)
    return ends


def chunked(data: memoryview) -> Iterator[tuple[int, Piece]]:
    """Every chunk of a file, and where it begins."""
    begun = 0
    for end in cuts(data):
        yield begun, Piece(hashlib.sha256(data[begun:end]).hexdigest(), end - begun)
        begun = end


def listed(pieces: Sequence[Piece]) -> bytes:
    """A list of chunks, as it is sent."""
    return b"".join(ENTRY.pack(bytes.fromhex(each.sha256), each.size) for each in pieces)


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


def hashed(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _zstd() -> Any:
    """The backport of Python's own module, which devices have: zstandard takes fifteen times the disk. The platform has
    zstandard, with which it compresses."""
    try:
        return import_module(DEVICES)
    except ModuleNotFoundError:
        return import_module("zstandard")
