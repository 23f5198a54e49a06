"""The courses of endpoints against their objectives, in the database: a budget of weeks outlives every restart."""

import logging
from collections.abc import Mapping

import msgspec
import sqlalchemy as sa

from argosy.monitoring.slo.progress import Course
from argosy.store.database import Database, metadata
from argosy.store.table import put

LOG = logging.getLogger(__name__)

slos_table = sa.Table(
    "slos",
    metadata,
    sa.Column("endpoint", sa.String(63), primary_key=True),
    sa.Column("course", sa.Text, nullable=False),
)
T = slos_table.c


def load(database: Database) -> dict[str, Course]:
    """By endpoint; one that cannot be read begins anew. Raises Unavailable."""
    found: dict[str, Course] = {}
    with database.read() as connection:
        rows = connection.execute(sa.select(T.endpoint, T.course)).all()
    for endpoint, course in rows:
        try:
            found[endpoint] = msgspec.json.decode(course, type=Course)
        except msgspec.MsgspecError as error:
            LOG.error("the budgets of '%s' cannot be read and begin anew: %s", endpoint, error)
    return found


def save(database: Database, courses: Mapping[str, Course]) -> None:
    """Write these, and forget all others. Raises Unavailable, StorageFull."""
    rows = [{"endpoint": name, "course": msgspec.json.encode(each).decode()} for name, each in courses.items()]
    with database.begin() as connection:
        connection.execute(sa.delete(slos_table).where(T.endpoint.not_in(list(courses))))
        put(connection, slos_table, rows)
