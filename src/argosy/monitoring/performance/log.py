"""The recorded predictions of one version by window, read through DuckDB within bounds."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from argosy.monitoring.performance.roles import Roles
from argosy.monitoring.performance.rows import Rows, Texts, rows, select
from argosy.spec.errors import InvalidArgument
from argosy.store import duck
from argosy.store.payloads import layout, segment
from argosy.store.payloads.query import source

MOST_ROWS = 100_000
MOST_CELLS = 16_000_000
MEMORY = "512MB"


class Log:
    """`width` is that of a window in µs."""

    def __init__(self, connection: Any, files: str, roles: Roles, width: int) -> None:
        self._connection, self._files, self._roles, self._width = connection, files, roles, width
        self._there = duck.identifier(roles.decision or roles.score)

    def counts(self, first: int, last: int) -> dict[int, int]:
        """Predictions by the place of their window, of those from `first` on and before `last`."""
        query = (
            f"SELECT CAST(epoch_us(time) // ? AS BIGINT) AS place, count(*) FROM {self._files} "
            f"WHERE {self._there} IS NOT NULL AND epoch_us(time) >= ? AND epoch_us(time) < ? GROUP BY place"
        )
        bounds = [self._width, first * self._width, last * self._width]
        return dict(sorted(self._connection.execute(query, bounds).fetchall()))

    def window(self, place: int, count: int, texts: Texts) -> Rows:
        """The rows of a window; of more than 100,000 (or 16 million values) a share that is the same every time."""
        most = min(MOST_ROWS, MOST_CELLS // max(self._columns(), 1))
        query = (
            f"SELECT {select(self._roles)} FROM {self._files} WHERE {self._there} IS NOT NULL AND epoch_us(time) >= ? "
            "AND epoch_us(time) < ? AND hash(request_id, row) % ? = 0 ORDER BY time, request_id, row LIMIT ?"
        )
        bounds = [place * self._width, (place + 1) * self._width, -(-count // most) or 1, most]
        return rows(self._connection.sql(query, params=bounds).to_arrow_table(), self._roles, texts)

    def _columns(self) -> int:
        """How many values a row has, taking what one has for all."""
        found = self._connection.execute(f"SELECT {select(self._roles)} FROM {self._files} LIMIT 1").fetchall()
        return sum(len(cast("list[Any]", value)) if isinstance(value, list) else 1 for row in found for value in row)


@contextmanager
def opened(
    root: Path, endpoint: str, version: str, roles: Roles, seconds: int, since: float, until: float
) -> Generator[Log | None]:
    """The log of a version in a stretch of time; None where there is none. Broken files are put aside.

    Raises InvalidArgument where the log lacks a column.
    """
    begin, end = (datetime.fromtimestamp(each, UTC) for each in (since, until))
    with layout.shared(root), duck.opened(memory=MEMORY, threads=1) as connection:
        found = [each.key for each in layout.segments(root, endpoint, begin, end) if each.version == version]
        if found and not _readable(connection, [root / key for key in found]):
            segment.quarantine(root, found)
            found = [key for key in found if (root / key).exists()]
        if not found:
            yield None
            return
        files = source([root / key for key in found])
        known = set(connection.sql(f"SELECT * FROM {files} LIMIT 0").columns)
        wanted = (*roles.features, *filter(None, (roles.decision, roles.score)))
        if absent := [name for name in wanted if name not in known]:
            raise InvalidArgument(f"the log of '{endpoint}' version {version} has no column '{absent[0]}'")
        yield Log(connection, files, roles, seconds * 1_000_000)


def _readable(connection: Any, paths: list[Path]) -> bool:
    """Whether every file has a whole footer."""
    try:
        connection.sql(f"SELECT * FROM {source(paths)} LIMIT 0").fetchall()
    except duck.module().Error:
        return False
    return True


def first_moment(root: Path, endpoint: str, version: str) -> float | None:
    """The beginning of the first hour that the log of a version has, in seconds since 1970."""
    folder = root / layout.partition(endpoint, version, datetime.now(UTC))
    hours = sorted(path.relative_to(root).as_posix() for path in folder.parent.glob("hour=*"))
    found = (layout.parse(f"{hour}/x.parquet") for hour in hours)
    return next((each.hour.timestamp() for each in found if each is not None), None)
