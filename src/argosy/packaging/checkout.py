"""The git commit of a folder, read from `.git` as files: no git is run, and so nothing that a repository configures.

Files of the repository are opened without following symbolic links, only where they are regular, and up to a bound;
what does not fit says nothing. A `.git` that is a file counts only where what it points at points back. Sources:
gitrepository-layout(5), git-config(1), gitformat-index(5) versions 2 to 4.
"""

import hashlib
import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

MAX_REFS = 8 * 1024 * 1024
MAX_INDEX = 16 * 1024 * 1024
MAX_HASHED = 16 * 1024 * 1024
"""Bytes of files that have another time than the index says, which are hashed to tell whether they changed."""

MAX_FILES = 50_000
_MAX_PATH = 4096
_GITLINK = 0o160000

_MAX_TEXT = 64 * 1024
_MAX_PARENTS = 64
_MAX_LINKS = 5
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REF = re.compile(r"refs(?:/(?!\.)[^\x00-\x20\x7f~^:?*\[\\/]+(?<!\.lock))+")
_SECTION = re.compile(r'\[\s*([\w.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\](.*)')
_SECRET = re.compile(r"(?<=//)[^/]*@")
"""What may be a password in a URL."""


class Checkout(msgspec.Struct, frozen=True):
    """The commit a folder is checked out at, and where it came from; both empty where nothing is known.

    `dirty`: whether a tracked file below the folder differs from the index. None where that cannot be told: there is
    no index of a kind that is read, or something may be staged.
    """

    commit: str = ""
    remote: str = ""
    dirty: bool | None = False


class Tracked(msgspec.Struct, frozen=True):
    """An entry of the index: the file's time in ns and size (modulo 2³²), its mode, its blob, its path."""

    mtime: int
    mode: int
    size: int
    blob: bytes
    path: bytes


def checkout_of(folder: Path) -> Checkout:
    """What the work tree around a folder says. Runs nothing, raises nothing, reads a bounded number of bytes."""
    try:
        found = _find(folder.resolve())
        if found is None:
            return Checkout()
        tree, own, common = found
        commit = _commit(own, common)
        if not commit:
            return Checkout()
        url = _config(common).get("remote.origin.url", "")
        remote = _SECRET.sub("", url)[:1000] if url.isprintable() else ""
        return Checkout(commit, remote, _dirty(own, tree, folder.resolve(), len(commit) // 2))
    except (OSError, ValueError):
        return Checkout()


def _find(folder: Path) -> tuple[Path, Path, Path] | None:
    """The nearest work tree, its git folder, and the one it shares with other work trees; only of our own user."""
    for tree in (folder, *folder.parents)[:_MAX_PARENTS]:
        place = tree / ".git"
        try:
            status = place.lstat()
        except OSError:
            continue
        if status.st_uid != os.geteuid():
            return None
        if stat.S_ISDIR(status.st_mode):
            return (tree, place, place) if (place / "HEAD").exists() else None
        return _linked(tree, place) if stat.S_ISREG(status.st_mode) else None
    return None


def _linked(tree: Path, place: Path) -> tuple[Path, Path, Path] | None:
    """The git folder that the file `.git` of a linked work tree or a submodule names, if it names the file in turn."""
    text = _text(tree, ".git")
    if not text.startswith("gitdir: "):
        return None
    own = (tree / text.removeprefix("gitdir: ").strip()).resolve()
    if not own.is_dir() or own.stat().st_uid != os.geteuid():
        return None
    back = _text(own, "gitdir").strip()
    if back:
        shared = (own / (_text(own, "commondir").strip() or ".")).resolve()
        known = shared.is_dir() and own.parent == shared / "worktrees"
        return (tree, own, shared) if known and (own / back).resolve() == place else None
    back = _config(own).get("core.worktree", "")
    return (tree, own, own) if back and (own / back).resolve() == tree else None


def _commit(own: Path, common: Path) -> str:
    """What HEAD leads to. Branches lie in the folder that work trees share, as files or packed."""
    text = _text(own, "HEAD").strip()
    for _ in range(_MAX_LINKS):
        if _COMMIT.fullmatch(text):
            return text
        name = text.removeprefix("ref:").strip()
        if name == text or len(name) > 1024 or ".." in name or not _REF.fullmatch(name):
            return ""
        text = _text(common, name).strip()
        if not text:
            packed = (_read(common, "packed-refs", MAX_REFS) or b"").decode(errors="replace")
            match = re.search(rf"^([0-9a-f]{{40}}|[0-9a-f]{{64}}) {re.escape(name)}$", packed, re.MULTILINE)
            text = match[1] if match else ""
    return ""


def _config(place: Path) -> dict[str, str]:
    """The last value of each key of the file `config`. Whatever it includes is left out."""
    found: dict[str, str] = {}
    section = ""
    lines = iter(_text(place, "config").replace("\\\r\n", "\\\n").splitlines())
    for line in lines:
        line = line.strip()
        if match := _SECTION.match(line):
            inner = match[2]
            section = match[1].lower() + ("" if inner is None else "." + re.sub(r"\\(.)", r"\1", inner))
            line = match[3].strip()
        while line.endswith("\\") and not line.endswith("\\\\"):
            line = line[:-1] + next(lines, "")
        key, equals, value = line.partition("=")
        if equals and section and not line.startswith(("#", ";")):
            found[f"{section}.{key.strip().lower()}"] = _value(value.strip())
    return found


def _value(text: str) -> str:
    found, quoted, letters = "", False, iter(text)
    for letter in letters:
        if letter == '"':
            quoted = not quoted
        elif letter == "\\":
            after = next(letters, "")
            found += {"n": "\n", "t": "\t", "b": "\b"}.get(after, after)
        elif letter in "#;" and not quoted:
            return found.rstrip()
        else:
            found += letter
    return found


def _text(root: Path, relative: str) -> str:
    return (_read(root, relative, _MAX_TEXT) or b"").decode(errors="replace")


def _read(root: Path, relative: str, limit: int) -> bytes | None:
    """A regular file below `root`, reached through no symbolic link; None where there is none, or a longer one."""
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *folders, name = relative.split("/")
        for part in folders:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = inner
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    except OSError:
        return None
    finally:
        os.close(at)
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            return None
        data = file.read(limit + 1)
    return data if len(data) <= limit else None


def _dirty(own: Path, tree: Path, folder: Path, width: int) -> bool | None:
    """Whether tracked files below the folder are as the index has them, by size and time, and by content where only
    the time differs. No filter is run: a file that one would change back counts as changed."""
    data = _read(own, "index", MAX_INDEX)
    if data is None:
        return None
    prefix = os.fsencode(folder.relative_to(tree).as_posix()) + b"/" if folder != tree else b""
    try:
        entries, end = below(data, width, prefix)
        whole = not entries or all_committed(data, end, width, prefix)
    except (ValueError, IndexError, struct.error):
        return None
    written, budget = (own / "index").lstat().st_mtime_ns, MAX_HASHED
    for entry in entries:
        changed, cost = _changed(tree, entry, written, budget)
        if changed is not False:
            return changed
        budget -= cost
    return False if whole else None


def _changed(tree: Path, entry: Tracked, written: int, budget: int) -> tuple[bool | None, int]:
    """Whether a file is not what the index has, and how many bytes were read to tell. The index gives no size to a file
    that was changed while it was written, and a time as late as its own proves nothing."""
    try:
        status = os.lstat(os.fsencode(tree) + b"/" + entry.path)
    except OSError:
        return True, 0
    size = status.st_size & 0xFFFFFFFF
    if stat.S_IFMT(status.st_mode) != stat.S_IFMT(entry.mode) or (entry.size and size != entry.size):
        return True, 0
    if size == entry.size and status.st_mtime_ns == entry.mtime < written:
        return False, 0
    if status.st_size > budget:
        return None, 0
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(os.fsencode(tree) + b"/" + entry.path)
    else:
        content = _read(tree, os.fsdecode(entry.path), status.st_size)
    kind = hashlib.sha1(usedforsecurity=False) if len(entry.blob) == 20 else hashlib.sha256()
    kind.update(b"blob %d\0" % len(content or b"") + (content or b""))
    return content is None or kind.digest() != entry.blob, status.st_size


def below(data: bytes, width: int, prefix: bytes) -> tuple[list[Tracked], int]:
    """The files below `prefix` in an index of version 2 to 4, and where its entries end. Raises ValueError for another
    kind, and for more files than are examined."""
    signature, version, count = struct.unpack_from(">4sII", data)
    if signature != b"DIRC" or version not in (2, 3, 4):
        raise ValueError("no index of a known version")
    found: list[Tracked] = []
    at, path = 12, b""
    for _ in range(count):
        seconds, nanoseconds = struct.unpack_from(">II", data, at + 8)
        mode, size = struct.unpack_from(">I8xI", data, at + 24)
        (flags,) = struct.unpack_from(">H", data, at + 40 + width)
        start, shared = at + 42 + width + (2 if flags & 0x4000 else 0), 0
        if version == 4:
            strip, start = _offset(data, start)
            shared = max(len(path) - strip, 0)
        end = data.index(b"\0", start)
        path = path[:shared] + data[start:end]
        if len(path) > _MAX_PATH or any(part in (b"", b".", b"..") for part in path.split(b"/")):
            raise ValueError("a path that cannot be")
        if path.startswith(prefix) and stat.S_IFMT(mode) != _GITLINK:
            blob = data[at + 40 : at + 40 + width]
            found.append(Tracked(seconds * 10**9 + nanoseconds, mode, size, blob, path))
        if len(found) > MAX_FILES:
            raise ValueError("more files than are examined")
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
