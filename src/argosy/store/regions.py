"""Regions in the database: those of which this platform holds the plan, and the order that it has itself, where it is
a region of another one."""

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
)
R, P = regions_table.c, placements_table.c
REGIONS = RowMapper(regions_table, Region)


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
        """Have a region serve nothing, or serve again. Raises NotFound."""
        self.get(name)
        with self.database.begin() as connection:
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
        gone = [name for name, each in replicas.items() if each is None]
        rows = [
            {"endpoint": name, "region": region, "replicas": each}
            for name, each in replicas.items()
            if each is not None
        ]
        with self.database.begin() as connection:
            connection.execute(sa.delete(placements_table).where(P.region == region, P.endpoint.in_(gone)))
            put(connection, placements_table, rows)
            body = cast("dict[str, Any]", msgspec.to_builtins(replicas))
            ledger.append(connection, f"region/{region}", "place", body, cause)

    def order(self) -> bytes:
        """The order that this platform follows; empty: none."""
        with self.database.read() as connection:
            found = connection.execute(sa.select(order_table.c.order)).scalar_one_or_none()
        return (found or "").encode()

    def follow(self, order: bytes) -> None:
        """Write the order down before it is followed; empty: none from now on."""
        with self.database.begin() as connection:
            connection.execute(sa.delete(order_table))
            if order:
                connection.execute(sa.insert(order_table).values(id=1, order=order.decode()))
