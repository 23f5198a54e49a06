"""Paths inside a package: what is allowed, and the files of a folder under them."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from argosy.spec.errors import BadPackage, NotFound, PayloadTooLarge

MAX_FILES = 10_000
MAX_PATH = 1024
MAX_PART = 255


def check_path(path: str) -> str:
    """A package path is relative, in UTF-8, of parts joined by '/'. Raises BadPackage for anything else.

    Refused: absolute paths, '.', '..' and empty parts, backslashes, control characters, parts over 255 bytes and paths
    over 1024 (what file systems and archive formats take everywhere).
    """
    reason = _fault(path)
    if reason:
        raise BadPackage(f"the path {path[:200]!r} is not allowed in a package: {reason}")
    return path


def _fault(path: str) -> str:
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        return "it is not valid UTF-8"
    if length > MAX_PATH:
        return f"it is longer than {MAX_PATH} bytes"
    if "\\" in path or any(ord(letter) < 32 or ord(letter) == 127 for letter in path):
        return "it holds a backslash or a control character"
    if path.startswith("/"):
        return "it is absolute"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "it has an empty part, '.' or '..'"
    return f"a part is longer than {MAX_PART} bytes" if any(len(p.encode()) > MAX_PART for p in parts) else ""


def check_tree(paths: Iterable[str]) -> None:
    """Raise BadPackage unless the paths can lie in one folder: each allowed, none twice, no file also a folder."""
    known: set[str] = set()
    for path in paths:
        if check_path(path) in known:
            raise BadPackage(f"the path '{path}' is in the package twice")
        known.add(path)
    for path in known:
        parent = path
        while "/" in parent:
            parent = parent.rpartition("/")[0]
            if parent in known:
                raise BadPackage(f"the package has '{parent}' as a file and as the folder of '{path}'")


class PackageFile(msgspec.Struct, frozen=True):
    """A regular file of a folder: its package path, where it is, its size in bytes."""

    path: str
    file: Path
    size: int


def hash_of(file: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def walk(folder: Path, limit: int) -> list[PackageFile]:
    """Every file below `folder`, sorted by path. Reads names and sizes, no contents.

    Raises NotFound without the folder, BadPackage for symlinks, sockets, devices and paths that are not allowed,
    PayloadTooLarge when the sizes sum to more than `limit` bytes.
    """
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}")
    entries: list[PackageFile] = []
    total = 0
    for entry in _scan(folder, ""):
        entries.append(entry)
        total += entry.size
        if len(entries) > MAX_FILES:
            raise BadPackage(f"{folder} holds more than {MAX_FILES} files, the most a package may have")
        if total > limit:
            raise PayloadTooLarge(f"{folder} holds more than store.max_package_bytes = {limit} bytes")
    return sorted(entries, key=lambda entry: entry.path)


def _scan(folder: Path, prefix: str) -> Iterator[PackageFile]:
    with os.scandir(folder) as found:
        for item in found:
            path = check_path(prefix + item.name)
            status = item.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                yield from _scan(Path(item.path), path + "/")
            elif stat.S_ISREG(status.st_mode):
                yield PackageFile(path, Path(item.path), status.st_size)
            else:
                kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "not a regular file"
                raise BadPackage(f"'{path}' in {folder} is {kind}; a package holds regular files and folders only")
