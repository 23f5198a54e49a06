"""What a fragment has answered so far: a file that is only appended to, so that a kill costs little of the work.

Each record has its lengths and a CRC-32 before it. What a kill cut short at the end is found by these and cut off.
Nothing is forced to the disk: a process that dies leaves the page cache behind, and a machine that dies costs one
fragment's work at most.
"""

import itertools
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from argosy.process.flock import take
from argosy.spec.errors import Conflict
from argosy.store.durable import storage, write_all

_HEAD = struct.Struct("<IQI")
"""Bytes of what a record says of itself, bytes of its batches, CRC-32 of both."""
_JOINED = 256 * 1024
"""Up to so many bytes are written at once; more are written piece by piece instead of being copied."""

Blob = bytes | memoryview
PATIENCE = 60.0
"""Seconds that the worker of an earlier driver has to end its last batch."""


class Tally(msgspec.Struct, frozen=True):
    """Counts of rows: `rows` were read, `out` of them answered, the others skipped or quarantined."""

    rows: int = 0
    out: int = 0
    skipped: int = 0
    quarantined: int = 0

    def plus(self, other: "Tally") -> "Tally":
        return Tally(
            self.rows + other.rows,
            self.out + other.out,
            self.skipped + other.skipped,
            self.quarantined + other.quarantined,
        )

    def counts(self) -> dict[str, int]:
        """The counts by name, also of what has more fields."""
        return {name: getattr(self, name) for name in Tally.__struct_fields__}


class Record(msgspec.Struct, frozen=True):
    """Rows that were answered together: the counts after them, and batches as Arrow's IPC messages."""

    tally: Tally
    out: tuple[Blob, ...] = ()
    rejects: tuple[Blob, ...] = ()
    attempt: int = 1


class _Header(msgspec.Struct, frozen=True, array_like=True):
    """What stands before the batches of a record: all but the batches themselves, of which the sizes."""

    tally: Tally
    out: tuple[int, ...]
    rejects: tuple[int, ...]
    attempt: int


class Spool:
    """The spool of one fragment, open to one process at a time until `close`. What a kill has left at its end is cut
    off; `last` and `size` say what is in it.

    Raises Conflict where another process has it for longer than it may need for its last batch.
    """

    def __init__(self, path: Path, patience: float = PATIENCE) -> None:
        self.path = path
        self.last, self.size = Record(Tally(), attempt=0), 0
        with storage(path):
            try:
                self._fd = take(path, patience=patience)
            except BlockingIOError:
                raise Conflict(f"another process still works at {path.name}: end it, and resume") from None
        for record, end in self._scan(None):
            self.last, self.size = Record(record.tally, attempt=record.attempt), end
        os.ftruncate(self._fd, self.size)

    def close(self) -> None:
        """Close it, unless that was done."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def append(self, record: Record) -> None:
        """Add a record. One that a full disk cuts short counts for nothing."""
        sizes = [tuple(len(blob) for blob in blobs) for blobs in (record.out, record.rejects)]
        header = msgspec.msgpack.encode(_Header(record.tally, sizes[0], sizes[1], record.attempt))
        pieces: list[Blob] = [header, *record.out, *record.rejects]
        crc = 0
        for piece in pieces:
            crc = zlib.crc32(piece, crc)
        length = sum(sizes[0]) + sum(sizes[1])
        pieces.insert(0, _HEAD.pack(len(header), length, crc))
        with storage(self.path):
            os.lseek(self._fd, self.size, os.SEEK_SET)
            for piece in (b"".join(pieces),) if length < _JOINED else pieces:
                write_all(self._fd, piece)
        self.size += _HEAD.size + len(header) + length
        self.last = Record(record.tally, attempt=record.attempt)

    def records(self, limit: int | None = None) -> Iterator[Record]:
        """All of them, or those of the first `limit` bytes, in order, one in memory at a time."""
        return (record for record, _ in self._scan(limit))

    def _scan(self, limit: int | None) -> Iterator[tuple[Record, int]]:
        place, size = 0, os.fstat(self._fd).st_size if limit is None else limit
        while place + _HEAD.size <= size:
            first, rest, crc = _HEAD.unpack(os.pread(self._fd, _HEAD.size, place))
            length = first + rest
            if not first or place + _HEAD.size + length > size:  # zeros are what a machine that died may leave
                return
            data = memoryview(_read(self._fd, length, place + _HEAD.size))
            if zlib.crc32(data) != crc:
                return
            place += _HEAD.size + length
            found = msgspec.msgpack.decode(data[:first], type=_Header)
            ends = list(itertools.accumulate((*found.out, *found.rejects), initial=first))
            parts = tuple(data[begin:end] for begin, end in itertools.pairwise(ends))
            count = len(found.out)
            yield Record(found.tally, parts[:count], parts[count:], found.attempt), place

    def remove(self) -> None:
        """Delete the file: the fragment is done."""
        self.path.unlink(missing_ok=True)


def _read(fd: int, length: int, place: int) -> bytes:
    """One `pread` gives at most 2 GiB."""
    parts: list[bytes] = []
    while length:
        part = os.pread(fd, length, place)
        if not part:
            break
        parts.append(part)
        place, length = place + len(part), length - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
