"""The comparison of whole rows, which a child process makes: what it needs (DuckDB, LightGBM) is in no controller's
memory then.

Rows are drawn from a window, and from all that came before it. The latter are a file, `HOME/drift/NAME.rows`: of all
rows so far those with the smallest draws, which is a sample of them at any time. It has no row for longer than the
log does, and no column that is hidden.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from argosy.monitoring.drift.reference import FEWEST, same_hours
from argosy.monitoring.multivariate.measure import measure
from argosy.monitoring.multivariate.shift import Shift
from argosy.monitoring.multivariate.table import sides
from argosy.packaging.package import open_package
from argosy.spec.errors import NotFound
from argosy.spec.payload import PayloadLog
from argosy.store import duck
from argosy.store.durable import replace
from argosy.store.payloads.columns import columns
from argosy.store.payloads.encode import arrow, parquet
from argosy.store.payloads.query import Query, sealed
from argosy.store.payloads.segment import encoded

MOST = 2000
TIME, DRAW = "time", "draw"
UNCOMPARED = ("input.prompt", "output.text", "output.id", "output.label")
"""Columns of language models that tell nothing as a whole."""


class SampleJob(msgspec.Struct, frozen=True, kw_only=True):
    """A window from `since` until `until`, in seconds since 1970, of the rows of one version. `package` is its folder;
    `salt` makes the draws: without it nobody can choose a request id that is always drawn.

    Compared with the rows of `reference` (Parquet with the columns of the log), if it is given, and with those of the
    file `stored`; these and the window's, if it is to `absorb` them, make the file `fresh`. With `season` instead with
    the same hours of the last four weeks.
    """

    payloads: str
    endpoint: str
    version: str
    package: str
    log: PayloadLog
    since: float
    until: float
    salt: str
    stored: str
    fresh: str
    absorb: bool = True
    reference: str = ""
    season: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of the window, rows they were compared with, and what was found."""

    rows: int = 0
    before: int = 0
    shifts: tuple[Shift, ...] = ()


def compute(job: SampleJob) -> Answer:
    """Raises ArgosyError."""
    manifest = open_package(Path(job.package)).manifest
    known = columns(manifest.recorded, job.log)
    if manifest.generates:
        known = tuple(column for column in known if column.name not in UNCOMPARED)
    names = tuple(column.name for column in known if not column.hashed and column.form in ("value", "fixed"))
    window = drawn(job, names, job.since, job.until)
    if job.season:
        weeks = (drawn(job, names, *span) for span in same_hours(job.since, job.until))
        found = [part for part in weeks if part.num_rows]
        before = arrow().concat_tables(found, promote_options="default") if len(found) >= FEWEST else _empty()
    else:
        before = _stored(job, names)
        _store(Path(job.fresh), [before, window] if job.absorb else [before])
    if job.reference:
        path = Path(job.reference)
        table = parquet().read_table(path, columns=[n for n in parquet().read_schema(path).names if n in names])
        step = max(1, -(-table.num_rows // MOST))
        chosen = table.take(list(range(0, table.num_rows, step)))
        before = arrow().concat_tables([chosen, before], promote_options="default")
    shifts = measure(sides(known, before, window))
    return Answer(rows=window.num_rows, before=before.num_rows, shifts=tuple(shifts))


def drawn(job: SampleJob, names: Sequence[str], since: float, until: float, most: int = MOST) -> Any:
    """At most so many of the answered rows that came in [since, until), as an Arrow table of `time`, `draw` and the
    columns of these names that are there."""
    moments = [datetime.fromtimestamp(at, UTC) for at in (since, until)]
    query = Query(endpoint=job.endpoint, since=moments[0], until=moments[1])
    with suppress(NotFound), sealed(Path(job.payloads), query) as (connection, _):
        if connection is not None:
            connection.execute("SELECT * FROM payload LIMIT 0")
            there = {column[0] for column in connection.description}
            chosen = ", ".join(["", *(duck.identifier(name) for name in names if name in there)])
            sql = (
                f"SELECT {TIME}, hash(concat(?, request_id, '/', row)) AS {DRAW}{chosen} FROM payload "
                f"WHERE version = ? AND code = 200 AND time >= ? AND time < ? ORDER BY {DRAW} LIMIT {most:d}"
            )
            return connection.sql(sql, params=[job.salt, job.version, *moments]).to_arrow_table()
    return _empty()


def _empty() -> Any:
    pa = arrow()
    return pa.table({TIME: pa.array([], pa.timestamp("us", tz="UTC")), DRAW: pa.array([], pa.uint64())})


def _stored(job: SampleJob, names: Sequence[str]) -> Any:
    """The stored rows that came before the window and that the log still has, without columns that it has not."""
    if not Path(job.stored).is_file():
        return _empty()
    oldest = job.until - job.log.keep_days * 86400
    try:
        table = parquet().read_table(job.stored)
        table = table.select([name for name in table.column_names if name in (TIME, DRAW, *names)])
        times = table.column(TIME).cast(arrow().int64()).to_numpy()
        return table.filter(arrow().array((times >= oldest * 1e6) & (times < job.since * 1e6)))
    except (arrow().ArrowException, KeyError, OSError):
        return _empty()


def _store(path: Path, parts: Sequence[Any]) -> None:
    """Write the rows with the smallest draws of all parts."""
    whole = arrow().concat_tables(parts, promote_options="default")
    replace(path, encoded(whole.sort_by(DRAW).slice(0, MOST)), path.parent, mode=0o600)
