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
from typing import Any, NamedTuple

import numpy as np

PATCH = b"A1"
SEGMENT = 4 * 1024 * 1024
MARGIN = 4 * 1024 * 1024
HEAD = struct.Struct("<BiI")
"""Of a segment: how many byte planes (0: the old file is the prefix), how far the old file's bytes lie ahead of the new
one's, bytes of the frame."""
PLANES = (1, 2, 4, 8)
WINDOW = 23
"""log2 of the most that is looked back in a whole file: what decompressing it takes of memory."""
LEAST, USUAL, MOST = 4 * 1024, 16 * 1024, 64 * 1024
"""Bytes of a chunk."""
ENTRY = struct.Struct("<32sI")
_BOX = 1024 * 1024


class Piece(NamedTuple):
    """A part of a file, by content: its SHA-256 and its bytes."""

    sha256: str
    size: int


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


def hashed(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
