"""What triggers have set off: written before it is acted upon."""

from typing import Literal

import msgspec
import sqlalchemy as sa

from argosy.store import ledger
from argosy.store.database import Database, metadata
from argosy.store.ledger import Cause
from argosy.store.table import RowMapper, table_of

DAYS = 90
"""For how long runs are retained."""
MOST = 500

Phase = Literal["due", "running", "done", "failed"]
GOING = ("due", "running")


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What one firing of a trigger led to. Times are seconds since 1970. A run is `due` (again at that time),
    `running`, `done` or `failed`; `status` is the exit status or that of HTTP, `error` says what went wrong last."""

    id: str
    trigger: str
    version: str
    at: float
    reason: str
    phase: Phase = "due"
    tries: int = 0
    status: int | None = None
    ended: float | None = None
    error: str = ""


class Run(RunStatus, frozen=True, kw_only=True):
    """A run as it is stored: `document` is the JSON that the command or webhook gets; `due` when it runs again."""

    endpoint: str
    document: str
    due: float = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more is to be done."""
        return self.phase not in GOING


runs_table = table_of(
    metadata,
    "trigger_runs",
    Run,
    sa.Index("trigger_runs_age", "endpoint", "at"),
    key=("id",),
    index=("phase",),
    id=160,
    endpoint=63,
    trigger=63,
    version=80,
    phase=16,
)
R = runs_table.c
ROWS = RowMapper(runs_table, Run)


def note(connection: sa.Connection, run: Run) -> None:
    """Write a firing and an entry of the ledger in the transaction of `connection`, as the last thing it does. One that
    was written before stays as it is. Raises Unavailable, StorageFull, Conflict."""
    if ROWS.add(connection, [run]):
        body = {"trigger": run.trigger, "version": run.version, "run": run.id}
        ledger.append(connection, run.endpoint, "trigger", body, Cause(reason=run.reason))


def update(database: Database, run: Run) -> None:
    """Write how a run stands. Its end is noted in the ledger as well. Raises Unavailable, StorageFull, Conflict."""
    news = {name: getattr(run, name) for name in ("phase", "due", "tries", "status", "ended", "error")}
    with database.begin() as connection:
        going = sa.update(runs_table).where(R.id == run.id, R.phase.in_(GOING)).values(news).returning(R.id)
        if connection.execute(going).first() is not None and run.over:
            body = {"trigger": run.trigger, "run": run.id, "phase": run.phase, "status": run.status}
            ledger.append(connection, run.endpoint, "trigger-end", body, Cause(reason=run.error))


def going(database: Database) -> list[Run]:
    """The runs that are not over, oldest first."""
    return ROWS.read(database, R.phase.in_(GOING), order=(R.at, R.id))


def read(database: Database, endpoint: str, most: int = MOST) -> list[Run]:
    """The last runs of an endpoint's triggers, newest first."""
    return ROWS.read(database, R.endpoint == endpoint, order=(R.at.desc(), R.id), most=most)


def forget(database: Database, now: float) -> list[str]:
    """Delete runs that ended more than 90 days ago; their ids."""
    with database.begin() as connection:
        old = sa.delete(runs_table).where(R.ended < now - DAYS * 86400, R.phase.not_in(GOING)).returning(R.id)
        return list(connection.execute(old).scalars())
