"""The API keys of a declaration: which are made, changed and revoked, and that in the declaration's own transaction.

A declaration owns the keys that it made, and no others: those it changes and revokes, the rest it may only name.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import sqlalchemy as sa

from argosy.spec.endpoint import DeclaredKey, Endpoint
from argosy.spec.errors import Conflict, NotFound
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
    )
    if record := own.get(key.name):
        changed = msgspec.structs.replace(wanted, action="change", id=record.id)
        return None if changed == _of(record, "change") else changed
    there = [record for record in good if _named(endpoint, key, record)]
    if len(there) > 1:
        told = ", ".join(record.id for record in there)
        raise Conflict(f"endpoint '{endpoint.name}': several keys are called '{key.name}': name one by its id ({told})")
    for record in there:
        _check(endpoint, key, record)
        return None
    if key.id:
        raise NotFound(f"endpoint '{endpoint.name}': there is no good key {key.id[:80]}; see  argosy keys list")
    return wanted


def _scope(endpoint: Endpoint, key: DeclaredKey) -> str:
    return endpoint.name + (TEST if key.test else "")


def _named(endpoint: Endpoint, key: DeclaredKey, record: KeyRecord) -> bool:
    return record.id == key.id if key.id else record.name == key.name and record.covers(endpoint.name)


def _check(endpoint: Endpoint, key: DeclaredKey, record: KeyRecord) -> None:
    """That a key which this declaration did not make is as it says."""
    told = f"endpoint '{endpoint.name}': the key {record.id} ('{record.name}')"
    if not record.covers(endpoint.name) or (key.test and not record.tests(endpoint.name)):
        raise Conflict(f"{told} has not the scope '{_scope(endpoint, key)}'; it has {', '.join(record.scopes)}")
    limits = (key.requests_per_second, key.burst)
    if limits not in ((None, None), (record.rate, record.burst)):
        raise Conflict(
            f"{told} was not made by this declaration and has another rate: leave the rate out, use another name, or "
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
    )


class Desk:
    """Where the keys of one declaration are settled. What it `did` and which keys are to be `shown` is known then."""

    def __init__(self, database: Database, endpoint: Endpoint) -> None:
        self.database, self.endpoint = database, endpoint
        self.did: tuple[KeyStep, ...] = ()
        self.shown: tuple[ShownKey, ...] = ()

    def plan(self) -> tuple[KeyStep, ...]:
        """What would be done now."""
        with self.database.read() as connection:
            return _steps(connection, self.endpoint)

    def settle(self, connection: sa.Connection) -> tuple[KeyStep, ...]:
        """Do it, in the transaction of the declaration."""
        made = [(step, self._do(connection, step)) for step in _steps(connection, self.endpoint)]
        self.did = tuple(msgspec.structs.replace(step, id=shown.id) if shown else step for step, shown in made)
        self.shown = tuple(shown for _, shown in made if shown)
        return self.did

    def _do(self, connection: sa.Connection, step: KeyStep) -> ShownKey | None:
        if step.action == "revoke":
            keys.end(connection, step.id)
            _forget(connection, self.endpoint.name, step.name)
            return None
        if step.action == "change":
            keys.change(connection, step.id, (step.scope,), step.requests_per_second, step.burst)
            return None
        record, text = keys.make(connection, step.name, (step.scope,), step.requests_per_second, step.burst)
        if step.declared:
            _forget(connection, self.endpoint.name, step.name)
            row = {"endpoint": self.endpoint.name, "name": step.name, "key": record.id}
            connection.execute(sa.insert(declared_keys_table).values(row))
        return ShownKey(name=step.name, id=record.id, key=text, declared=step.declared)


def end_all(connection: sa.Connection, endpoint: str) -> tuple[KeyStep, ...]:
    """Revoke the keys that an endpoint's declarations made, in the transaction that deletes it."""
    ended = tuple(_of(record, "revoke") for record in _own(connection, endpoint, keys.every(connection)).values())
    for step in ended:
        keys.end(connection, step.id)
    connection.execute(sa.delete(declared_keys_table).where(D.endpoint == endpoint))
    return ended


def _steps(connection: sa.Connection, endpoint: Endpoint) -> tuple[KeyStep, ...]:
    every = keys.every(connection)
    good = [record for record in every if record.revoked is None]
    return steps(endpoint, _own(connection, endpoint.name, every), good)


def _own(connection: sa.Connection, endpoint: str, every: Sequence[KeyRecord]) -> dict[str, KeyRecord]:
    rows = connection.execute(sa.select(D.name, D.key).where(D.endpoint == endpoint).order_by(D.name)).all()
    good = {record.id: record for record in every if record.revoked is None}
    return {row.name: good[row.key] for row in rows if row.key in good}


def _forget(connection: sa.Connection, endpoint: str, name: str) -> None:
    connection.execute(sa.delete(declared_keys_table).where(D.endpoint == endpoint, D.name == name))
