"""Alerts: what is wrong with an endpoint, since when, and whether anybody is notified."""

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa

from argosy.spec.errors import NotFound
from argosy.store import ledger
from argosy.store.database import Database, metadata
from argosy.store.ledger import Cause
from argosy.store.table import RowMapper, table_of

MOST = 500
DAYS = 90
"""For how long alerts are retained that are over, and for how long one may be muted."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert. `state` is firing, muted or resolved; times are seconds since 1970."""

    id: str
    endpoint: str
    kind: str
    subject: str
    severity: str
    state: str
    since: float
    until: float | None = None
    text: str = ""
    muted_until: float | None = None


alerts_table = table_of(
    metadata,
    "alerts",
    Alert,
    key=("id",),
    index=("endpoint", "since"),
    id=255,
    endpoint=63,
    kind=16,
    severity=16,
    state=16,
)
A = alerts_table.c
ROWS = RowMapper(alerts_table, Alert)


class AlertCount(msgspec.Struct, frozen=True):
    """How many alerts of an endpoint, of one kind and severity, are not resolved, and how many of them are muted."""

    endpoint: str
    kind: str
    severity: str
    count: int
    muted: int


def counts(database: Database, now: float) -> list[AlertCount]:
    """How many alerts are not resolved, and how many of them are muted. Raises Unavailable."""
    groups = (A.endpoint, A.kind, A.severity)
    counts = (sa.func.count(), sa.func.count(sa.case((A.muted_until > now, 1))))
    query = sa.select(*groups, *counts).where(A.state != "resolved").group_by(*groups).order_by(*groups)
    with database.read() as connection:
        return [AlertCount(*row) for row in connection.execute(query)]


def put(connection: sa.Connection, alerts: Iterable[Alert]) -> None:
    """Write alerts as they are now. Until when one is muted stays as it was."""
    ROWS.put(connection, alerts, keep=["muted_until"])


def read(database: Database, endpoint: str = "", most: int = MOST) -> list[Alert]:
    """The last alerts of an endpoint, or of all, the newest first."""
    where = [A.endpoint == endpoint] if endpoint else []
    return ROWS.read(database, *where, order=(A.since.desc(), A.id), most=most)


def mute(database: Database, alert: str, until: float, cause: Cause) -> None:
    """Notify nobody of an alert until then, and write that into the endpoint's history. It holds for what has the same
    cause, too: what ends and begins again stays muted. Raises NotFound."""
    with database.begin() as connection:
        endpoint = connection.execute(sa.select(A.endpoint).where(A.id == alert)).scalar_one_or_none()
        if endpoint is None:
            raise NotFound(f"there is no alert '{alert[:80]}'")
        prefix = f"{cause_of(alert)}@"
        same = sa.or_(A.id == alert, sa.func.substr(A.id, 1, len(prefix)) == prefix)
        connection.execute(sa.update(alerts_table).where(same).values(muted_until=until))
        ledger.append(connection, endpoint, "mute", {"alert": alert, "until": until}, cause)


def cause_of(alert: str) -> str:
    """`digits/slo/latency` of `digits/slo/latency@1800000000`."""
    return alert.rpartition("@")[0] or alert


def muted(database: Database, now: float) -> dict[str, float]:
    """The causes that are muted, and until when."""
    query = sa.select(A.id, A.muted_until).where(A.muted_until > now).order_by(A.muted_until)
    with database.read() as connection:
        return {cause_of(alert): until for alert, until in connection.execute(query).all()}


def forget(database: Database, now: float) -> None:
    """Delete what has been over for 90 days, and is not muted."""
    with database.begin() as connection:
        free = sa.or_(A.muted_until.is_(None), A.muted_until <= now)
        connection.execute(sa.delete(alerts_table).where(A.until < now - DAYS * 86400, free))
