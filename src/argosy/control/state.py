"""What is declared, in the database. Written before anything is done about it."""

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from argosy.control import keys as declared_keys
from argosy.control.keys import KeyReconciler
from argosy.control.plan import difference
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import Conflict, NotFound
from argosy.spec.revision import Revision
from argosy.spec.secret import masked
from argosy.store import ledger
from argosy.store.endpoints import (
    SERVED,
    Declared,
    Endpoints,
    declared,
    endpoints_table,
    revisions_table,
    rollouts_table,
    row_of,
)
from argosy.store.ledger import Cause
from argosy.store.table import add, now

E = endpoints_table.c


class State(Endpoints):
    """The same, written by the API and the controller."""

    def declare(
        self,
        endpoint: Endpoint,
        revision: Revision,
        *,
        cause: Cause | None = None,
        expected: int | None = None,
        keys: KeyReconciler | None = None,
    ) -> Declared:
        """Write a declaration, new or changed. What serves stays as it is until the controller says otherwise.

        The same one again changes nothing. `expected` is the generation that the writer saw, 0 for none; raises
        Conflict, with the difference, if another one has been written since. `keys` are settled along with it, or,
        where nobody would be shown them, left alone.
        """
        moment = now()
        changed = {"spec": endpoint, "revision": revision.id, "updated": moment}
        fresh = {"name": endpoint.name, "active": None, "held": 0, "generation": 1, "created": moment}
        with self.database.begin() as connection:
            created = add(connection, endpoints_table, [fresh | changed]) > 0
            before = declared(connection.execute(row_of(endpoint.name).with_for_update()).one())
            _check_expected(None if created else before, endpoint, expected)
            changed_keys = {"keys": steps} if (steps := keys.apply(connection) if keys else ()) else {}
            if not created and (before.endpoint, before.revision) == (endpoint, revision.id):
                if changed_keys:
                    ledger.append(connection, endpoint.name, "keys", changed_keys, cause)
                return before
            generation = 0 if created else before.generation
            if created and (last := ledger.latest(connection, endpoint.name, ("delete",))):
                generation = last.body["generation"]  # so that who has seen the old one does not write to the new
            update = sa.update(endpoints_table).where(E.name == endpoint.name)
            connection.execute(update.values(changed | {"generation": generation + 1}))
            row = {"id": revision.id, "endpoint": revision.endpoint, "body": revision, "created": moment}
            if not add(connection, revisions_table, [row]):  # its adapters may be others
                same = sa.update(revisions_table).where(revisions_table.c.id == revision.id)
                connection.execute(same.values(body=revision))
            written = declared(connection.execute(row_of(endpoint.name)).one())
            body = _entry(written, revision, None if created else before.endpoint)
            ledger.append(connection, endpoint.name, "declare", body | changed_keys, cause)
            return written

    def delete(self, name: str, *, cause: Cause | None = None, expected: int | None = None) -> None:
        """Forget an endpoint and its revisions, and revoke the keys that its declarations made.

        Raises NotFound; Conflict where its generation is not `expected`.
        """
        with self.database.begin() as connection:
            row = connection.execute(row_of(name).with_for_update()).one_or_none()
            if row is None:
                raise NotFound(f"there is no endpoint '{name[:80]}'")
            _check_expected(declared(row), None, expected)
            connection.execute(sa.delete(endpoints_table).where(E.name == name))
            connection.execute(sa.delete(revisions_table).where(revisions_table.c.endpoint == name))
            connection.execute(sa.delete(rollouts_table).where(rollouts_table.c.endpoint == name))
            ended = declared_keys.end_all(connection, name)
            ledger.append(connection, name, "delete", {"generation": row.generation, "keys": ended}, cause)


def note_traffic(connection: sa.Connection, name: str, weights: Mapping[str, int], cause: Cause | None = None) -> None:
    """Write into the ledger which revisions have the traffic from now on, in percent, unless it says so already.

    The last thing a transaction does, as every entry is.
    """
    last = ledger.latest(connection, name, SERVED)
    known = {each["revision"]: each for each in (last.body.get("traffic", ()) if last else ())}
    if {key: each["weight"] for key, each in known.items()} == dict(weights):
        return
    query = sa.select(revisions_table.c.body).where(revisions_table.c.id.in_(list(weights)))
    found = list(connection.execute(query).scalars())
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


def _entry(declared: Declared, revision: Revision, before: Endpoint | None) -> dict[str, Any]:
    """A declaration as the ledger has it."""
    return {
        "generation": declared.generation,
        "revision": revision.id,
        "version": f"{revision.model}:{revision.version}",
        "digest": revision.digest,
        "changes": difference(before, declared.endpoint),
        "endpoint": masked(msgspec.to_builtins(declared.endpoint)),
    }
