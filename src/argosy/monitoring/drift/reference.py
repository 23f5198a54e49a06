"""What a version was trained on, and what came since: both as counts in the same cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from argosy.monitoring.drift.geometry import Geometry, geometry
from argosy.packaging.package import Package
from argosy.profiles import files, languages, profile
from argosy.profiles.cells import Floats
from argosy.profiles.layout import Layout, layout, reference_counts
from argosy.profiles.profile import Profile
from argosy.spec.errors import Conflict, NotFound
from argosy.spec.monitor import Monitor

HOUR = 3600
WEEK = 7 * 24
WEEKS = 4
FEWEST = 2
"""Weeks before a window whose same hours (UTC) are a season, and how many of them need rows."""


@dataclass(frozen=True)
class Baseline:
    """The reference of a package. `counts` (D, C) are its rows in the cells of `where`. What is `learned` has none:
    there later requests are compared with earlier ones."""

    layout: Layout
    where: Geometry
    counts: Floats
    learned: bool = False

    def came(self, one: Profile) -> Floats:
        """The counts (D, C) of a profile. Of columns that name each row (an id, an e-mail: no listed value came twice
        in the reference) none: their values never come again."""
        counts = self.where.spread(one.counts)
        for place, column in enumerate(self.where.columns):
            if not column.complete and self.counts[place, : column.inner].max(initial=0) <= 1:
                counts[place] = 0
        return counts


def baseline(package: Package) -> Baseline:
    """Raises NotFound for a package that was pushed without sample data."""
    reference = languages.reference(package)
    if reference is None:
        raise NotFound(
            f"'{package.manifest.name}' has no reference profile to compare with: push it with sample data "
            "(argosy push … --sample FILE)"
        )
    found = layout(reference, package.manifest.recorded)
    flat = reference_counts(found, reference)
    where = geometry(found, flat)
    return Baseline(found, where, where.spread(flat), package.manifest.generates)


def fitting(base: Baseline, profiles: Sequence[Profile], segment: str = "") -> Profile | None:
    """The rows of the profiles of a segment (all rows: empty) that were counted against this reference, as one; None
    where there are none."""
    parts = [one for one in profiles if one.segment == segment and one.layout == base.layout.digest]
    return profile.merge(base.layout, parts) if parts else None


def window(
    root: Path, endpoint: str, version: str, base: Baseline, since: datetime, until: datetime, segment: str = ""
) -> Profile:
    """What came to a version in [since, until), of a segment or as a whole. Raises NotFound without profiles, Conflict
    for those of another signature or reference."""
    profiles = files.read(root, endpoint, version, since, until)
    found = fitting(base, profiles, segment)
    if found is not None:
        return found
    if segment and (whole := fitting(base, profiles)) is not None:
        known = sorted({one.segment for one in profiles if one.segment and one.layout == whole.layout})
        there = f"there are {', '.join(known[:20])}" if known else "none are kept: declare monitor.segments"
        raise NotFound(f"nothing was recorded of the segment '{segment[:80]}' in this time; {there}")
    if profiles:
        raise Conflict(
            f"what was recorded of '{endpoint}' version {version} was counted against another signature or reference "
            f"than that of the package it serves now: wait for new requests, or compare from a later time on"
        )
    raise NotFound(
        f"nothing was recorded of '{endpoint}' version {version} since {since:%Y-%m-%d %H:%M} UTC: declare "
        "'payload: {}' in the endpoint (argosy get, argosy apply), send requests, and wait until their minute is over; "
        "or compare from earlier on with --since"
    )


def before(root: Path, endpoint: str, version: str, base: Baseline, until: datetime, segment: str) -> Profile | None:
    """All that came to a segment until then: what it is compared with, since the reference is of all rows."""
    return fitting(base, files.read(root, endpoint, version, None, until), segment)


class Counted(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Counts (D, C) of a window by segment (all rows: empty), and how many rows. `season`: those of the same hours of
    the weeks before, None where fewer than two of them have rows; nothing at all where no season is declared."""

    counts: dict[str, Floats] = {}
    rows: dict[str, int] = {}
    season: dict[str, Floats | None] = {}


def counted(
    root: Path, endpoint: str, version: str, base: Baseline, span: tuple[float, float], monitor: Monitor
) -> Counted:
    """Read the profiles of a window from `span[0]` until `span[1]`, in seconds since 1970."""

    def read(start: float, end: float) -> list[Profile]:
        return files.read(root, endpoint, version, datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))

    profiles = read(*span)
    segments = {one.segment for one in profiles if one.segment.startswith(tuple(f"{n}=" for n in monitor.segments))}
    found = {name: one for name in ("", *sorted(segments)) if (one := fitting(base, profiles, name)) is not None}
    season: dict[str, Floats | None] = {}
    if monitor.season == "week" and found:
        weeks = [read(*hours) for hours in same_hours(*span)]
        for name in found:
            same = [one for week in weeks if (one := fitting(base, week, name)) is not None and one.rows]
            season[name] = base.came(profile.merge(base.layout, same)) if len(same) >= FEWEST else None
    return Counted(
        counts={name: base.came(one) for name, one in found.items()},
        rows={name: one.rows for name, one in found.items()},
        season=season,
    )


def same_hours(start: float, end: float) -> list[tuple[float, float]]:
    """The whole hours around a span, in each of the weeks before."""
    first, last = start // HOUR * HOUR, -(-end // HOUR) * HOUR
    return [(first - week * WEEK * HOUR, last - week * WEEK * HOUR) for week in range(1, WEEKS + 1)]
