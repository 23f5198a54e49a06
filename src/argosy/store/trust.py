"""Which packages the owner of this store trusts to run code of their authors: a fact kept here, by digest.

Nothing that a package says of itself is such a fact. What was pushed before this table was there with --trust, or as
code, was trusted by who pushed it, as the registry's own copy of the manifest says; that is taken over once, when the
table is made. What the scan of that time found clean was trusted by nobody: it loads under the allow-list.
"""

from collections.abc import Collection
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import event

from argosy.spec.package import Scan
from argosy.store.clock import now
from argosy.store.database import metadata
from argosy.store.table import Json, RowMapper


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """Who said that a package may run code, when (UTC, ISO 8601), and what the scan had said against it."""

    by: str
    at: str
    objections: tuple[str, ...] = ()


trust_table = sa.Table(
    "trusted_packages",
    metadata,
    sa.Column("digest", sa.String(71), primary_key=True),
    sa.Column("trusted_by", sa.Text, nullable=False),
    sa.Column("trusted_at", sa.String(32), nullable=False),
    sa.Column("objections", Json(tuple[str, ...]), nullable=False),
)
T = trust_table.c
ROWS = RowMapper(trust_table, Trust, by="trusted_by", at="trusted_at")


def record(connection: sa.Connection, digest: str, by: str, objections: Collection[str]) -> None:
    """Note that a package is trusted; who said so first stays."""
    ROWS.add(connection, [Trust(by=by, at=now(), objections=tuple(sorted(objections)))], digest=digest)


def of(connection: sa.Connection, digests: Collection[str]) -> dict[str, Trust]:
    """Digest → trust, of those that are trusted."""
    query = ROWS.query(T.digest.in_(digests)).add_columns(T.digest)
    return {row["digest"]: ROWS.of(row) for row in connection.execute(query).mappings()}


def forget(connection: sa.Connection, digest: str) -> None:
    """Trust a package no longer."""
    connection.execute(sa.delete(trust_table).where(T.digest == digest))


class _Pushed(msgspec.Struct, frozen=True):
    """What an earlier Argosy kept of its owner's consent, in the registry's copy of a manifest."""

    scan: Scan

    @property
    def trusted(self) -> bool:
        return self.scan.trusted or self.scan.verdict == "code"


@event.listens_for(trust_table, "after_create")
def _take_over(_table: Any, connection: sa.Connection, **_: Any) -> None:
    """In the transaction that makes the table: so it happens once, whole, and to no package that comes later."""
    if not sa.inspect(connection).has_table("versions"):
        return
    query = sa.text("SELECT digest, manifest, lineage, created FROM versions ORDER BY created, name, number")
    rows = connection.execute(query).all()
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        pushed = msgspec.json.decode(row.manifest, type=_Pushed)
        if pushed.trusted and row.digest not in found:
            by = msgspec.json.decode(row.lineage, type=dict[str, Any]).get("pushed_by", "")
            found[row.digest] = {"digest": row.digest, "trusted_by": str(by), "trusted_at": row.created}
            found[row.digest]["objections"] = sorted(pushed.scan.objections)
    if found:
        connection.execute(sa.insert(trust_table), list(found.values()))
