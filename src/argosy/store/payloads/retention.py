"""What is kept of the log: a decision from a list of segments, and its execution."""

import contextlib
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from argosy.store.payloads import ship
from argosy.store.payloads.layout import Segment


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
    while costs disk, not data. The bound on size is kept in any case; what it costs is told as `lost`.
    """
    ordered = sorted(found)
    kept = sum(segment.size for segment in ordered)
    removed: list[Segment] = []
    for segment in ordered:
        safe = shipped is None or segment.key in shipped
        old = segment.end <= now.astimezone(UTC) - timedelta(days=days) and safe
        if old or (kept > size and segment is not ordered[-1]):
            removed.append(segment)
            kept -= segment.size
    lost = tuple(each for each in removed if shipped is not None and each.key not in shipped)
    return RetentionDecision(remove=tuple(removed), lost=lost)


def remove(root: Path, segments: Collection[Segment]) -> None:
    """Delete segments, their marks, and the folders that are empty then."""
    for segment in segments:
        (root / segment.key).unlink(missing_ok=True)
        ship.forget(root, segment.key)
    for folder in {(root / segment.key).parent for segment in segments}:
        for level in (folder, folder.parent, folder.parent.parent):
            with contextlib.suppress(OSError):
                level.rmdir()
