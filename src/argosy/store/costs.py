"""The ledger of cost: rows by hour, endpoint, version, use, key and region, and what was found at the close of each
hour."""

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa

from argosy.spec.offer import CostRow
from argosy.store.database import Database, metadata
from argosy.store.table import RowMapper, insert, table_of

HOUR = 3600
RETENTION = 400 * 86400
"""Seconds for which hours are retained."""
EXTERNAL = "external/"
"""What the version of a row begins with whose requests an external provider answered: its name follows."""
SUMS = ("seconds", "cost", "requests", "tokens")


class CostHour(msgspec.Struct, frozen=True, kw_only=True):
    """An hour that is closed. `booked` is the sum of its rows and `billed` price times time, both in dollars, the time
    from the target's record of starts and ends; `used` are the seconds that were booked for work, `measured` those that
    the processes counted. `unread` seconds of processes ended uncounted: they are charged as idle. `problem` says
    what does not agree."""

    hour: int
    booked: float
    billed: float
    used: float
    measured: float
    unread: float = 0.0
    problem: str = ""


costs_table = table_of(
    metadata,
    "costs",
    CostRow,
    key=("hour", "endpoint", "version", "use", "key", "region"),
    endpoint=80,
    version=160,
    use=sa.String(16),
    region=63,
    **dict.fromkeys(("hour", "requests", "tokens"), sa.BigInteger),
    **dict.fromkeys(("seconds", "cost"), sa.Double),
)
hours_table = table_of(
    metadata,
    "cost_hours",
    CostHour,
    key=("hour",),
    hour=sa.BigInteger,
    **dict.fromkeys(("booked", "billed", "used", "measured", "unread"), sa.Double),
)
C, H = costs_table.c, hours_table.c
ROWS, HOURS = RowMapper(costs_table, CostRow), RowMapper(hours_table, CostHour)


def add(connection: sa.Connection, rows: Iterable[CostRow]) -> None:
    """Add to the rows that are there."""
    values = [ROWS.values(each) for each in merged(rows)]
    if values:
        statement = insert(connection, costs_table)
        sums = {name: C[name] + statement.excluded[name] for name in SUMS}
        keys = [column.name for column in costs_table.primary_key]
        connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=sums), values)


def merged(rows: Iterable[CostRow]) -> list[CostRow]:
    """One row for each hour, endpoint, version, use, key and region."""
    found: dict[tuple[object, ...], CostRow] = {}
    for row in rows:
        key = (row.hour, row.endpoint, row.version, row.use, row.key, row.region)
        there = found.get(key)
        sums = {name: getattr(there, name) + getattr(row, name) for name in SUMS} if there else {}
        found[key] = msgspec.structs.replace(row, **sums)
    return list(found.values())


def sums(connection: sa.Connection, hour: int) -> tuple[float, float]:
    """The dollars of an hour, and the seconds of it that went to requests. What external providers answered took no
    time of ours, and what a provider gives back is no price of time."""
    cost = sa.func.sum(C.cost)
    seconds = sa.func.sum(sa.case((C.use == "requests", C.seconds), else_=0.0))
    ours = (C.hour == hour, C.use != "credit", C.version.not_like(f"{EXTERNAL}%"))
    found = connection.execute(sa.select(cost, seconds).where(*ours)).one()
    return found[0] or 0.0, found[1] or 0.0


def spent(database: Database, since: int) -> list[CostRow]:
    """What was spent by endpoint and key in the hours from `since` on, as rows without a version."""
    query = sa.select(C.endpoint, C.key, sa.func.sum(C.cost)).where(C.hour >= since).group_by(C.endpoint, C.key)
    with database.read() as connection:
        return [
            CostRow(hour=since, endpoint=endpoint, version="", use="requests", key=key, cost=cost)
            for endpoint, key, cost in connection.execute(query)
        ]


def close(connection: sa.Connection, hour: CostHour) -> None:
    """Write what was found at the close of an hour, and forget what is too old."""
    HOURS.put(connection, [hour])
    for table, column in ((costs_table, C.hour), (hours_table, H.hour)):
        connection.execute(sa.delete(table).where(column < hour.hour - RETENTION))


def read(database: Database, since: int, until: int) -> list[CostRow]:
    """The rows of the hours that begin from `since` on and before `until`, oldest first."""
    return ROWS.read(database, C.hour >= since, C.hour < until, order=(C.hour, C.endpoint, C.version, C.use, C.key))


def any_of(database: Database) -> bool:
    """Whether there is a row."""
    return ROWS.any(database)


def hours(database: Database, since: int, until: int) -> list[CostHour]:
    """The closed ones among these hours, oldest first."""
    return HOURS.read(database, H.hour >= since, H.hour < until, order=(H.hour,))
