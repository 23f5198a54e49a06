"""What is known of incidents, in the database: who leads next goes on with it."""

import logging
from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from argosy.alerting.incident import Finding, Incident
from argosy.alerting.outbox import Letter, Outbox
from argosy.store import alerts
from argosy.store.alerts import Alert
from argosy.store.database import Database, metadata
from argosy.store.table import put

LOG = logging.getLogger(__name__)

STALE = 60.0
"""Seconds for which it need not be written that an incident was seen again."""

alerting_table = sa.Table(
    "alerting",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(320), primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)
T = alerting_table.c


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that a source found wrong with an endpoint when it last looked."""

    source: str
    endpoint: str
    found: tuple[Finding, ...]

    @property
    def name(self) -> str:
        """One for each source and endpoint."""
        return f"{self.source}|{self.endpoint}"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Reports by name, incidents that go on by key, and what has to be told."""

    reports: dict[str, Report] = {}
    incidents: dict[str, Incident] = {}
    outbox: Outbox = Outbox()


KINDS: dict[str, type[Report | Incident | Letter]] = {
    "report": Report,
    "incident": Incident,
    "letter": Letter,
    "lost": Letter,
}
Rows = dict[tuple[str, str], Report | Incident | Letter]


def rows(kept: Kept) -> Rows:
    """By kind and name, as the table has them."""
    found: Rows = {("report", name): each for name, each in kept.reports.items()}
    found |= {("incident", key): each for key, each in kept.incidents.items()}
    found |= {("letter", name): each for name, each in kept.outbox.letters.items()}
    return found | {("lost", each.id): each for each in kept.outbox.lost}


def load(database: Database) -> Kept:
    """What was kept; a row that cannot be read is left out. Raises Unavailable."""
    with database.read() as connection:
        read = connection.execute(sa.select(T.kind, T.name, T.body).order_by(T.kind, T.name)).all()
    found: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    for kind, name, body in read:
        try:
            found[kind][name] = msgspec.json.decode(body, type=KINDS[kind])
        except (KeyError, msgspec.MsgspecError) as error:
            LOG.error("what was kept of %s '%s' cannot be read and is forgotten: %s", kind, name, error)
    lost = tuple(sorted(found["lost"].values(), key=lambda each: each.due))
    outbox = Outbox(letters=found["letter"], lost=lost)
    return Kept(reports=found["report"], incidents=found["incident"], outbox=outbox)


def save(database: Database, old: Rows, new: Rows, changed: Collection[Alert]) -> Rows:
    """Write what differs, and alerts as they are to be read, all or nothing; what the table then holds.

    Raises Unavailable, StorageFull, Conflict.
    """
    gone = old.keys() - new.keys()
    fresh = {place: each for place, each in new.items() if not _same(old.get(place), each)}
    if gone or fresh or changed:
        with database.begin() as connection:
            for kind, name in gone:
                connection.execute(sa.delete(alerting_table).where(T.kind == kind, T.name == name))
            put(connection, alerting_table, [_row(place, each) for place, each in fresh.items()])
            alerts.put(connection, changed)
    return {place: fresh.get(place, old.get(place, each)) for place, each in new.items()}


def _row(place: tuple[str, str], each: Report | Incident | Letter) -> Mapping[str, str]:
    return {"kind": place[0], "name": place[1], "body": msgspec.json.encode(each).decode()}


def _same(old: Report | Incident | Letter | None, new: Report | Incident | Letter) -> bool:
    if isinstance(old, Incident) and isinstance(new, Incident) and new.seen - old.seen < STALE:
        return msgspec.structs.replace(old, seen=new.seen) == new
    return old == new
