"""API keys in the database: hashed, shown once, revocable."""

import builtins
import hmac
import secrets

import sqlalchemy as sa

from argosy.spec.endpoint import check_name
from argosy.spec.errors import NotFound, Unauthenticated
from argosy.spec.limits import check_rate
from argosy.store.clock import now
from argosy.store.database import Database, metadata
from argosy.store.key import KeyRecord, check_scopes, key_hash, key_id
from argosy.store.table import Json, RowMapper

keys_table = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.String(12), primary_key=True),
    sa.Column("name", sa.String(63), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("scopes", Json(tuple[str, ...]), nullable=False),
    sa.Column("rate", sa.Double, nullable=True),
    sa.Column("burst", sa.Integer, nullable=True),
    sa.Column("created", sa.String(32), nullable=False),
    sa.Column("revoked", sa.String(32), nullable=True),
)
K = keys_table.c
ROWS = RowMapper(keys_table, KeyRecord)


class Keys:
    """The keys of all clients."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(
        self, name: str, scopes: tuple[str, ...], rate: float | None = None, burst: int | None = None
    ) -> tuple[KeyRecord, str]:
        """A new key: what is kept of it, and its text, which is never seen again. Raises InvalidArgument."""
        with self.database.begin() as connection:
            return make(connection, name, scopes, rate, burst)

    def check(self, text: str) -> KeyRecord:
        """The record of a key that a client showed. Raises Unauthenticated if it is unknown or revoked."""
        identity = key_id(text)
        with self.database.read() as connection:
            record = ROWS.one(connection, K.id == identity) if identity else None
        if record is None or not hmac.compare_digest(record.hash, key_hash(text)):
            raise Unauthenticated("the API key is unknown")
        if record.revoked:
            raise Unauthenticated(f"the API key {record.id} is revoked")
        return record

    def revoke(self, id: str) -> KeyRecord:
        """End a key for good; ending it again changes nothing. Raises NotFound."""
        with self.database.begin() as connection:
            end(connection, id)
            record = ROWS.one(connection, K.id == id)
        if record is None:
            raise NotFound(f"no key has the id '{id[:80]}'; the ids are the middle part of ak_<id>_…")
        return record

    def list(self) -> builtins.list[KeyRecord]:
        """Every key there ever was, oldest first."""
        with self.database.read() as connection:
            return every(connection)


def make(
    connection: sa.Connection, name: str, scopes: tuple[str, ...], rate: float | None = None, burst: int | None = None
) -> tuple[KeyRecord, str]:
    """A new key in the transaction of `connection`: what is kept of it, and its text. Raises InvalidArgument."""
    check_rate(f"key '{name[:80]}'", rate, burst)
    identity = secrets.token_hex(6)
    text = f"ak_{identity}_{secrets.token_hex(32)}"
    record = KeyRecord(
        id=identity,
        name=check_name(name, "key name"),
        hash=key_hash(text),
        scopes=check_scopes(scopes),
        rate=rate,
        burst=burst,
        created=now(),
    )
    connection.execute(sa.insert(keys_table).values(ROWS.values(record)))
    return record, text


def change(connection: sa.Connection, id: str, scopes: tuple[str, ...], rate: float | None, burst: int | None) -> None:
    """Give a key other scopes and another rate. Raises InvalidArgument."""
    check_rate(f"key '{id}'", rate, burst)
    values = {"scopes": check_scopes(scopes), "rate": rate, "burst": burst}
    connection.execute(sa.update(keys_table).where(K.id == id).values(values))


def end(connection: sa.Connection, id: str) -> None:
    """Revoke a key; one that is revoked already stays as it is."""
    connection.execute(sa.update(keys_table).where(K.id == id, K.revoked.is_(None)).values(revoked=now()))


def every(connection: sa.Connection) -> list[KeyRecord]:
    """Every key there ever was, oldest first."""
    return ROWS.all(connection, ROWS.query().order_by(K.created, K.id))
