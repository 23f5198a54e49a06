"""What came to an endpoint in a window, and in the same hours of the weeks before: of all rows, and by segment."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from argosy.monitoring.drift.reference import Baseline, fitting
from argosy.monitoring.drift.season import FEWEST, WEEK, WEEKS
from argosy.profiles import files
from argosy.profiles.layout import Floats
from argosy.profiles.profile import Profile, merge
from argosy.spec.monitor import Monitor

HOUR = 3600


class Past(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Counts (D, C) by segment (all rows: empty). `season`: those of the same hours of the last four weeks, None where
    fewer than two of them have rows; nothing at all where no season is declared."""

    rows: int = 0
    counts: dict[str, Floats] = {}
    season: dict[str, Floats | None] = {}
    sizes: dict[str, int] = {}


def past(root: Path, endpoint: str, version: str, base: Baseline, span: tuple[float, float], monitor: Monitor) -> Past:
    """Read the profiles of a window from `span[0]` until `span[1]`, in seconds since 1970."""
    start, end = span
    profiles = came(root, endpoint, version, start, end)
    names = ["", *_segments(profiles, monitor.segments)]
    found = {name: one for name in names if (one := fitting(base, profiles, name)) is not None}
    season: dict[str, Floats | None] = {}
    if monitor.season == "week" and found:
        first, last = start // HOUR * HOUR, -(-end // HOUR) * HOUR
        shifts = [week * WEEK * HOUR for week in range(1, WEEKS + 1)]
        weeks = [came(root, endpoint, version, first - shift, last - shift) for shift in shifts]
        season = {name: _same(base, weeks, name) for name in found}
    return Past(
        rows=found[""].rows if "" in found else 0,
        counts={name: base.came(one) for name, one in found.items()},
        season=season,
        sizes={name: one.rows for name, one in found.items()},
    )


def came(root: Path, endpoint: str, version: str, start: float, end: float) -> list[Profile]:
    """Profiles of a span, in seconds since 1970."""
    return files.read(root, endpoint, version, datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))


def _segments(profiles: Sequence[Profile], columns: Sequence[str]) -> list[str]:
    """Those of the columns that are declared now."""
    names = {one.segment for one in profiles if one.segment}
    return sorted(name for name in names if any(name.startswith(f"{column}=") for column in columns))


def _same(base: Baseline, weeks: Sequence[Sequence[Profile]], segment: str) -> Floats | None:
    found = [one for week in weeks if (one := fitting(base, week, segment)) is not None and one.rows]
    return base.came(merge(base.layout, found)) if len(found) >= FEWEST else None
