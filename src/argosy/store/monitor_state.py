"""What monitors remember between evaluations: one table, so that the next leader, on any machine, goes on with it."""

import logging
import time
from collections.abc import Collection
from typing import Any, Generic, TypeVar

import msgspec
import sqlalchemy as sa

from argosy.store.database import Database, metadata
from argosy.store.table import put

LOG = logging.getLogger(__name__)
S = TypeVar("S", bound=msgspec.Struct)

monitor_state_table = sa.Table(
    "monitor_state",
    metadata,
    sa.Column("monitor", sa.String(16), primary_key=True),
    sa.Column("endpoint", sa.String(63), primary_key=True),
    sa.Column("subject", sa.String(127), primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("updated", sa.Float(53), nullable=False),
)
T = monitor_state_table.c


class MonitorState(Generic[S]):
    """The states of one monitor, structs of type `struct`, by endpoint and subject (a version, the name of a trigger;
    empty where an endpoint has one state).

    A state that cannot be read counts as none, with an error in the log: its monitor begins anew. The methods that take
    a connection write in its transaction, with the findings that follow from the state.
    """

    def __init__(self, monitor: str, struct: type[S]) -> None:
        self.monitor, self.struct = monitor, struct

    def all(self, database: Database) -> dict[tuple[str, str], S]:
        """Every state, by endpoint and subject. Raises Unavailable."""
        return self._states(database)

    def get(self, database: Database, endpoint: str, subject: str = "") -> S | None:
        """One state; None where there is none. Raises Unavailable."""
        return self._states(database, T.endpoint == endpoint, T.subject == subject).get((endpoint, subject))

    def endpoints(self, database: Database) -> set[str]:
        """The endpoints that have a state. Raises Unavailable."""
        with database.read() as connection:
            return set(connection.execute(sa.select(T.endpoint).where(T.monitor == self.monitor).distinct()).scalars())

    def put(self, connection: sa.Connection, endpoint: str, state: S, subject: str = "") -> None:
        """Write a state. It replaces the one before."""
        row: dict[str, Any] = {"monitor": self.monitor, "endpoint": endpoint, "subject": subject}
        row |= {"body": msgspec.msgpack.encode(state), "updated": time.time()}
        put(connection, monitor_state_table, [row])

    def delete(self, connection: sa.Connection, endpoint: str, subject: str = "") -> None:
        """Delete a state; nothing happens where there is none."""
        where = (T.monitor == self.monitor, T.endpoint == endpoint, T.subject == subject)
        connection.execute(sa.delete(monitor_state_table).where(*where))

    def retain(self, connection: sa.Connection, endpoints: Collection[str]) -> None:
        """Delete the states of all endpoints but these."""
        where = (T.monitor == self.monitor, T.endpoint.not_in(list(endpoints)))
        connection.execute(sa.delete(monitor_state_table).where(*where))

    def _states(self, database: Database, *where: sa.ColumnElement[bool]) -> dict[tuple[str, str], S]:
        query = sa.select(T.endpoint, T.subject, T.body).where(T.monitor == self.monitor, *where)
        with database.read() as connection:
            rows = connection.execute(query).all()
        found: dict[tuple[str, str], S] = {}
        for endpoint, subject, body in rows:
            try:
                found[endpoint, subject] = msgspec.msgpack.decode(body, type=self.struct)
            except msgspec.MsgspecError as error:
                LOG.error("the state of the monitor '%s' of '%s' cannot be read: %s", self.monitor, endpoint, error)
        return found
