"""The profile of one model version over some minutes: counts in the reference's cells, moments, sketches. It merges.

Counts merge exactly, moments but for rounding, quantiles and frequent values within the error of their sketches, in any
order and any grouping.
"""

import zlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np

from argosy.profiles import quantiles
from argosy.profiles.cells import Column, Ints
from argosy.profiles.layout import Layout
from argosy.profiles.moments import Moments, RunningMoments
from argosy.profiles.values import MAX_LISTED, REGISTERS, ValueCounts, Values
from argosy.spec.errors import InvalidArgument

MAX_BYTES = 16 << 20
_MAGIC = b"AP1"


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows of one version and segment in the minutes [start, end), counted since 1970 in UTC.

    `segment` is empty for all rows, else `column=value`. `layout` is `Layout.digest`, `counts` its vector of cells;
    `moments` and `sketches` are of the numbers, `values` of the categories, in its order. Without the extra `sketches`
    there are none.
    """

    version: str
    segment: str = ""
    start: int
    end: int
    layout: str
    rows: int
    counts: tuple[int, ...]
    moments: tuple[Moments, ...] = ()
    sketches: tuple[bytes, ...] = ()
    values: tuple[Values, ...] = ()

    def cells(self, where: Layout, name: str) -> Ints:
        """The counts of one column in its cells."""
        check(where, self)
        return np.array(self.counts[where.slice(where.index(name))], np.int64)


def minute(seconds: float) -> int:
    """The minute of a time in seconds since 1970. No time zone or daylight saving enters."""
    return int(seconds // 60)


def spoken(at: int) -> str:
    """A minute as people read it, in UTC."""
    return datetime.fromtimestamp(at * 60, UTC).strftime("%Y-%m-%d %H:%M UTC")


def check(where: Layout, one: Profile) -> None:
    """Raise InvalidArgument unless a profile was counted in this layout and is whole."""
    if one.layout != where.digest:
        raise InvalidArgument(
            f"the profile of '{one.version}' from {spoken(one.start)} was counted against another reference "
            f"({one.layout} instead of {where.digest}): its columns or bins differ, so it cannot be compared or merged"
        )
    categories = len(where.columns) - where.numbers
    whole = (
        len(one.counts) == where.cells
        and len(one.moments) == where.numbers
        and len(one.sketches) in (0, where.numbers)
        and len(one.values) == categories
        and min(one.counts, default=0) >= 0
        and all(len(v.registers) in (0, REGISTERS) and len(v.frequent) <= MAX_LISTED for v in one.values)
    )
    if not whole:
        raise InvalidArgument(f"the profile of '{one.version}' from {spoken(one.start)} does not fit its own layout")


def merge(where: Layout, parts: Sequence[Profile]) -> Profile:
    """All parts as one, over the minutes from the first to the last.

    Raises InvalidArgument without parts, for those of another layout, and for a mix of versions or segments.
    """
    if not parts:
        raise InvalidArgument("there is no profile to merge")
    for part in parts:
        check(where, part)
    if len({(part.version, part.segment) for part in parts}) > 1:
        names = sorted({f"{part.version} {part.segment}".strip() for part in parts})
        raise InvalidArgument(f"profiles of different versions or segments do not merge: {', '.join(names)}")
    moments = RunningMoments(where.numbers)
    tallies = [ValueCounts() for _ in range(len(where.columns) - where.numbers)]
    for part in parts:
        moments.add(part.moments)
        for tally, values in zip(tallies, part.values, strict=True):
            tally.add(values)
    return Profile(
        version=parts[0].version,
        segment=parts[0].segment,
        start=min(part.start for part in parts),
        end=max(part.end for part in parts),
        layout=where.digest,
        rows=sum(part.rows for part in parts),
        counts=tuple(np.array([part.counts for part in parts], np.int64).sum(axis=0).tolist()),
        moments=moments.freeze(),
        sketches=_sketches(parts),
        values=tuple(tally.freeze() for tally in tallies),
    )


def _sketches(parts: Sequence[Profile]) -> tuple[bytes, ...]:
    """None where one part with rows lacks them: half a sketch would tell of half the rows."""
    if not quantiles.installed() or any(part.rows and not part.sketches for part in parts):
        return ()
    full = [part.sketches for part in parts if part.sketches]
    return tuple(quantiles.merge(column) for column in zip(*full, strict=True))


def encode(one: Profile) -> bytes:
    """MessagePack after a checksum."""
    body = msgspec.msgpack.encode(one)
    return _MAGIC + zlib.crc32(body).to_bytes(4) + body


def decode(data: bytes) -> Profile:
    """Raises InvalidArgument for anything that `encode` did not write whole."""
    head, body = data[:7], data[7:]
    if len(data) > MAX_BYTES or head[:3] != _MAGIC or head[3:] != zlib.crc32(body).to_bytes(4):
        raise InvalidArgument(f"{len(data)} bytes are no profile, or it was cut short or altered")
    try:
        return msgspec.msgpack.decode(body, type=Profile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"this profile cannot be read: {error}") from error


class Hidden:
    """The hidden columns of a layout, by the names a `PayloadLog` may give: a tensor's, a feature's, `input.age`."""

    def __init__(self, where: Layout, redact: Collection[str], hash: Collection[str]) -> None:
        self._where = where
        self._blank = [place for place, column in enumerate(where.columns) if named(column, redact)]
        self._closed = {place for place, column in enumerate(where.columns) if named(column, (*redact, *hash))}

    def covers(self, segment: str) -> bool:
        """Whether profiles of this column's single values would tell them."""
        return any(column.name == segment and place in self._closed for place, column in enumerate(self._where.columns))

    def apply(self, one: Profile) -> Profile:
        """The profile without what it must not tell."""
        if not self._closed:
            return one
        numbers = self._where.numbers
        counts = np.array(one.counts, np.int64)
        for place in self._blank:
            counts[self._where.slice(place)] = 0
        empty = quantiles.Sketches(1).freeze()[0] if one.sketches else b""
        return msgspec.structs.replace(
            one,
            counts=tuple(counts.tolist()),
            moments=tuple(Moments() if place in self._closed else kept for place, kept in enumerate(one.moments)),
            sketches=tuple(empty if place in self._closed else kept for place, kept in enumerate(one.sketches)),
            values=tuple(Values() if place + numbers in self._closed else v for place, v in enumerate(one.values)),
        )


def named(column: Column, names: Collection[str]) -> bool:
    """Whether one of the names that a `PayloadLog` may give is this column's."""
    known = {column.name, column.tensor, f"{column.side}.{column.tensor}"}
    if column.column:
        known |= {column.column, f"{column.side}.{column.column}"}
    return not known.isdisjoint(names)
