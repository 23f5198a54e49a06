"""Regions in the database: those of which this platform holds the plan, and the order that it has itself, where it is
a region of another one."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from argosy.spec.errors import NotFound
from argosy.spec.scaling import Scaling
from argosy.store import ledger
from argosy.store.database import Database, metadata
from argosy.store.ledger import Cause
from argosy.store.table import Json, RowMapper, put, table_of

Replicas = int | Scaling
Placements = dict[tuple[str, str], Replicas]
"""Replicas by endpoint and region."""


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A region: its control API, the token that opens it, and the SHA-256 of its certificate, if that is not known to
    the system. `draining`: it is to serve nothing."""

    name: str
    url: str
    token: str
    fingerprint: str = ""
    added: float = 0.0
    draining: int = 0


class ShareRow(msgspec.Struct, frozen=True, kw_only=True):
    """The most that a region may be spending by of a limit of a key, written in this period."""

    region: str
    key: str
    field: str
    most: float
    period: str


regions_table = table_of(metadata, "regions", Region, key=("name",), name=63, fingerprint=64)
placements_table = sa.Table(
    "placements",
    metadata,
    sa.Column("endpoint", sa.String(63), primary_key=True),
    sa.Column("region", sa.String(63), primary_key=True),
    sa.Column("replicas", Json(Replicas), nullable=False),
)
order_table = sa.Table(
    "region_order",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("order", sa.Text, nullable=False),
    sa.Column("heard", sa.Double, nullable=False),
)
shares_table = table_of(
    metadata, "region_shares", ShareRow, key=("region", "key", "field"), region=63, field=32, period=16
)
R, P = regions_table.c, placements_table.c
REGIONS, SHARES = RowMapper(regions_table, Region), RowMapper(shares_table, ShareRow)


class RegionStore:
    """Every method may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self.database = database.create()

    def every(self) -> list[Region]:
        """By name."""
        return REGIONS.read(self.database, order=(R.name,))

    def get(self, name: str) -> Region:
        """One region. Raises NotFound."""
        found = REGIONS.read(self.database, R.name == name, order=(R.name,))
        if not found:
            raise NotFound(f"there is no region '{name[:63]}': argosy regions ls lists them")
        return found[0]

    def add(self, region: Region, cause: Cause) -> None:
        """Add a region, or reach it in another way."""
        with self.database.begin() as connection:
            REGIONS.put(connection, [region], keep=("added", "draining"))
            ledger.append(connection, f"region/{region.name}", "add", {"url": region.url}, cause)

    def drain(self, name: str, draining: bool, cause: Cause) -> None:
        """Have a region serve nothing, or serve again. One that is not there is this platform itself, and gets a row
        without a URL."""
        with self.database.begin() as connection:
            REGIONS.add(connection, [Region(name=name, url="", token="")])
            connection.execute(sa.update(regions_table).where(R.name == name).values(draining=int(draining)))
            ledger.append(connection, f"region/{name}", "drain" if draining else "resume", {}, cause)

    def remove(self, name: str, cause: Cause) -> None:
        """Forget a region and what was placed in it."""
        with self.database.begin() as connection:
            connection.execute(sa.delete(regions_table).where(R.name == name))
            connection.execute(sa.delete(placements_table).where(P.region == name))
            ledger.append(connection, f"region/{name}", "remove", {}, cause)

    def placements(self) -> Placements:
        """What is placed otherwise than the endpoints declare."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(placements_table)).all()
        return {(row.endpoint, row.region): row.replicas for row in rows}

    def place(self, region: str, replicas: dict[str, Replicas | None], cause: Cause) -> None:
        """Place endpoints in a region with so many replicas; None: as they declare."""
        with self.database.begin() as connection:
            place(connection, region, replicas, cause)

    def order(self) -> tuple[bytes, float]:
        """The order that this platform follows (empty: none), and when it was heard last (seconds since 1970)."""
        with self.database.read() as connection:
            found = connection.execute(sa.select(order_table.c.order, order_table.c.heard)).one_or_none()
        return (found.order.encode(), found.heard) if found else (b"", 0.0)

    def follow(self, order: bytes, heard: float) -> None:
        """Write the order down before it is followed; empty: none from now on."""
        with self.database.begin() as connection:
            connection.execute(sa.delete(order_table))
            if order:
                connection.execute(sa.insert(order_table).values(id=1, order=order.decode(), heard=heard))

    def shares(self) -> list[ShareRow]:
        """All that regions may be spending."""
        return SHARES.read(self.database, order=(shares_table.c.region, shares_table.c.key))

    def share(self, changed: Iterable[ShareRow], gone: Iterable[tuple[str, str, str]]) -> None:
        """Write shares down, before a region is told."""
        table = shares_table.c
        with self.database.begin() as connection:
            SHARES.put(connection, changed)
            for region, key, field in gone:
                mine = (table.region == region, table.key == key, table.field == field)
                connection.execute(sa.delete(shares_table).where(*mine))


def place(connection: sa.Connection, region: str, replicas: Mapping[str, Replicas | None], cause: Cause) -> None:
    """Place endpoints in a region with so many replicas; None: as they declare."""
    gone = [name for name, each in replicas.items() if each is None]
    rows = [
        {"endpoint": name, "region": region, "replicas": each} for name, each in replicas.items() if each is not None
    ]
    connection.execute(sa.delete(placements_table).where(P.region == region, P.endpoint.in_(gone)))
    put(connection, placements_table, rows)
    body = cast("dict[str, Any]", msgspec.to_builtins(replicas))
    ledger.append(connection, f"region/{region}", "place", body, cause)
