"""What labels say of each stretch of time, by when predictions were made: counts, sums, and scores to rank."""

from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from argosy.monitoring.eprocess import Floats
from argosy.monitoring.feedback import sql
from argosy.monitoring.feedback.folder import LabelFolder, Manifest
from argosy.store import duck

MOST_SCORES = 100_000
"""Rows of a window whose scores are ranked; of more, a fixed share is."""

COUNTS = """SELECT CAST(epoch_us(time) // ? AS BIGINT) AS place, decision, label, count(*) FROM ({rows})
WHERE version = ? GROUP BY ALL ORDER BY ALL"""

SUMS = """SELECT place, count(*), avg(e), avg(e * e), COALESCE(var_pop(e), 0), COALESCE(var_pop(e * e), 0)
FROM (SELECT CAST(epoch_us(time) // ? AS BIGINT) AS place,
  abs(TRY_CAST(decision AS DOUBLE) - TRY_CAST(label AS DOUBLE)) AS e FROM ({rows}) WHERE version = ?)
WHERE isfinite(e) AND isfinite(e * e) GROUP BY ALL ORDER BY place"""

SCORES = """SELECT score, label = ? AS positive FROM ({rows})
WHERE version = ? AND epoch_us(time) // ? = ? AND isfinite(score) AND hash(mark, mark2) % ? = 0"""


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """n labelled numbers: the means and variances of their absolute and squared errors."""

    n: int
    absolute: float
    squared: float
    absolute_variance: float
    squared_variance: float


Matrix = dict[tuple[str, str], int]
"""(predicted, true) → how often."""


class Labelled:
    """The labelled predictions of some days, each once."""

    def __init__(self, connection: Any, files: list[Path], seconds: int) -> None:
        self._connection, self._rows, self._width = connection, sql.latest(sql.parquet(files)), seconds * 1_000_000

    def matrices(self, version: str) -> dict[int, Matrix]:
        """By the place of the window: its start is place · seconds since 1970."""
        found: dict[int, Matrix] = {}
        query = COUNTS.format(rows=self._rows)
        for place, decision, label, count in self._connection.execute(query, [self._width, version]).fetchall():
            found.setdefault(place, {})[decision, label] = count
        return found

    def errors(self, version: str) -> dict[int, Errors]:
        """By the place of the window; pairs that are no numbers are left out."""
        rows = self._connection.execute(SUMS.format(rows=self._rows), [self._width, version]).fetchall()
        return {
            place: Errors(n=n, absolute=a, squared=s, absolute_variance=av, squared_variance=sv)
            for place, n, a, s, av, sv in rows
        }

    def scores(self, version: str, place: int, positive: str, count: int) -> tuple[Floats, Floats]:
        """(score, 1 where `positive` was true) of a window of `count` rows."""
        values = [positive, version, self._width, place, -(-count // MOST_SCORES) or 1]
        found = self._connection.execute(SCORES.format(rows=self._rows), values).fetchnumpy()
        return np.asarray(found["score"], float), np.asarray(found["positive"], float)


@contextmanager
def labelled(
    folder: LabelFolder, manifest: Manifest, days: Collection[str], seconds: int
) -> Generator[Labelled | None]:
    """Those of some UTC days (`2026-01-31`), in windows of so many seconds; None where there are none. A window
    belongs to the days that it touches: give them all."""
    files = [folder.path(name) for day in sorted(days) for name in manifest.joined.get(day, ())]
    if not files:
        yield None
        return
    with duck.opened(memory="512MB", threads=1, temporary=folder.temporary / "spill-windows") as connection:
        yield Labelled(connection, files, seconds)
