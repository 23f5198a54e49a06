"""The comparison of whole rows, which a child process makes: what it needs (DuckDB, LightGBM) is in no controller's
memory then."""

from pathlib import Path
from typing import Any

import msgspec

from argosy.monitoring.drift import sample
from argosy.monitoring.drift.sample import Log
from argosy.monitoring.drift.season import FEWEST, WEEK, WEEKS
from argosy.monitoring.multivariate.measure import Measured, measure
from argosy.monitoring.multivariate.table import sides
from argosy.packaging.package import open_package
from argosy.spec.payload import PayloadLog
from argosy.store.payloads.columns import columns
from argosy.store.payloads.encode import arrow, parquet

HOUR = 3600


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A window from `since` until `until`, in seconds since 1970, of the rows of one version. `package` is its folder.

    Compared with the rows of `reference` (Parquet with the columns of the log), if it is given, and with those of
    `kept`; these and the window's, if it is to `absorb` them, make `fresh`. With `season` instead with the same hours
    of the last four weeks.
    """

    payloads: str
    endpoint: str
    version: str
    package: str
    log: PayloadLog
    since: float
    until: float
    salt: str
    kept: str
    fresh: str
    absorb: bool = True
    reference: str = ""
    season: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of the window, rows they were compared with, and what was found."""

    rows: int = 0
    before: int = 0
    measured: tuple[Measured, ...] = ()


def compute(job: Job) -> Answer:
    """Raises ArgosyError."""
    signature = open_package(Path(job.package)).manifest.signature
    known = columns(signature, job.log)
    names = tuple(column.name for column in known if not column.hashed and column.form in ("value", "fixed"))
    log = Log(root=Path(job.payloads), endpoint=job.endpoint, version=job.version, columns=names, salt=job.salt)
    window = sample.drawn(log, job.since, job.until)
    if job.season:
        past = _season(log, job)
    else:
        oldest = job.until - job.log.keep_days * 86400
        past = sample.before(Path(job.kept), log, oldest, job.since)
        sample.keep(Path(job.fresh), [past, window] if job.absorb else [past])
    if job.reference:
        past = arrow().concat_tables([_reference(Path(job.reference), names), past], promote_options="default")
    found = measure(sides(known, past, window))
    return Answer(rows=window.num_rows, before=past.num_rows, measured=tuple(found))


def _season(log: Log, job: Job) -> Any:
    first, last = job.since // HOUR * HOUR, -(-job.until // HOUR) * HOUR
    shifts = [week * WEEK * HOUR for week in range(1, WEEKS + 1)]
    parts = [sample.drawn(log, first - shift, last - shift) for shift in shifts]
    found = [part for part in parts if part.num_rows]
    return arrow().concat_tables(found, promote_options="default") if len(found) >= FEWEST else sample.empty()


def _reference(path: Path, names: tuple[str, ...]) -> Any:
    there = [name for name in parquet().read_schema(path).names if name in names]
    table = parquet().read_table(path, columns=there)
    step = max(1, -(-table.num_rows // sample.MOST))
    return table.take(list(range(0, table.num_rows, step)))
