"""Jobs of the platform and their runs: what is to be done, when, and what became of it."""

from typing import Literal

import msgspec
import sqlalchemy as sa

from argosy.spec.errors import Conflict, NotFound
from argosy.store import ledger
from argosy.store.database import Database, metadata
from argosy.store.ledger import Cause
from argosy.store.table import RowMapper, table_of

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
OVER: tuple[State, ...] = ("succeeded", "failed", "cancelled")
MAX_RUNS = 100
"""Runs of one job that are remembered."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job. `spec` is JSON. `next` is when it runs again (seconds since 1970), None for never; `cancelled` since when
    it is to run no more."""

    name: str
    spec: str
    created: float
    actor: str = ""
    next: float | None = None
    cancelled: float | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a job. It was to start at `due`; times are seconds since 1970. `attempts` are the processes that were
    started for it; another starts not before `after`. `exit` is the last one's exit status."""

    job: str
    number: int
    state: State
    due: float
    started: float | None = None
    ended: float | None = None
    attempts: int = 0
    after: float = 0.0
    exit: int | None = None
    error: str = ""

    @property
    def id(self) -> str:
        """`name-number`, which names its folder."""
        return f"{self.job}-{self.number}"


jobs_table = table_of(metadata, "jobs", Job, key=("name",), name=63)
runs_table = table_of(metadata, "job_runs", Run, key=("job", "number"), index=("state",), job=63, state=16)
J, R = jobs_table.c, runs_table.c
JOBS, RUNS = RowMapper(jobs_table, Job), RowMapper(runs_table, Run)


def add(database: Database, job: Job, cause: Cause) -> None:
    """Keep a new job; one without `next` has its only run queued at once. Raises Conflict where the name is taken."""
    with database.begin() as connection:
        if not JOBS.add(connection, [job]):
            raise Conflict(f"there is a job '{job.name}' already: give another --name")
        if job.next is None:
            RUNS.add(connection, [Run(job=job.name, number=1, state="queued", due=job.created)])
        ledger.append(connection, _subject(job.name), "submit", msgspec.json.decode(job.spec), cause)


def cancel(database: Database, name: str, now: float, cause: Cause) -> None:
    """It runs no more. What waits is cancelled; what runs is ended by who sees it. Raises NotFound."""
    with database.begin() as connection:
        if _job(connection, name).cancelled is not None:
            return
        connection.execute(sa.update(jobs_table).where(J.name == name).values(cancelled=now, next=None))
        waiting = sa.update(runs_table).where(R.job == name, R.state == "queued")
        connection.execute(waiting.values(state="cancelled", ended=now))
        ledger.append(connection, _subject(name), "cancel", {}, cause)


def schedule(database: Database, name: str, due: float, then: float | None, *, queue: bool) -> None:
    """A scheduled moment has come: queue a run (unless it is left out) and note the next moment, in one transaction."""
    with database.begin() as connection:
        moved = sa.update(jobs_table).where(J.name == name, J.cancelled.is_(None), J.next == due).values(next=then)
        if connection.execute(moved).rowcount and queue:
            last = connection.execute(sa.select(sa.func.max(R.number)).where(R.job == name)).scalar() or 0
            RUNS.add(connection, [Run(job=name, number=last + 1, state="queued", due=due)])
            old = last + 1 - MAX_RUNS
            connection.execute(sa.delete(runs_table).where(R.job == name, R.number <= old, R.state.in_(OVER)))


def note(database: Database, run: Run) -> None:
    """Write how a run stands now; the end of one also into the ledger."""
    with database.begin() as connection:
        update = sa.update(runs_table).where(R.job == run.job, R.number == run.number, R.state.not_in(OVER))
        if connection.execute(update.values(RUNS.values(run))).rowcount and run.state in OVER:
            body = {"run": run.number, "state": run.state, "exit": run.exit, "error": run.error}
            ledger.append(connection, _subject(run.job), "run", body)


def every(database: Database) -> list[Job]:
    """All jobs, the newest first."""
    return JOBS.read(database, order=(J.created.desc(), J.name))


def any_of(database: Database) -> bool:
    return JOBS.any(database)


def get(database: Database, name: str) -> Job:
    """One job. Raises NotFound."""
    with database.read() as connection:
        return _job(connection, name)


def _job(connection: sa.Connection, name: str) -> Job:
    job = JOBS.one(connection, J.name == name)
    if job is None:
        raise NotFound(f"there is no job '{name[:80]}': argosy batch ls lists them")
    return job


def runs(database: Database, job: str = "", *, open_only: bool = False) -> list[Run]:
    """Runs of a job, or of all, the newest first; with `open_only` those that wait or run."""
    where = ([R.job == job] if job else []) + ([R.state.not_in(OVER)] if open_only else [])
    return RUNS.read(database, *where, order=(R.due.desc(), R.job, R.number.desc()))


def going(database: Database, since: float) -> list[Run]:
    """Runs that go on, or have ended after `since` (seconds since 1970)."""
    return RUNS.read(database, sa.or_(R.state == "running", R.ended > since), order=(R.job, R.number))


def last_runs(database: Database) -> dict[str, Run]:
    """The last run of every job that had one, by job."""
    newest = sa.select(R.job, sa.func.max(R.number).label("number")).group_by(R.job).subquery()
    join = sa.and_(R.job == newest.c.job, R.number == newest.c.number)
    with database.read() as connection:
        return {run.job: run for run in RUNS.all(connection, RUNS.query().join(newest, join))}


def _subject(name: str) -> str:
    return f"batch/{name}"
