"""What a profile may tell of columns that the payload log hides.

Of a redacted column: nothing. Of a hashed one: how many rows fell into each of the reference's cells, and no value that
came.
"""

from collections.abc import Collection

import msgspec
import numpy as np

from argosy.profiles import quantiles
from argosy.profiles.layout import Column, Layout
from argosy.profiles.moments import Moments
from argosy.profiles.profile import Profile
from argosy.profiles.values import Values


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
