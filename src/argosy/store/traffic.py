"""The traffic of endpoints over time: a row for each revision and minute, and one for each hour of them.

Latency is stored as a histogram, so that rows can be added up and quantiles be those of the sum. Minutes are retained
for two days, hours for thirty.
"""

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa

from argosy.store.database import Database, metadata
from argosy.store.table import Json, RowMapper

MINUTE, HOUR = 60, 3600
RETENTION = {MINUTE: 2 * 86400, HOUR: 30 * 86400}
"""Width of a row → for how many seconds rows of it are retained."""

traffic_table = sa.Table(
    "traffic",
    metadata,
    sa.Column("endpoint", sa.String(63), primary_key=True),
    sa.Column("width", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("revision", sa.String(16), primary_key=True),
    sa.Column("version", sa.String(80), nullable=False),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("errors", sa.BigInteger, nullable=False),
    sa.Column("latency", Json(dict[int, int]), nullable=False),
    sa.Column("replicas", sa.Integer, nullable=False),
    sa.Index("traffic_age", "width", "at"),
)
T = traffic_table.c


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """What came from `at` (seconds since 1970, UTC) on: requests, errors among them, answers by bucket of latency, and
    the most replicas that were ready. `version` is `model:number`."""

    endpoint: str
    revision: str
    version: str
    at: int
    requests: int
    errors: int = 0
    latency: dict[int, int] = {}
    replicas: int = 0


ROWS = RowMapper(traffic_table, Traffic)


def write(database: Database, rows: Sequence[Traffic], width: int = MINUTE) -> None:
    """Add rows. One that is there already stays. Raises Unavailable, StorageFull."""
    if rows:
        with database.begin() as connection:
            ROWS.add(connection, rows, width=width)


def roll(database: Database, now: float) -> None:
    """Write the hours that are over and not there yet, and forget what is too old."""
    with database.begin() as connection:
        last = connection.execute(sa.select(sa.func.max(T.at)).where(T.width == HOUR)).scalar()
        start, end = (last + HOUR if last is not None else 0), int(now // HOUR) * HOUR
        query = ROWS.query(T.width == MINUTE, T.at >= start, T.at < end).order_by(T.at)
        hours: dict[tuple[str, str, int], list[Traffic]] = {}
        for each in ROWS.all(connection, query):
            hours.setdefault((each.endpoint, each.revision, each.at // HOUR * HOUR), []).append(each)
        ROWS.add(connection, (add(each, at) for (_, _, at), each in hours.items()), width=HOUR)
        for width, seconds in RETENTION.items():
            connection.execute(sa.delete(traffic_table).where(T.width == width, T.at < now - seconds))


def read(database: Database, endpoint: str, since: float, width: int) -> list[Traffic]:
    """The rows of one width about an endpoint, oldest first. The hours go on to now by the minutes of the last one."""
    query = ROWS.query(T.endpoint == endpoint, T.width == width, T.at >= since)
    with database.read() as connection:
        found = ROWS.all(connection, query.order_by(T.at, T.revision))
        if width == HOUR:
            start = max([since, *(each.at + HOUR for each in found)])
            rest = ROWS.query(T.endpoint == endpoint, T.width == MINUTE, T.at >= start)
            found += ROWS.all(connection, rest.order_by(T.at, T.revision))
    return found


def add(rows: Sequence[Traffic], at: int) -> Traffic:
    """The sum of rows about one revision, as a row that begins at `at`."""
    latency: dict[int, int] = {}
    for each in rows:
        for place, count in each.latency.items():
            latency[place] = latency.get(place, 0) + count
    return msgspec.structs.replace(
        rows[-1],
        at=at,
        requests=sum(each.requests for each in rows),
        errors=sum(each.errors for each in rows),
        latency=latency,
        replicas=max(each.replicas for each in rows),
    )


def steps(rows: Iterable[Traffic], step: int) -> list[Traffic]:
    """All revisions of an endpoint together, in steps of so many seconds; replicas are summed over the revisions."""
    found: dict[int, dict[str, list[Traffic]]] = {}
    for each in rows:
        found.setdefault(each.at // step * step, {}).setdefault(each.revision, []).append(each)
    whole: list[Traffic] = []
    for at, by in sorted(found.items()):
        sums = [add(mine, at) for mine in by.values()]
        replicas = sum(each.replicas for each in sums)
        whole.append(msgspec.structs.replace(add(sums, at), revision="", version="", replicas=replicas))
    return whole
