"""Files that joblib compressed (zlib, gzip, bz2, lzma and xz), read as what is inside, at a bounded cost."""

import bz2
import io
import lzma
import zlib
from pathlib import Path
from typing import IO, Any

from argosy.spec.errors import BadPackage

_CHUNK = 1024 * 1024
_LZMA_MEMORY = 256 << 20
_FLOOR, _RATIO = 512 << 20, 200
"""Bytes that may come out of any compressed file, and besides for each byte of it."""

_ZLIB = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_LZMA = (b"\xfd7zXZ\x00", b"\x5d\x00\x00")
_BZ2 = (b"BZh",)
MAGIC = (*_ZLIB, *_LZMA, *_BZ2)


def most_inside(size: int) -> int:
    """Bytes that may come out of a compressed file or archive of this size."""
    return _FLOOR + _RATIO * size


class Plain:
    """A file being read: what is inside, for the methods that unpicklers use. No read makes more than is there. Raises
    BadPackage for a file that is cut off or unpacks to more than it may."""

    def __init__(self, raw: io.BufferedReader, size: int, name: str, *, packed: bool = False) -> None:
        self._raw, self._name, self._left, self._packed = raw, name, size, packed

    def read(self, count: int = -1) -> bytes:
        """Exactly `count` bytes, except at the end; all that is left for -1."""
        if count < 0 or count > self._left:
            data = self._raw.read(self._left + 1)
            if len(data) > self._left or len(data) < count:
                self._short(len(data))
        elif count <= _CHUNK:
            data = self._raw.read(count)
        else:
            data = self._chunks(count)
        self._left -= len(data)
        return data

    def readline(self) -> bytes:
        """Up to and with the next newline."""
        data = self._raw.readline(self._left + 1)
        if len(data) > self._left:
            self._short(len(data))
        self._left -= len(data)
        return data

    def fits(self, count: int) -> bool:
        """Whether that many bytes can follow."""
        return count <= self._left

    def at_end(self) -> bool:
        """Whether nothing follows."""
        return not self._raw.peek(1)

    def _chunks(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count and (part := self._raw.read(min(count, _CHUNK))):
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _short(self, got: int) -> None:
        if self._packed and got > self._left:
            raise BadPackage(f"{self._name} unpacks to more than a file of its size may")
        raise BadPackage(f"{self._name} is a pickle that is cut off")

    def __enter__(self) -> "Plain":
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()


class _Unpacked(io.RawIOBase):
    """What a compressed stream holds. Raises OSError where it is broken, or where something follows it."""

    def __init__(self, raw: IO[bytes], head: bytes) -> None:
        super().__init__()
        self._raw, self._packed = raw, b""
        self._zlib = head.startswith(_ZLIB)
        self._machine: Any
        if self._zlib:
            self._machine = zlib.decompressobj(wbits=47)
        elif head.startswith(_LZMA):
            self._machine = lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)
        else:
            self._machine = bz2.BZ2Decompressor()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = b""
        try:
            while not data and not self._machine.eof:
                data = self._next(len(view))
        except (zlib.error, lzma.LZMAError, ValueError) as error:
            raise OSError(f"compressed data is broken: {error}") from None
        if not data and (self._machine.unused_data or self._raw.read(1)):
            raise OSError("something follows the compressed data")
        view[: len(data)] = data
        return len(data)

    def _next(self, most: int) -> bytes:
        pending = self._machine.unconsumed_tail if self._zlib else b""
        if not pending and (self._zlib or self._machine.needs_input):
            pending = self._raw.read(_CHUNK)
            if not pending:
                raise OSError("compressed data ends early")
        return self._machine.decompress(pending, most)

    def close(self) -> None:
        self._raw.close()
        super().close()


def open_plain(path: Path) -> Plain:
    """Open a file for reading, unpacking on the way what is compressed."""
    raw = path.open("rb")
    head, size = raw.read(8), path.stat().st_size
    raw.seek(0)
    if not head.startswith(MAGIC):
        return Plain(raw, size, path.name)
    unpacked: Any = io.BufferedReader(_Unpacked(raw, head), _CHUNK)
    return Plain(unpacked, most_inside(size), path.name, packed=True)


def start(path: Path, head: bytes, count: int) -> bytes:
    """The first `count` bytes inside a compressed file; `head` itself where nothing is compressed. Raises BadPackage
    where the compressed data breaks off within them. What only begins as zlib does need not be zlib."""
    if not head.startswith(MAGIC):
        return head
    try:
        with open_plain(path) as handle:
            return handle.read(count)
    except OSError as error:
        if "ends early" in str(error) or not head.startswith(_ZLIB[1:]):
            raise BadPackage(f"{path.name} is compressed and cut off or broken") from None
        return head
