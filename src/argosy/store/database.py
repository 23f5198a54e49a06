"""The one database handle of the platform: SQLite in the home by default, PostgreSQL by URL."""

import secrets
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from argosy.spec.errors import Conflict, Internal, InvalidArgument, MissingExtra, StorageFull, Unavailable
from argosy.store.durable import storage
from argosy.store.table import add

if TYPE_CHECKING:
    from argosy.store.signer import Signer

SCHEMA = 1
BUSY_TIMEOUT = 30.0
IDLE_SECONDS = 5.0
"""How long a transaction may stand still on PostgreSQL: one of a process that is stopped, or cut off, would keep its
locks for hours, and its lease with them."""
STOOD_STILL = "25P03"
REACHED = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""When libpq gives up on a server: in seconds, the last in milliseconds. What the URL says wins."""

metadata = sa.MetaData()
"""Every table of ours. Who adds tables registers them here, then calls `Database.create`."""

schema_version = sa.Table(
    "schema_version",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
)

platform_table = sa.Table(
    "platform",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(12), nullable=False),
)

_CREATE_LOCK = 0x6172676F7379


class Database:
    """An engine with its transactions. Threads may share it; a forked child must open its own."""

    def __init__(self, url: str | Path) -> None:
        """`url` is `sqlite:///PATH`, `postgresql://…`, or the Path of an SQLite file. A `signer`, where one is set,
        signs every entry of the ledger."""
        parsed = sa.URL.create("sqlite", database=str(url)) if isinstance(url, Path) else _parse(url)
        self.sqlite = parsed.get_backend_name() == "sqlite"
        self.label = str(parsed.database) if self.sqlite else parsed.render_as_string(hide_password=True)
        self.signer: Signer | None = None
        self.fence: Callable[[sa.Connection], None] | None = None
        self.engine = _sqlite_engine(parsed) if self.sqlite else _postgres_engine(parsed)

    def create(self) -> "Database":
        """Make the tables that are missing. Raises Conflict for a database that a newer Argosy has written. Where it
        raises, no connection stays open."""
        try:
            with self.begin() as connection:
                if not self.sqlite:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATE_LOCK)))
                there = set(sa.inspect(connection).get_table_names())
                if "schema_version" in there:
                    found = connection.execute(sa.select(schema_version.c.version)).scalar()
                    if found is not None and found > SCHEMA:
                        raise Conflict(
                            f"the database {self.label} has schema {found}, written by a newer Argosy; this one knows "
                            f"{SCHEMA}: upgrade this Argosy, or give it another ARGOSY_HOME or store.database"
                        )
                missing = [each for each in metadata.tables.values() if each.name not in there]
                metadata.create_all(connection, missing, checkfirst=False)
                add(connection, schema_version, [{"id": 1, "version": SCHEMA}])
                add(connection, platform_table, [{"id": 1, "name": secrets.token_hex(6)}])
        except BaseException:
            self.close()
            raise
        return self

    def platform(self) -> str:
        """What tells the platform of this database from all others, where several share a cluster: 12 hex digits."""
        with self.read() as connection:
            return connection.execute(sa.select(platform_table.c.name)).scalar_one()

    @contextmanager
    def begin(self, *, fenced: bool = True) -> Generator[sa.Connection]:
        """A transaction that writes: committed at the end of the block, rolled back if it raises.

        Where there is a `fence`, it is asked first, and raises Conflict for one that may write no more.

        On SQLite it holds the write lock from its start, so that what it reads stays true. Raises StorageFull,
        Unavailable (unreachable, or locked for longer than 30 s), Internal with the database's own words.
        """
        with self._errors(), self.engine.connect() as connection:
            connection = connection.execution_options(argosy_write=True, argosy_signer=self.signer)
            with connection.begin():
                if fenced and self.fence is not None:
                    self.fence(connection)
                yield connection

    @contextmanager
    def read(self) -> Generator[sa.Connection]:
        """A transaction that only reads, of one moment on SQLite."""
        with self._errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except exc.OperationalError as error:
            raise self._translate(error) from error
        except sqlite3.DatabaseError as error:
            raise self._refusal(error) from error
        except exc.DatabaseError as error:
            if isinstance(error, exc.IntegrityError):
                raise
            if getattr(error.orig, "sqlstate", None) == STOOD_STILL:
                raise Unavailable(
                    f"the database {self.label} does not answer: {error.orig}", retry_after=1.0
                ) from error
            raise self._refusal(error.orig or error) from error

    def _translate(self, error: exc.OperationalError) -> Exception:
        original: Any = error.orig
        code = getattr(original, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL or getattr(original, "sqlstate", None) == "53100":
            return StorageFull(
                f"no space left for the database {self.label}; nothing was changed: free some and repeat"
            )
        if code in (0, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            reason = "it is locked by another process" if code else str(original).strip()
            return Unavailable(f"the database {self.label} does not answer: {reason}", retry_after=1.0)
        return self._refusal(original)

    def _refusal(self, original: object) -> Internal:
        return Internal(f"the database {self.label} refuses: {str(original).strip()}")


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (exc.ArgumentError, ValueError):
        raise InvalidArgument("store.database is no database URL; write sqlite:///PATH or postgresql://…") from None
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise InvalidArgument(f"store.database: '{parsed.drivername}' is not supported; use sqlite or postgresql")
    if parsed.database in (None, "", ":memory:"):
        raise InvalidArgument("store.database: SQLite needs a file, written sqlite:///PATH")
    return parsed


def _postgres_engine(url: sa.URL) -> sa.Engine:
    given = {name: value for name, value in REACHED.items() if name not in url.query}
    try:
        engine = sa.create_engine(url, pool_pre_ping=True, connect_args=given)
    except ImportError:
        raise MissingExtra.named("postgres", "a PostgreSQL database") from None
    event.listen(engine, "connect", _bound)
    return engine


def _bound(connection: Any, _record: Any) -> None:
    connection.execute(f"SET idle_in_transaction_session_timeout = {int(IDLE_SECONDS * 1000)}")
    connection.commit()


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    path = Path(str(url.database))
    if not path.parent.is_dir():
        raise InvalidArgument(f"the folder {path.parent} of the database does not exist")
    try:
        with storage(path):
            path.touch(mode=0o600)
    except OSError as error:
        raise InvalidArgument(f"the database {path} cannot be opened: {error.strerror}") from None
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _start)
    return engine


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    """Two processes that turn WAL on for a new file at once do not wait for each other, so try again."""
    connection.isolation_level = None
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _start(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("argosy_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
