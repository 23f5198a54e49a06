"""Rows of a log to compare: drawn from a window, and from all that came before it.

What came before is a file of its own, `HOME/drift/NAME.rows`: of all rows so far those with the smallest draws, which
is a sample of them whenever it is looked at. It holds no row for longer than the log does, and no column that is
hidden.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from argosy.spec.errors import NotFound
from argosy.store import duck
from argosy.store.durable import replace
from argosy.store.payloads.encode import arrow, parquet
from argosy.store.payloads.query import Query, sealed
from argosy.store.payloads.segment import encoded

MOST = 2000
TIME, DRAW = "time", "draw"


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """Whose rows, and which columns of them. `salt` makes the draws: without it nobody can choose a request id that is
    always drawn."""

    root: Path
    endpoint: str
    version: str
    columns: tuple[str, ...]
    salt: str


def drawn(log: Log, since: float, until: float, most: int = MOST) -> Any:
    """At most so many of the answered rows that came in [since, until), in seconds since 1970, as an Arrow table of
    `time`, `draw` and the columns that are there."""
    moments = [datetime.fromtimestamp(at, UTC) for at in (since, until)]
    query = Query(endpoint=log.endpoint, since=moments[0], until=moments[1])
    with suppress(NotFound), sealed(log.root, query) as (connection, _):
        if connection is not None:
            connection.execute("SELECT * FROM payload LIMIT 0")
            there = {column[0] for column in connection.description}
            names = ", ".join(["", *(duck.identifier(name) for name in log.columns if name in there)])
            sql = (
                f"SELECT {TIME}, hash(concat(?, request_id, '/', row)) AS {DRAW}{names} FROM payload "
                f"WHERE version = ? AND code = 200 AND time >= ? AND time < ? ORDER BY {DRAW} LIMIT {most:d}"
            )
            return connection.sql(sql, params=[log.salt, log.version, *moments]).to_arrow_table()
    return empty()


def empty() -> Any:
    """A table of no rows."""
    pa = arrow()
    return pa.table({TIME: pa.array([], pa.timestamp("us", tz="UTC")), DRAW: pa.array([], pa.uint64())})


def before(path: Path, log: Log, oldest: float, until: float) -> Any:
    """What is kept of the rows that came in [oldest, until), without columns that are not in the log."""
    if not path.is_file():
        return empty()
    try:
        table = parquet().read_table(path)
        wanted = [name for name in table.column_names if name in (TIME, DRAW, *log.columns)]
        return _between(table.select(wanted), oldest, until)
    except (arrow().ArrowException, KeyError, OSError):
        return empty()


def _between(table: Any, oldest: float, until: float) -> Any:
    times = table.column(TIME).cast(arrow().int64()).to_numpy()
    return table.filter(arrow().array((times >= oldest * 1e6) & (times < until * 1e6)))


def keep(path: Path, parts: Sequence[Any], most: int = MOST) -> int:
    """Write the rows with the smallest draws of all parts. How many they are."""
    whole = arrow().concat_tables(parts, promote_options="default")
    kept = whole.sort_by(DRAW).slice(0, most)
    replace(path, encoded(kept), path.parent, mode=0o600)
    return kept.num_rows
