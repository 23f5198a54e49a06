"""API keys in the database: hashed, shown once, revocable."""

import builtins
import hashlib
import secrets
from collections.abc import Collection

import msgspec
import sqlalchemy as sa

from argosy.spec.endpoint import check_name
from argosy.spec.errors import InvalidArgument, NotFound
from argosy.spec.language import TokenLimits
from argosy.spec.limits import check_rate
from argosy.store.database import Database, metadata
from argosy.store.table import Json, RowMapper, now

EVERYTHING = "*"
TEST = ":test"
"""What a scope ends with that also lets its holder pick a revision, where an endpoint has testers."""
MOST_SCOPES = 1000
"""Of a key: the gateway holds those of all keys, and reads them anew whenever one changes."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its hash. `scopes` are endpoint names, or "*" for all, with ":test" behind it for testers. `rate`
    is requests a second and `burst` how many may come at once; None leaves them to the gateway. `limits` are of tokens
    and money, at all endpoints together. `created` and `revoked` are UTC in ISO 8601."""

    id: str
    name: str
    scopes: tuple[str, ...]
    rate: float | None = None
    burst: int | None = None
    limits: TokenLimits | None = None
    created: str
    revoked: str | None = None


class KeyRecord(Key, frozen=True, kw_only=True):
    """A key as it is stored: `hash` is the sha256 of its whole text, in hexadecimal; the text itself is not stored."""

    hash: str

    def covers(self, endpoint: str) -> bool:
        """Whether its scopes name the endpoint."""
        return any(scope.removesuffix(TEST) in (endpoint, EVERYTHING) for scope in self.scopes)

    def tests(self, endpoint: str) -> bool:
        """Whether its holder may pick a revision of the endpoint."""
        return bool({endpoint + TEST, EVERYTHING + TEST} & set(self.scopes))


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
limits_table = sa.Table(
    "key_limits",
    metadata,
    sa.Column("key", sa.String(12), primary_key=True),
    sa.Column("limits", Json(TokenLimits), nullable=False),
)
K, T = keys_table.c, limits_table.c
ROWS = RowMapper(keys_table, KeyRecord)


class Keys:
    def __init__(self, database: Database) -> None:
        self.database = database

    def create(
        self,
        name: str,
        scopes: tuple[str, ...],
        rate: float | None = None,
        burst: int | None = None,
        limits: TokenLimits | None = None,
    ) -> tuple[KeyRecord, str]:
        """A new key: what is stored of it, and its text, which is shown once. Raises InvalidArgument."""
        with self.database.begin() as connection:
            return make(connection, name, scopes, rate, burst, limits)

    def revoke(self, id: str) -> KeyRecord:
        """End a key for good; ending it again changes nothing. Raises NotFound."""
        with self.database.begin() as connection:
            end(connection, id)
            record = next((each for each in every(connection) if each.id == id), None)
        if record is None:
            raise NotFound(f"no key has the id '{id[:80]}'; the ids are the middle part of ak_<id>_…")
        return record

    def list(self) -> builtins.list[KeyRecord]:
        """Every key there ever was, oldest first."""
        with self.database.read() as connection:
            return every(connection)


def make(
    connection: sa.Connection,
    name: str,
    scopes: tuple[str, ...],
    rate: float | None = None,
    burst: int | None = None,
    limits: TokenLimits | None = None,
) -> tuple[KeyRecord, str]:
    """A new key in the transaction of `connection`: what is stored of it, and its text. Raises InvalidArgument."""
    check_rate(f"key '{name[:80]}'", rate, burst)
    identity = secrets.token_hex(6)
    text = f"ak_{identity}_{secrets.token_hex(32)}"
    record = KeyRecord(
        id=identity,
        name=check_name(name, "key name"),
        hash=hashlib.sha256(text.encode()).hexdigest(),
        scopes=check_scopes(scopes),
        rate=rate,
        burst=burst,
        limits=limits if limits and limits.any else None,
        created=now(),
    )
    connection.execute(sa.insert(keys_table).values(ROWS.values(record)))
    _limit(connection, identity, limits)
    return record, text


def change(
    connection: sa.Connection,
    id: str,
    scopes: tuple[str, ...],
    rate: float | None,
    burst: int | None,
    limits: TokenLimits | None = None,
) -> None:
    """Give a key other scopes and other limits. Raises InvalidArgument."""
    check_rate(f"key '{id}'", rate, burst)
    values = {"scopes": check_scopes(scopes), "rate": rate, "burst": burst}
    connection.execute(sa.update(keys_table).where(K.id == id).values(values))
    _limit(connection, id, limits)


def _limit(connection: sa.Connection, id: str, limits: TokenLimits | None) -> None:
    connection.execute(sa.delete(limits_table).where(T.key == id))
    if limits is not None and limits.any:
        connection.execute(sa.insert(limits_table).values(key=id, limits=limits))


def end(connection: sa.Connection, id: str) -> None:
    """Revoke a key; one that is revoked already stays as it is."""
    connection.execute(sa.update(keys_table).where(K.id == id, K.revoked.is_(None)).values(revoked=now()))


def settle(connection: sa.Connection, records: Collection[KeyRecord], before: Collection[str]) -> None:
    """Have these keys of another platform be good here, and of those `before` no others."""
    ROWS.put(connection, records, keep=("created",))
    for each in records:
        _limit(connection, each.id, each.limits)
    for id in set(before) - {each.id for each in records}:
        end(connection, id)


def every(connection: sa.Connection) -> list[KeyRecord]:
    """Every key there ever was, oldest first."""
    limits = {row.key: row.limits for row in connection.execute(sa.select(limits_table))}
    found = ROWS.all(connection, ROWS.query().order_by(K.created, K.id))
    return [msgspec.structs.replace(each, limits=limits[each.id]) if each.id in limits else each for each in found]


def check_scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Raise InvalidArgument unless there are 1 to `MOST_SCOPES`, each "*" or an endpoint's name, ":test" behind it or
    not. Returns them sorted."""
    if not scopes:
        raise InvalidArgument("a key needs at least one scope: the name of an endpoint, or '*' for all")
    if len(scopes) > MOST_SCOPES:
        raise InvalidArgument(f"a key has at most {MOST_SCOPES} scopes, not {len(scopes)}: '*' covers all endpoints")
    for scope in scopes:
        if (name := scope.removesuffix(TEST)) != EVERYTHING:
            check_name(name, "scope")
    return tuple(sorted(set(scopes)))
