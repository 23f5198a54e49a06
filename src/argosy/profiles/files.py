"""Profiles on disk: `endpoint=digits/version=3/hour=2026-01-31T15/….profiles` below the root.

Each file is whole or not there, and holds what one process counted of one or several minutes. Minutes older than two
days are put together by hour; until the files they came from are removed, the new file names them, and readers pass
them over.
"""

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from argosy.profiles.layout import Layout
from argosy.profiles.profile import Profile, decode, encode, merge
from argosy.spec.errors import InvalidArgument
from argosy.store.durable import replace, storage
from argosy.store.payloads import layout as places
from argosy.store.payloads.segment import make_folder

ENDING = ".profiles"
RETENTION = 48 * 60
"""Profiles of single minutes are kept so many minutes; then those of hours."""


class Leaf(msgspec.Struct, frozen=True, array_like=True):
    """A file: profiles as `profile.encode` made them, and the names of the files beside it that they replace."""

    parts: tuple[bytes, ...]
    replaces: tuple[str, ...] = ()


def write(root: Path, endpoint: str, profiles: Iterable[Profile]) -> list[Path]:
    """Put profiles on disk, a file for each version and hour. When this returns, they outlive a crash.

    Raises StorageFull, OSError.
    """
    groups: dict[tuple[str, int], list[Profile]] = {}
    for one in profiles:
        groups.setdefault((one.version, one.start // 60), []).append(one)
    return [_write(root, endpoint, version, hour, parts) for (version, hour), parts in groups.items()]


def _write(
    root: Path, endpoint: str, version: str, hour: int, parts: Iterable[Profile], replaces: tuple[str, ...] = ()
) -> Path:
    data = msgspec.msgpack.encode(Leaf(tuple(encode(part) for part in parts), replaces))
    with storage(root):
        folder = root / places.partition(endpoint, version, places.hour_of(hour * 3600 * 10**9))
        make_folder(folder, root)
        temporary = root / places.TEMPORARY
        temporary.mkdir(exist_ok=True, mode=0o700)
        path = folder / f"{secrets.token_hex(8)}{ENDING}"
        replace(path, data, temporary, mode=0o600)
    return path


def read(
    root: Path, endpoint: str, version: str, since: datetime | None = None, until: datetime | None = None
) -> list[Profile]:
    """The profiles with a minute in [since, until) (aware), oldest first; one minute and segment may have several.

    They are as they were counted, and of any layout: `profile.merge` makes one of those that belong together. Files
    that are broken are passed over.
    """
    first = -1 if since is None else int(since.timestamp() // 60)
    last = 2**62 if until is None else -int(-until.timestamp() // 60)
    found: list[Profile] = []
    for hour, folder in hours(root, endpoint, version):
        if hour * 60 + 60 > first and hour * 60 < last:
            found += [one for one in _folder(folder) if one.end > first and one.start < last]
    return sorted(found, key=lambda one: (one.start, one.segment))


def versions(root: Path, endpoint: str) -> list[str]:
    """The versions of an endpoint that have profiles."""
    folder = root / f"endpoint={quote(endpoint, safe='')}"
    return sorted(unquote(path.name.removeprefix("version=")) for path in folder.glob("version=*"))


def hours(root: Path, endpoint: str, version: str) -> list[tuple[int, Path]]:
    """Hours since 1970 that have profiles, with their folders, oldest first."""
    above = root / f"endpoint={quote(endpoint, safe='')}" / f"version={quote(version, safe='')}"
    return sorted(
        (int(segment.hour.timestamp()) // 3600, folder)
        for folder in above.glob("hour=*")
        if (segment := places.parse(f"{folder.relative_to(root).as_posix()}/x.parquet"))
    )


def _folder(folder: Path) -> list[Profile]:
    leaves = {path.name: leaf for path in sorted(folder.glob(f"*{ENDING}")) if (leaf := _leaf(path))}
    replaced = {name for leaf in leaves.values() for name in leaf.replaces}
    return [one for name, leaf in leaves.items() if name not in replaced for one in _profiles(leaf)]


def _leaf(path: Path) -> Leaf | None:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Leaf)
    except (OSError, msgspec.DecodeError):
        return None


def _profiles(leaf: Leaf) -> Iterator[Profile]:
    for part in leaf.parts:
        with contextlib.suppress(InvalidArgument):
            yield decode(part)


def tidy(
    root: Path, endpoint: str, version: str, where: Callable[[str], Layout | None], now: int, keep: int
) -> tuple[int, int]:
    """Put minutes that are past their time together by hour, and remove what ended `keep` minutes before the minute
    `now`. `where` gives the layout of a digest, or None: such profiles stay as they are. How many hours were put
    together, and how many removed.
    """
    joined = removed = 0
    for hour, folder in hours(root, endpoint, version):
        if hour * 60 + 60 <= now - keep:
            _remove(folder, {path.name for path in folder.glob("*")})
            removed += 1
        elif hour * 60 + 60 <= now - RETENTION:
            joined += _join(root, endpoint, version, hour, folder, where)
    return joined, removed


def _join(
    root: Path, endpoint: str, version: str, hour: int, folder: Path, where: Callable[[str], Layout | None]
) -> bool:
    names = tuple(sorted(path.name for path in folder.glob(f"*{ENDING}")))
    leaves = [leaf for name in names if (leaf := _leaf(folder / name))]
    stale = {name for leaf in leaves for name in leaf.replaces} & set(names)
    if len(names) - len(stale) < 2:
        _remove(folder, stale)
        return False
    groups: dict[tuple[str, str], list[Profile]] = {}
    for one in _folder(folder):
        groups.setdefault((one.layout, one.segment), []).append(one)
    layouts = {digest: where(digest) for digest, _ in groups}
    if any(found is None for found in layouts.values()):
        return False
    merged = [merge(found, parts) for (digest, _), parts in groups.items() if (found := layouts[digest])]
    _write(root, endpoint, version, hour, merged, names)
    _remove(folder, set(names))
    return True


def _remove(folder: Path, names: set[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)
    for level in (folder, folder.parent, folder.parent.parent):
        with contextlib.suppress(OSError):
            level.rmdir()
