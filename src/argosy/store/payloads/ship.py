"""Segments into an object store, each under its path, so that sending one twice changes nothing; and their removal."""

import contextlib
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from argosy.spec.allow import BUCKETS
from argosy.spec.errors import ArgosyError, InvalidArgument, Unavailable
from argosy.store import objects
from argosy.store.durable import replace, sync_folder
from argosy.store.payloads import layout
from argosy.store.payloads.layout import Segment
from argosy.store.payloads.segment import make_folder

Put = Callable[[str, Path], None]
"""Stores a file under a key, whole or not at all; when it returns it is there for good. Raises Unavailable."""


def destination(url: str) -> Put:
    """What sends files to a bucket (`s3://bucket/prefix`) or to a folder. Raises InvalidArgument."""
    parts = urlsplit(url)
    if url.startswith(BUCKETS) and parts.netloc:
        return partial(_upload, url.rstrip("/"))
    if parts.scheme in ("", "file") and parts.path.startswith("/"):
        return partial(_copy, Path(parts.path))
    raise InvalidArgument(
        f"'{url}' is no object store: give s3://, gs:// or az://bucket/prefix, or the absolute path of a folder"
    )


def _upload(prefix: str, key: str, path: Path) -> None:
    objects.put(f"{prefix}/{key}", path)


def _copy(root: Path, key: str, path: Path) -> None:
    data = path.read_bytes()
    try:
        make_folder((root / key).parent, root)
        temporary = root / layout.TEMPORARY
        temporary.mkdir(exist_ok=True, mode=0o700)
        replace(root / key, data, temporary, mode=0o600)
    except OSError as error:
        raise Unavailable(f"the folder {root} does not take {key}: {error.strerror}") from error


class Shipped(msgspec.Struct, frozen=True, kw_only=True):
    """What one turn did. `error` is why it ended early."""

    sent: tuple[str, ...]
    left: int = 0
    error: str = ""


def shipped(root: Path) -> set[str]:
    """The keys that were sent, as marked in `.shipped`."""
    sent = root / layout.SHIPPED
    return {path.relative_to(sent).as_posix() for path in sent.rglob("*.parquet")}


def ship(root: Path, found: Iterable[Segment], put: Put) -> Shipped:
    """Send what has no mark yet, oldest first, and mark it after it has arrived. The first failure ends the turn.

    A crash between the two sends a segment again, to the same key with the same bytes: until it has arrived it is under
    way, and stays as it is.
    """
    done = shipped(root)
    waiting = [segment for segment in sorted(found) if segment.key not in done]
    sent: list[str] = []
    for segment in waiting:
        way = _way(root, segment.key)
        make_folder(way.parent, root)
        way.touch()
        sync_folder(way.parent)
        try:
            put(segment.key, root / segment.key)
        except FileNotFoundError:
            way.unlink()
            continue
        except ArgosyError as error:
            return Shipped(sent=tuple(sent), left=len(waiting) - len(sent), error=error.message)
        way.replace(root / layout.SHIPPED / segment.key)
        sent.append(segment.key)
    return Shipped(sent=tuple(sent))


def under_way(root: Path, key: str) -> bool:
    """Whether a segment may have arrived, and may not."""
    return _way(root, key).exists()


def mark(root: Path, key: str) -> None:
    """Note that the object store has the rows of a segment."""
    path = root / layout.SHIPPED / key
    make_folder(path.parent, root)
    path.touch()
    sync_folder(path.parent)


def forget(root: Path, key: str) -> None:
    """Take off what is noted of a segment that is gone."""
    for path in (root / layout.SHIPPED / key, _way(root, key)):
        path.unlink(missing_ok=True)


def _way(root: Path, key: str) -> Path:
    return root / layout.SHIPPED / f"{key}.way"


class RetentionDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What to remove, oldest first. `lost` are those of them that no object store has."""

    remove: tuple[Segment, ...]
    lost: tuple[Segment, ...] = ()


def decide(
    found: Collection[Segment],
    now: datetime,
    *,
    days: float,
    size: int,
    shipped: Collection[str] | None = None,
) -> RetentionDecision:
    """Remove what ended `days` ago, and the oldest until the rest has at most `size` bytes; the newest file stays.

    With `shipped` (the keys an object store has) age alone removes only those: an object store that is down for a
    while costs disk, not data. The bound on size holds in any case; what that costs is `lost`.
    """
    ordered = sorted(found)
    left = sum(segment.size for segment in ordered)
    removed: list[Segment] = []
    for segment in ordered:
        safe = shipped is None or segment.key in shipped
        old = segment.end <= now.astimezone(UTC) - timedelta(days=days) and safe
        if old or (left > size and segment is not ordered[-1]):
            removed.append(segment)
            left -= segment.size
    lost = tuple(each for each in removed if shipped is not None and each.key not in shipped)
    return RetentionDecision(remove=tuple(removed), lost=lost)


def remove(root: Path, segments: Collection[Segment]) -> None:
    """Delete segments, their marks, and the folders that are empty then."""
    for segment in segments:
        (root / segment.key).unlink(missing_ok=True)
        forget(root, segment.key)
    for folder in {(root / segment.key).parent for segment in segments}:
        for level in (folder, folder.parent, folder.parent.parent):
            with contextlib.suppress(OSError):
                level.rmdir()
