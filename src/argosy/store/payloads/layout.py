"""Where segments lie: `endpoint=digits/version=3/hour=2026-01-31T15/….parquet` below the root, as Hive has it.

Names that begin with `.` or `_` are ours: readers pass them over.
"""

import errno
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from argosy.process.flock import lock

TEMPORARY, QUARANTINE, SHIPPED, MERGING, LOCK = ".tmp", ".quarantine", ".shipped", ".merging", ".lock"
_HOUR = "%Y-%m-%dT%H"
_PATH = re.compile(r"endpoint=(?P<endpoint>[^/]+)/version=(?P<version>[^/]+)/hour=(?P<hour>[^/]+)/[^/]+\.parquet")


class Segment(msgspec.Struct, frozen=True, order=True):
    """A file of the log. `key` is its path below the root, with `/`; `hour` its first moment; `size` in bytes."""

    hour: datetime
    key: str
    endpoint: str
    version: str
    size: int

    @property
    def end(self) -> datetime:
        """The first moment after its hour."""
        return self.hour + timedelta(hours=1)


def partition(endpoint: str, version: str, moment: datetime) -> str:
    """The folder, below the root, of what happened at a moment (aware)."""
    hour = moment.astimezone(UTC).strftime(_HOUR)
    return f"endpoint={quote(endpoint, safe='')}/version={quote(version, safe='')}/hour={hour}"


def hour_of(nanoseconds: int) -> datetime:
    """The first moment of the hour of a time in ns since 1970."""
    return datetime.fromtimestamp(nanoseconds // 10**9 // 3600 * 3600, UTC)


def parse(key: str, size: int = 0) -> Segment | None:
    """The segment of a path below the root; None for what is none."""
    match = _PATH.fullmatch(key)
    if match is None:
        return None
    try:
        hour = datetime.strptime(match["hour"], _HOUR).replace(tzinfo=UTC)
    except ValueError:
        return None
    return Segment(hour, key, unquote(match["endpoint"]), unquote(match["version"]), size)


def segments(
    root: Path, endpoint: str = "", since: datetime | None = None, until: datetime | None = None
) -> list[Segment]:
    """The segments of an endpoint (of all, if empty) with anything between two moments, oldest hour first."""
    found = (each for each in _walk(root, endpoint) if since is None or each.end > since)
    return sorted(each for each in found if until is None or each.hour <= until)


def _walk(root: Path, endpoint: str) -> Iterator[Segment]:
    chosen = f"endpoint={quote(endpoint, safe='')}" if endpoint else "endpoint=*"
    for path in root.glob(f"{chosen}/version=*/hour=*/*.parquet"):
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            continue
        if not path.name.startswith((".", "_")) and (segment := parse(path.relative_to(root).as_posix(), size)):
            yield segment


def endpoints(root: Path) -> list[str]:
    """The endpoints that have a log."""
    return sorted(unquote(path.name.removeprefix("endpoint=")) for path in root.glob("endpoint=*"))


def versions(root: Path, endpoint: str) -> list[str]:
    """The versions that an endpoint's log has."""
    found = root.glob(f"endpoint={quote(endpoint, safe='')}/version=*")
    return sorted(unquote(path.name.removeprefix("version=")) for path in found)


@contextmanager
def shared(root: Path) -> Generator[None]:
    """Until the end of the block every file stays where it is, but for those whose time is over. Where nothing can be
    written (a log on a medium to read from) nobody puts files in the place of others, either."""
    try:
        marker = _marker(root)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.ENOENT):
            raise
        yield
        return
    with lock(marker, shared=True):
        yield


@contextmanager
def alone(root: Path) -> Generator[bool]:
    """Nobody else reads or writes until the end of the block; yields False, at once, where somebody does."""
    with lock(_marker(root), wait=False) as free:
        yield free


def _marker(root: Path) -> Path:
    marker = root / LOCK
    if not marker.exists():
        marker.touch(mode=0o600)
    return marker
