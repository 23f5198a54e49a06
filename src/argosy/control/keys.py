"""The API keys of a declaration: which are made, changed and revoked, and that in the declaration's own transaction.

A declaration owns the keys that it made, and no others: those it changes and revokes, the rest it may only name.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import sqlalchemy as sa

from argosy.spec.endpoint import DeclaredKey, Endpoint
from argosy.spec.errors import Conflict, NotFound
from argosy.spec.language import TokenLimits
from argosy.store import keys
from argosy.store.database import Database, metadata
from argosy.store.keys import TEST, KeyRecord

declared_keys_table = sa.Table(
    "declared_keys",
    metadata,
    sa.Column("endpoint", sa.String(63), primary_key=True),
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("key", sa.String(12), nullable=False),
)
D = declared_keys_table.c


class KeyStep(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to a key. One that is not `declared` is made because no key covers the endpoint."""

    action: Literal["make", "change", "revoke"]
    name: str
    id: str = ""
    scope: str = ""
    requests_per_second: float | None = None
    burst: int | None = None
    limits: TokenLimits | None = None
    declared: bool = True


class ShownKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was made, with its text, which is shown this once."""

    name: str
    id: str
    key: str
    declared: bool = True


def steps(endpoint: Endpoint, own: Mapping[str, KeyRecord], good: Sequence[KeyRecord]) -> tuple[KeyStep, ...]:
    """What a declaration asks for. `own` are the good keys that its endpoint's declarations made, by name; `good` are
    all that are not revoked. Pure. Raises NotFound, Conflict for keys that it names and cannot have.
    """
    ids = {key.id for key in endpoint.keys}
    names = {key.name for key in endpoint.keys} | {name for name, record in own.items() if record.id in ids}
    found = [step for key in endpoint.keys if (step := _step(endpoint, key, own, good))]
    found += [_of(record, "revoke") for name, record in own.items() if name not in names]
    gone = {step.id for step in found if step.action == "revoke"}
    reached = any(record.covers(endpoint.name) for record in good if record.id not in gone)
    if not endpoint.public and not reached and not any(step.action == "make" for step in found):
        found.append(KeyStep(action="make", name=endpoint.name, scope=endpoint.name, declared=False))
    return tuple(found)


def _step(
    endpoint: Endpoint, key: DeclaredKey, own: Mapping[str, KeyRecord], good: Sequence[KeyRecord]
) -> KeyStep | None:
    wanted = KeyStep(
        action="make",
        name=key.name,
        scope=_scope(endpoint, key),
        requests_per_second=key.requests_per_second,
        burst=key.burst,
        limits=key.limits if key.limits and key.limits.any else None,
    )
    if record := own.get(key.name):
        changed = msgspec.structs.replace(wanted, action="change", id=record.id)
        return None if changed == _of(record, "change") else changed
    there = [record for record in good if record.id == key.id]
    if not key.id:
        there = [record for record in good if record.name == key.name and record.covers(endpoint.name)]
    if len(there) > 1:
        ids = ", ".join(record.id for record in there)
        raise Conflict(f"endpoint '{endpoint.name}': several keys are called '{key.name}': name one by its id ({ids})")
    for record in there:
        _check(endpoint, key, record)
        return None
    if key.id:
        raise NotFound(f"endpoint '{endpoint.name}': there is no good key {key.id[:80]}; see  argosy keys ls")
    return wanted


def _scope(endpoint: Endpoint, key: DeclaredKey) -> str:
    return endpoint.name + (TEST if key.test else "")


def _check(endpoint: Endpoint, key: DeclaredKey, record: KeyRecord) -> None:
    """That a key which this declaration did not make is as it says."""
    what = f"endpoint '{endpoint.name}': the key {record.id} ('{record.name}')"
    if not record.covers(endpoint.name) or (key.test and not record.tests(endpoint.name)):
        raise Conflict(f"{what} has not the scope '{_scope(endpoint, key)}'; it has {', '.join(record.scopes)}")
    limits = (key.requests_per_second, key.burst, key.limits)
    if limits not in ((None, None, None), (record.rate, record.burst, record.limits)):
        raise Conflict(
            f"{what} was not made by this declaration and has other limits: leave them out, use another name, or "
            f"end that key by  argosy keys revoke {record.id}"
        )


def _of(record: KeyRecord, action: Literal["change", "revoke"]) -> KeyStep:
    return KeyStep(
        action=action,
        name=record.name,
        id=record.id,
        scope=record.scopes[0],
        requests_per_second=record.rate,
        burst=record.burst,
        limits=record.limits,
    )


class KeyReconciler:
    """Makes, changes and revokes the keys of one declaration. Afterwards `did` holds what was done, and `shown` the
    keys that were made."""

    def __init__(self, database: Database, endpoint: Endpoint) -> None:
        self.database, self.endpoint = database, endpoint
        self.did: tuple[KeyStep, ...] = ()
        self.shown: tuple[ShownKey, ...] = ()

    def plan(self) -> tuple[KeyStep, ...]:
        """What would be done now."""
        with self.database.read() as connection:
            return self._steps(connection)

    def apply(self, connection: sa.Connection) -> tuple[KeyStep, ...]:
        """Do it, in the transaction of the declaration."""
        made = [(step, self._do(connection, step)) for step in self._steps(connection)]
        self.did = tuple(msgspec.structs.replace(step, id=shown.id) if shown else step for step, shown in made)
        self.shown = tuple(shown for _, shown in made if shown)
        return self.did

    def _steps(self, connection: sa.Connection) -> tuple[KeyStep, ...]:
        good = _good(connection)
        return steps(self.endpoint, _own(connection, self.endpoint.name, good), good)

    def _do(self, connection: sa.Connection, step: KeyStep) -> ShownKey | None:
        mine = sa.delete(declared_keys_table).where(D.endpoint == self.endpoint.name, D.name == step.name)
        if step.action == "revoke":
            keys.end(connection, step.id)
            connection.execute(mine)
            return None
        if step.action == "change":
            keys.change(connection, step.id, (step.scope,), step.requests_per_second, step.burst, step.limits)
            return None
        limits = (step.requests_per_second, step.burst, step.limits)
        record, text = keys.make(connection, step.name, (step.scope,), *limits)
        if step.declared:
            connection.execute(mine)
            row = {"endpoint": self.endpoint.name, "name": step.name, "key": record.id}
            connection.execute(sa.insert(declared_keys_table).values(row))
        return ShownKey(name=step.name, id=record.id, key=text, declared=step.declared)


def end_all(connection: sa.Connection, endpoint: str) -> tuple[KeyStep, ...]:
    """Revoke the keys that an endpoint's declarations made, in the transaction that deletes it."""
    own = _own(connection, endpoint, _good(connection))
    ended = tuple(_of(record, "revoke") for record in own.values())
    for step in ended:
        keys.end(connection, step.id)
    connection.execute(sa.delete(declared_keys_table).where(D.endpoint == endpoint))
    return ended


def _good(connection: sa.Connection) -> list[KeyRecord]:
    return [record for record in keys.every(connection) if record.revoked is None]


def _own(connection: sa.Connection, endpoint: str, good: Sequence[KeyRecord]) -> dict[str, KeyRecord]:
    rows = connection.execute(sa.select(D.name, D.key).where(D.endpoint == endpoint).order_by(D.name)).all()
    records = {record.id: record for record in good}
    return {row.name: records[row.key] for row in rows if row.key in records}
