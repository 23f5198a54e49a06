"""The index of a git work tree, from its bytes: which files are tracked, and whether all of them are committed.

Source: gitformat-index(5), versions 2 to 4.
"""

import stat
import struct
from collections.abc import Iterator

import msgspec

MAX_FILES = 50_000
_MAX_PATH = 4096
_GITLINK = 0o160000


class Tracked(msgspec.Struct, frozen=True):
    """An entry of the index: the file's time in ns and size (modulo 2³²), its mode, its blob, its path."""

    mtime: int
    mode: int
    size: int
    blob: bytes
    path: bytes


def below(data: bytes, width: int, prefix: bytes) -> tuple[list[Tracked], int]:
    """The files below `prefix` in an index of version 2 to 4, and where its entries end. Raises ValueError for another
    kind, and for more files than are looked at."""
    signature, version, count = struct.unpack_from(">4sII", data)
    if signature != b"DIRC" or version not in (2, 3, 4):
        raise ValueError("no index of a known version")
    found: list[Tracked] = []
    at, path = 12, b""
    for _ in range(count):
        seconds, nanoseconds = struct.unpack_from(">II", data, at + 8)
        mode, size = struct.unpack_from(">I8xI", data, at + 24)
        (flags,) = struct.unpack_from(">H", data, at + 40 + width)
        start, kept = at + 42 + width + (2 if flags & 0x4000 else 0), 0
        if version == 4:
            strip, start = _offset(data, start)
            kept = max(len(path) - strip, 0)
        end = data.index(b"\0", start)
        path = path[:kept] + data[start:end]
        if len(path) > _MAX_PATH or any(part in (b"", b".", b"..") for part in path.split(b"/")):
            raise ValueError("a path that cannot be")
        if path.startswith(prefix) and stat.S_IFMT(mode) != _GITLINK:
            blob = data[at + 40 : at + 40 + width]
            found.append(Tracked(seconds * 10**9 + nanoseconds, mode, size, blob, path))
        if len(found) > MAX_FILES:
            raise ValueError("more files than are looked at")
        at = end + 1 if version == 4 else at + ((end - at) // 8 + 1) * 8
    return found, at


def _offset(data: bytes, at: int) -> tuple[int, int]:
    """A number as packs and indices of version 4 hold it, and where it ends."""
    value = data[at] & 0x7F
    while data[at] & 0x80:
        at += 1
        value = ((value + 1) << 7) | (data[at] & 0x7F)
        if value > _MAX_PATH:
            raise ValueError("a number that cannot be")
    return value, at + 1


def all_committed(data: bytes, at: int, width: int, prefix: bytes) -> bool:
    """Whether the index knows the tree of the folder, which it forgets when something in it is staged. Raises
    ValueError for an extension that changes what entries mean."""
    known = False
    while at + 8 <= len(data) - width:
        name, size = struct.unpack_from(">4sI", data, at)
        if name == b"TREE":
            known = any(map(prefix.startswith, _trees(data[at + 8 : at + 8 + size], width)))
        elif not name[:1].isupper():
            raise ValueError("an index in several parts")
        at += 8 + size
    return known


def _trees(data: bytes, width: int) -> Iterator[bytes]:
    """The folders, with a final slash, whose trees the extension TREE holds valid: a tree, then those inside it."""
    at, around = 0, list[tuple[bytes, int]]()
    while at < len(data):
        end = data.index(b"\0", at)
        line = data.index(b"\n", end)
        files, folders = map(int, data[end + 1 : line].split(b" "))
        path = data[at:end] + b"/" if around else b""
        if around:
            outer, left = around.pop()
            path = outer + path
            around += [(outer, left - 1)] if left > 1 else []
        if len(path) > _MAX_PATH:
            raise ValueError("a path that cannot be")
        if files >= 0:
            yield path
        around += [(path, folders)] if folders > 0 else []
        at = line + 1 + (width if files >= 0 else 0)
