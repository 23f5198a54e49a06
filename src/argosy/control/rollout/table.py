"""Rollouts in the database, one row each: written before anything is done about it, with the guard's evidence."""

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from argosy.control.rollout.evidence import Evidence
from argosy.control.rollout.progress import Command, command
from argosy.control.state import note_traffic
from argosy.spec.errors import Conflict, NotFound
from argosy.store import ledger
from argosy.store.database import Database
from argosy.store.endpoints import LIVE, WENT_BACK, Progress, Serving, endpoints_table, rollouts_table
from argosy.store.ledger import Cause
from argosy.store.table import now

R = rollouts_table.c
NONE = -1
"""The generation of no declaration."""


class RolloutRow(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout as it was written last. `changes` counts writes: who has read an older one writes nothing."""

    endpoint: str
    progress: Progress
    evidence: Evidence
    changes: int
    began: str
    ended: str | None = None


class Rollouts:
    def __init__(self, database: Database) -> None:
        self.database = database.create()

    def last(self) -> dict[str, RolloutRow]:
        """The newest rollout of every endpoint that has had one."""
        newest = sa.select(R.endpoint, sa.func.max(R.number).label("number")).group_by(R.endpoint).subquery()
        same = (R.endpoint == newest.c.endpoint) & (R.number == newest.c.number)
        with self.database.read() as connection:
            rows = connection.execute(sa.select(rollouts_table).join(newest, same)).all()
        return {row.endpoint: _row(row) for row in rows}

    def history(self, endpoint: str) -> list[RolloutRow]:
        """Every rollout of an endpoint, the newest first."""
        with self.database.read() as connection:
            query = sa.select(rollouts_table).where(R.endpoint == endpoint).order_by(R.number.desc())
            return [_row(row) for row in connection.execute(query)]

    def note(
        self, endpoint: str, serving: Serving, evidence: Evidence, before: RolloutRow | None, weights: Mapping[str, int]
    ) -> None:
        """What serves and how its rollout stands, in one transaction. Raises Conflict where a command came between."""
        progress = serving.rollout
        with self.database.begin() as connection:
            update = sa.update(endpoints_table).where(endpoints_table.c.name == endpoint)
            if not connection.execute(update.values(active=serving.active, held=serving.held)).rowcount:
                return
            if progress is not None:
                self._write(connection, endpoint, progress, evidence, before)
            if progress is not None and (before is None or _what(before.progress) != _what(progress)):
                ledger.append(connection, endpoint, "rollout", _what(progress) | {"reason": progress.reason})
            note_traffic(connection, endpoint, weights)

    def command(self, endpoint: str, what: Command, cause: Cause | None = None) -> None:
        """Note a user's order. Raises NotFound, and Conflict where the rollout is over or has another order."""
        with self.database.begin() as connection:
            query = sa.select(rollouts_table).where(R.endpoint == endpoint).order_by(R.number.desc()).limit(1)
            found = connection.execute(query).first()
            if found is None:
                raise NotFound(f"endpoint '{endpoint[:80]}' has had no rollout yet")
            row = _row(found)
            self._write(connection, endpoint, command(row.progress, what), row.evidence, row)
            ledger.append(connection, endpoint, "order", {"rollout": row.progress.number, "order": what}, cause)

    def again(self, endpoint: str, candidate: str) -> None:
        """Forget that a candidate was rolled back or aborted, if it was: it was asked for anew."""
        row = self.last().get(endpoint)
        if row and row.progress.candidate == candidate and row.progress.phase in WENT_BACK:
            anew = msgspec.structs.replace(row.progress, generation=NONE)
            with self.database.begin() as connection:
                self._write(connection, endpoint, anew, row.evidence, row)

    def _write(
        self,
        connection: sa.Connection,
        endpoint: str,
        progress: Progress,
        evidence: Evidence,
        before: RolloutRow | None,
    ) -> None:
        values: dict[str, Any] = {
            "phase": progress.phase,
            "progress": progress,
            "evidence": msgspec.json.encode(evidence).decode(),
            "ended": None if progress.live else (before and before.ended) or now(),
        }
        mine = (R.endpoint == endpoint) & (R.number == progress.number)
        if before is None or before.progress.number != progress.number:
            self._end(connection, endpoint)
            fresh = values | {"endpoint": endpoint, "number": progress.number, "changes": 1, "began": now()}
            connection.execute(sa.insert(rollouts_table).values(fresh))
            return
        update = sa.update(rollouts_table).where(mine & (R.changes == before.changes))
        if not connection.execute(update.values(values | {"changes": before.changes + 1})).rowcount:
            raise Conflict(f"the rollout of '{endpoint}' was changed meanwhile")

    def _end(self, connection: sa.Connection, endpoint: str) -> None:
        old = (R.endpoint == endpoint) & R.phase.in_(LIVE)
        for row in connection.execute(sa.select(rollouts_table).where(old)).all():
            over = msgspec.structs.replace(
                row.progress, phase="superseded", reason="another declaration came", weight=0
            )
            update = sa.update(rollouts_table).where((R.endpoint == endpoint) & (R.number == row.number))
            connection.execute(update.values(phase=over.phase, progress=over, ended=now()))


def _what(progress: Progress) -> dict[str, Any]:
    """What the ledger tells of a rollout whenever it changes."""
    fields = ("number", "candidate", "stable", "phase", "step", "weight")
    return {field: getattr(progress, field) for field in fields}


def _row(values: sa.Row[Any]) -> RolloutRow:
    return RolloutRow(
        endpoint=values.endpoint,
        progress=values.progress,
        evidence=msgspec.json.decode(values.evidence, type=Evidence) if values.evidence else Evidence(),
        changes=values.changes,
        began=values.began,
        ended=values.ended,
    )
