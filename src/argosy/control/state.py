"""What is declared and what serves, in the database. Written before anything is done about it."""

from typing import Any

import msgspec
import sqlalchemy as sa

from argosy.control.decide import Serving
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import NotFound
from argosy.store.database import Database, metadata
from argosy.store.clock import now
from argosy.targets.base import Revision

endpoints_table = sa.Table(
    "endpoints",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("revision", sa.String(16), nullable=False),
    sa.Column("active", sa.String(16), nullable=True),
    sa.Column("held", sa.Integer, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("created", sa.String(32), nullable=False),
    sa.Column("updated", sa.String(32), nullable=False),
)
revisions_table = sa.Table(
    "revisions",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("endpoint", sa.String(63), nullable=False, index=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("created", sa.String(32), nullable=False),
)
E = endpoints_table.c


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint as it was declared last, the revision that means, and what serves. `generation` counts changes."""

    endpoint: Endpoint
    revision: str
    serving: Serving
    generation: int
    created: str
    updated: str


class State:
    """The controller's tables."""

    def __init__(self, database: Database) -> None:
        self.database = database.create()

    def declare(self, endpoint: Endpoint, revision: Revision) -> Declared:
        """Write a declaration, new or changed. What serves stays as it is until the controller says otherwise."""
        moment, spec = now(), msgspec.json.encode(endpoint).decode()
        kept = {"id": revision.id, "endpoint": endpoint.name, "body": msgspec.json.encode(revision).decode()}
        fresh = {"name": endpoint.name, "active": None, "held": 0, "generation": 1, "created": moment}
        changed = {"spec": spec, "revision": revision.id, "updated": moment}
        with self.database.begin() as connection:
            added = self.database.insert(revisions_table).values(kept | {"created": moment})
            connection.execute(added.on_conflict_do_nothing())
            insert = self.database.insert(endpoints_table).values(fresh | changed)
            bumped = changed | {"generation": E.generation + 1}
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=bumped))
            return _declared(connection.execute(sa.select(endpoints_table).where(E.name == endpoint.name)).one())

    def delete(self, name: str) -> None:
        """Forget an endpoint and its revisions. Raises NotFound."""
        with self.database.begin() as connection:
            if not connection.execute(sa.delete(endpoints_table).where(E.name == name)).rowcount:
                raise NotFound(f"there is no endpoint '{name[:80]}'")
            connection.execute(sa.delete(revisions_table).where(revisions_table.c.endpoint == name))

    def serve(self, name: str, serving: Serving) -> None:
        """Note which revision has the traffic."""
        with self.database.begin() as connection:
            update = sa.update(endpoints_table).where(E.name == name)
            connection.execute(update.values(active=serving.active, held=serving.held))

    def endpoints(self) -> list[Declared]:
        """Every declaration, by name."""
        with self.database.read() as connection:
            return [_declared(row) for row in connection.execute(sa.select(endpoints_table).order_by(E.name))]

    def revisions(self) -> dict[str, Revision]:
        """Every revision of a declared endpoint, by id."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(revisions_table.c.body)).scalars()
            return {each.id: each for each in (msgspec.json.decode(body, type=Revision) for body in rows)}


def _declared(row: sa.Row[Any]) -> Declared:
    return Declared(
        endpoint=msgspec.json.decode(row.spec, type=Endpoint),
        revision=row.revision,
        serving=Serving(active=row.active, held=row.held),
        generation=row.generation,
        created=row.created,
        updated=row.updated,
    )
