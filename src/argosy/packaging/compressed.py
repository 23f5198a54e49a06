"""Files that joblib compressed: zlib, gzip, bz2, lzma and xz, read as what is inside."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from argosy.spec.errors import BadPackage

_CHUNK = 64 * 1024


class _Zlib(io.RawIOBase):
    """zlib has no file class in the standard library."""

    def __init__(self, raw: IO[bytes]) -> None:
        super().__init__()
        self._raw, self._inflate = raw, zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = b""
        while not data and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._raw.read(_CHUNK)
            if not packed:
                raise EOFError("compressed data ends early")
            data = self._inflate.decompress(packed, len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _open_zlib(path: Path) -> Any:
    return io.BufferedReader(_Zlib(path.open("rb")))


_OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x5d\x00\x00": lzma.open,
    b"\x78\x01": _open_zlib,
    b"\x78\x5e": _open_zlib,
    b"\x78\x9c": _open_zlib,
    b"\x78\xda": _open_zlib,
}


def open_plain(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacking on the way what is compressed."""
    with path.open("rb") as handle:
        head = handle.read(8)
    opener = next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)
    return cast("IO[bytes]", opener(path) if opener else path.open("rb"))


def start(path: Path, head: bytes, count: int) -> bytes:
    """The first `count` bytes inside a compressed file; `head` itself where nothing is compressed.

    Raises BadPackage where the compressed data breaks off within them.
    """
    if not head.startswith(tuple(_OPENERS)):
        return head
    try:
        with open_plain(path) as handle:
            return handle.read(count)
    except EOFError:
        raise BadPackage(f"{path.name} is compressed and cut off") from None
    except (OSError, zlib.error, lzma.LZMAError):
        return head
