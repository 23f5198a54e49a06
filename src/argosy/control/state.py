"""What is declared and what serves, in the database. Written before anything is done about it."""

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from argosy.control import declared_keys
from argosy.control.decide import Serving
from argosy.control.declared_keys import Desk
from argosy.control.plan import difference
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import Conflict, NotFound
from argosy.spec.secret import masked
from argosy.store import ledger
from argosy.store.clock import now
from argosy.store.database import Database, metadata
from argosy.store.ledger import Cause
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
rollouts_table = sa.Table(
    "rollouts",
    metadata,
    sa.Column("endpoint", sa.String(63), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("phase", sa.String(16), nullable=False),
    sa.Column("changes", sa.Integer, nullable=False),
    sa.Column("progress", sa.Text, nullable=False),
    sa.Column("evidence", sa.Text, nullable=True),
    sa.Column("began", sa.String(32), nullable=False),
    sa.Column("ended", sa.String(32), nullable=True),
)
E = endpoints_table.c
SERVED = ("serve", "delete")
"""The events of the ledger after which something else serves."""


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

    def declare(
        self,
        endpoint: Endpoint,
        revision: Revision,
        *,
        cause: Cause | None = None,
        expected: int | None = None,
        keys: Desk | None = None,
    ) -> Declared:
        """Write a declaration, new or changed. What serves stays as it is until the controller says otherwise.

        The same one again changes nothing. `expected` is the generation that the writer saw, 0 for none; raises
        Conflict, with the difference, if another one has been written since. `keys` are settled along with it, or,
        where nobody would be shown them, left alone.
        """
        moment, spec = now(), msgspec.json.encode(endpoint).decode()
        changed = {"spec": spec, "revision": revision.id, "updated": moment}
        fresh = {"name": endpoint.name, "active": None, "held": 0, "generation": 1, "created": moment}
        with self.database.begin() as connection:
            insert = self.database.insert(endpoints_table).values(fresh | changed).on_conflict_do_nothing()
            created = connection.execute(insert.returning(E.name)).one_or_none() is not None
            before = _declared(connection.execute(_row(endpoint.name).with_for_update()).one())
            _check_expected(None if created else before, endpoint, expected)
            told = {"keys": steps} if (steps := keys.settle(connection) if keys else ()) else {}
            if not created and (before.endpoint, before.revision) == (endpoint, revision.id):
                if told:
                    ledger.append(connection, endpoint.name, "keys", told, cause)
                return before
            generation = _deleted(connection, endpoint.name) if created else before.generation
            update = sa.update(endpoints_table).where(E.name == endpoint.name)
            connection.execute(update.values(changed | {"generation": generation + 1}))
            self._keep(connection, revision, moment)
            declared = _declared(connection.execute(_row(endpoint.name)).one())
            body = _told(declared, revision, None if created else before.endpoint)
            ledger.append(connection, endpoint.name, "declare", body | told, cause)
            return declared

    def _keep(self, connection: sa.Connection, revision: Revision, moment: str) -> None:
        kept = {"id": revision.id, "endpoint": revision.endpoint, "body": msgspec.json.encode(revision).decode()}
        added = self.database.insert(revisions_table).values(kept | {"created": moment})
        connection.execute(added.on_conflict_do_nothing())

    def delete(self, name: str, *, cause: Cause | None = None, expected: int | None = None) -> None:
        """Forget an endpoint and its revisions, and revoke the keys that its declarations made.

        Raises NotFound; Conflict where its generation is not `expected`.
        """
        with self.database.begin() as connection:
            row = connection.execute(_row(name).with_for_update()).one_or_none()
            if row is None:
                raise NotFound(f"there is no endpoint '{name[:80]}'")
            _check_expected(_declared(row), None, expected)
            connection.execute(sa.delete(endpoints_table).where(E.name == name))
            connection.execute(sa.delete(revisions_table).where(revisions_table.c.endpoint == name))
            connection.execute(sa.delete(rollouts_table).where(rollouts_table.c.endpoint == name))
            ended = declared_keys.end_all(connection, name)
            ledger.append(connection, name, "delete", {"generation": row.generation, "keys": ended}, cause)

    def serve(self, name: str, serving: Serving) -> None:
        """Note which revision has the traffic."""
        with self.database.begin() as connection:
            update = sa.update(endpoints_table).where(E.name == name)
            if connection.execute(update.values(active=serving.active, held=serving.held)).rowcount:
                note_traffic(connection, name, {serving.active: 100} if serving.active and serving.held else {})

    def endpoint(self, name: str) -> Declared | None:
        """One declaration, if there is one."""
        with self.database.read() as connection:
            row = connection.execute(_row(name)).one_or_none()
            return _declared(row) if row else None

    def endpoints(self) -> list[Declared]:
        """Every declaration, by name."""
        with self.database.read() as connection:
            return [_declared(row) for row in connection.execute(sa.select(endpoints_table).order_by(E.name))]

    def names(self) -> set[str]:
        """The names of all that is declared."""
        with self.database.read() as connection:
            return set(connection.execute(sa.select(E.name)).scalars())

    def revisions(self) -> dict[str, Revision]:
        """Every revision of a declared endpoint, by id."""
        with self.database.read() as connection:
            rows = connection.execute(sa.select(revisions_table.c.body)).scalars()
            return {each.id: each for each in (msgspec.json.decode(body, type=Revision) for body in rows)}


def note_traffic(connection: sa.Connection, name: str, weights: Mapping[str, int], cause: Cause | None = None) -> None:
    """Write into the ledger which revisions have the traffic from now on, in percent, unless it says so already.

    The last thing a transaction does, as every entry is.
    """
    last = ledger.latest(connection, name, SERVED)
    known = {each["revision"]: each for each in (last.body.get("traffic", ()) if last else ())}
    if {key: each["weight"] for key, each in known.items()} == dict(weights):
        return
    query = sa.select(revisions_table.c.body).where(revisions_table.c.id.in_(list(weights)))
    found = [msgspec.json.decode(body, type=Revision) for body in connection.execute(query).scalars()]
    declared = ledger.latest(connection, name, ("declare",))
    traffic = [
        {
            "revision": each.id,
            "version": f"{each.model}:{each.version}",
            "digest": each.digest,
            "weight": weights[each.id],
            "declared": known[each.id]["declared"] if each.id in known else declared.seq if declared else None,
        }
        for each in sorted(found, key=lambda each: each.id)
    ]
    ledger.append(connection, name, "serve", {"traffic": traffic}, cause)


def _deleted(connection: sa.Connection, name: str) -> int:
    """The generation with which an endpoint of this name was deleted; 0 if none was. A new one counts on from there,
    so that who has seen the old one does not write to it."""
    last = ledger.latest(connection, name, ("delete",))
    return last.body["generation"] if last else 0


def _row(name: str) -> sa.Select[Any]:
    return sa.select(endpoints_table).where(E.name == name)


def _check_expected(before: Declared | None, wanted: Endpoint | None, expected: int | None) -> None:
    found = before.generation if before else 0
    if expected is None or expected == found:
        return
    name = before.endpoint.name if before else wanted.name if wanted else ""
    if before is None:
        raise Conflict(f"endpoint '{name}' was deleted meanwhile: it had generation {expected}")
    changes = "; ".join(map(str, difference(before.endpoint, wanted))) if wanted else ""
    raise Conflict(
        f"endpoint '{name}' was changed meanwhile: it has generation {found}, you saw {expected or 'none'}"
        + (f"; yours would change {changes}" if changes else "")
    )


def _told(declared: Declared, revision: Revision, before: Endpoint | None) -> dict[str, Any]:
    """A declaration as the ledger has it."""
    return {
        "generation": declared.generation,
        "revision": revision.id,
        "version": f"{revision.model}:{revision.version}",
        "digest": revision.digest,
        "changes": difference(before, declared.endpoint),
        "endpoint": masked(msgspec.to_builtins(declared.endpoint)),
    }


def _declared(row: sa.Row[Any]) -> Declared:
    return Declared(
        endpoint=msgspec.json.decode(row.spec, type=Endpoint),
        revision=row.revision,
        serving=Serving(active=row.active, held=row.held),
        generation=row.generation,
        created=row.created,
        updated=row.updated,
    )
