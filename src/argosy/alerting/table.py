"""What is known of incidents, in the database: who leads next goes on with it."""

import logging
from collections.abc import Collection
from typing import Any

import msgspec
import sqlalchemy as sa

from argosy.alerting.incident import Finding, Incident
from argosy.alerting.outbox import Notification, Outbox
from argosy.store import alerts
from argosy.store.alerts import Alert
from argosy.store.database import Database, metadata
from argosy.store.table import put

LOG = logging.getLogger(__name__)

STALE = 60.0
"""Seconds for which it need not be written that an incident was found again."""

alerting_table = sa.Table(
    "alerting",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(320), primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)
T = alerting_table.c


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that a source found wrong with an endpoint when it last evaluated it."""

    source: str
    endpoint: str
    found: tuple[Finding, ...]

    @property
    def name(self) -> str:
        """One for each source and endpoint."""
        return f"{self.source}|{self.endpoint}"


class IncidentsState(msgspec.Struct, frozen=True, kw_only=True):
    """Reports by name, incidents that go on by key, and notifications."""

    reports: dict[str, Report] = {}
    incidents: dict[str, Incident] = {}
    outbox: Outbox = Outbox()


KINDS: dict[str, type[Report | Incident | Notification]] = {
    "report": Report,
    "incident": Incident,
    "letter": Notification,
    "lost": Notification,
}
Rows = dict[tuple[str, str], Report | Incident | Notification]
"""By kind and name, as the table has them."""


def rows(state: IncidentsState) -> Rows:
    found: Rows = {("report", name): each for name, each in state.reports.items()}
    found |= {("incident", key): each for key, each in state.incidents.items()}
    found |= {("letter", name): each for name, each in state.outbox.letters.items()}
    return found | {("lost", each.id): each for each in state.outbox.lost}


def load(database: Database) -> IncidentsState:
    """What was stored; a row that cannot be read is left out. Raises Unavailable."""
    with database.read() as connection:
        read = connection.execute(sa.select(T.kind, T.name, T.body).order_by(T.kind, T.name)).all()
    found: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    for kind, name, body in read:
        try:
            found[kind][name] = msgspec.json.decode(body, type=KINDS[kind])
        except (KeyError, msgspec.MsgspecError) as error:
            LOG.error("what was stored of %s '%s' cannot be read and is left out: %s", kind, name, error)
    lost = tuple(sorted(found["lost"].values(), key=lambda each: each.due))
    outbox = Outbox(letters=found["letter"], lost=lost)
    return IncidentsState(reports=found["report"], incidents=found["incident"], outbox=outbox)


def save(database: Database, old: Rows, new: Rows, changed: Collection[Alert]) -> Rows:
    """Write what differs, and alerts as they are to be read, all or nothing; what the table then has.

    Raises Unavailable, StorageFull, Conflict.
    """
    gone = old.keys() - new.keys()
    fresh = {place: each for place, each in new.items() if not _same(old.get(place), each)}
    if gone or fresh or changed:
        written = [
            {"kind": kind, "name": name, "body": msgspec.json.encode(each).decode()}
            for (kind, name), each in fresh.items()
        ]
        with database.begin() as connection:
            for kind, name in gone:
                connection.execute(sa.delete(alerting_table).where(T.kind == kind, T.name == name))
            put(connection, alerting_table, written)
            alerts.put(connection, changed)
    return {place: fresh.get(place, old.get(place, each)) for place, each in new.items()}


def _same(old: Report | Incident | Notification | None, new: Report | Incident | Notification) -> bool:
    if isinstance(old, Incident) and isinstance(new, Incident) and new.seen - old.seen < STALE:
        return msgspec.structs.replace(old, seen=new.seen) == new
    return old == new
