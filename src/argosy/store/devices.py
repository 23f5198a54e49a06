"""Devices: who they are, what they have, and the tokens by which new ones come in.

What a device says of itself is not to be believed: it is kept within bounds, and decides about nothing but the device.
Of its secrets only hashes are here.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa

from argosy.spec.errors import Conflict, NotFound, PermissionDenied, Unauthenticated
from argosy.store import ledger
from argosy.store.database import Database, metadata
from argosy.store.ledger import Cause
from argosy.store.table import RowMapper, put, table_of

DeviceState = Literal["active", "suspended", "revoked"]
EVENTS = 200
"""Events of one device that are kept."""

Hear = Callable[[str, Collection[str]], None]
"""Told, in any thread and after the commit, which devices of a fleet are to look again; none: all of it."""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device. `public_key` is PEM, `fingerprint` its SHA-256. `state` since `since`, and `why`.

    `ratchet` is the hash of what its last session gave, in the beginning of nothing; `previous` that of the one before,
    for as long as nothing was asked in that `session`: a device that lost the answer may come again with it.
    `assigned`: the number of the deployment that it is to run, 0 for none. The rest is what it reported: the `index`
    and digest it `committed`, the `candidate` it tries, its `phase`, the number of its last `report`, and how much it
    `lost`."""

    id: str
    fleet: str
    public_key: str
    fingerprint: str
    labels: dict[str, str] = {}
    facts: dict[str, Any] = {}
    created: float
    seen: float = 0.0
    state: DeviceState = "active"
    why: str = ""
    since: float = 0.0
    session: int = 0
    ratchet: str = hashlib.sha256().hexdigest()
    previous: str = ""
    assigned: int = 0
    index: int = 0
    committed: str = ""
    candidate: str = ""
    phase: str = "idle"
    report: int = 0
    lost: int = 0


class EnrolmentToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token by which `uses` more devices become part of a fleet, until `expires`. They get its `labels`."""

    hash: str
    fleet: str
    uses: int
    created: float
    expires: float
    labels: dict[str, str] = {}
    actor: str = ""


class DeviceNote(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a device did, as it says. `number` grows; `at` is its clock, `received` that of the platform."""

    device: str
    number: int
    fleet: str
    at: float
    received: float
    kind: str
    index: int = 0
    package: str = ""
    detail: str = ""


class DeviceCount(NamedTuple):
    """How many devices of a fleet have this state, this phase, and this deployment committed."""

    state: str
    phase: str
    deployment: int
    devices: int


devices_table = table_of(
    metadata,
    "devices",
    Device,
    sa.Index("devices_of_fleet", "fleet", "id"),
    sa.Index("devices_of_key", "fingerprint", unique=True),
    key=("id",),
    id=63,
    fleet=63,
    fingerprint=64,
    state=16,
    ratchet=64,
    previous=64,
    phase=16,
    lost=sa.BigInteger(),
)
tokens_table = table_of(metadata, "device_tokens", EnrolmentToken, key=("hash",), index=("fleet",), hash=64, fleet=63)
notes_table = table_of(
    metadata,
    "device_events",
    DeviceNote,
    sa.Index("device_events_of_fleet", "fleet", "received"),
    key=("device", "number"),
    device=63,
    number=sa.BigInteger(),
    fleet=63,
    kind=16,
)
D, K, N = devices_table.c, tokens_table.c, notes_table.c
DEVICES, TOKENS = RowMapper(devices_table, Device), RowMapper(tokens_table, EnrolmentToken)
NOTES = RowMapper(notes_table, DeviceNote)


def hashed(secret: str) -> str:
    """What is kept of a token or a ratchet."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Devices:
    """The devices of a platform. Every method may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self.database = database.create()
        self._hears: list[Hear] = []

    def listen(self, hear: Hear) -> None:
        """Have `hear` told of what changes for devices."""
        self._hears.append(hear)

    def changed(self, fleet: str, devices: Collection[str] = ()) -> None:
        """Tell those who listen."""
        for hear in self._hears:
            hear(fleet, devices)

    def make_token(
        self, fleet: str, *, uses: int, now: float, seconds: float, labels: Mapping[str, str], cause: Cause
    ) -> str:
        """A token for new devices, whose text is nowhere else."""
        text = f"argosy-device-{secrets.token_urlsafe(24)}"
        token = EnrolmentToken(
            hash=hashed(text),
            fleet=fleet,
            uses=uses,
            created=now,
            expires=now + seconds,
            labels=dict(labels),
            actor=cause.actor,
        )
        with self.database.begin() as connection:
            connection.execute(sa.delete(tokens_table).where(K.expires < now))
            TOKENS.add(connection, [token])
            ledger.append(connection, f"fleet/{fleet}", "token", {"uses": uses, "expires": now + seconds}, cause)
        return text

    def enrol(self, device: Device, *, token: str, now: float) -> Device:
        """A new device, by a `token`; empty where its certificate has been checked. One whose key is known in the fleet
        is that device again: it lost the answer. Raises Unauthenticated, PermissionDenied, Conflict."""
        with self.database.begin() as connection:
            there = DEVICES.one(connection, D.fingerprint == device.fingerprint)
            if there is not None:
                if there.fleet != device.fleet:
                    raise Conflict(f"the key of this device is that of one in another fleet than '{device.fleet}'")
                return good(there)
            if token:
                device = self._spend(connection, device, token, now)
            if not DEVICES.add(connection, [device]):
                raise Conflict(f"there is a device '{device.id}' already: give another name, or none")
            by = {"device": device.id, "labels": device.labels, "by": "token" if token else "certificate"}
            ledger.append(connection, f"fleet/{device.fleet}", "enrol", by)
        self.changed(device.fleet, (device.id,))
        return device

    def _spend(self, connection: sa.Connection, device: Device, text: str, now: float) -> Device:
        mine = (K.hash == hashed(text), K.fleet == device.fleet, K.uses > 0, K.expires > now)
        spent = sa.update(tokens_table).where(*mine).values(uses=K.uses - 1).returning(K.labels)
        labels = connection.execute(spent).scalar_one_or_none()
        if labels is None:
            raise Unauthenticated(
                f"the token is not one of fleet '{device.fleet}', was used, or is too old: argosy fleet token makes one"
            )
        return msgspec.structs.replace(device, labels={**device.labels, **labels})

    def renew(self, name: str, shown: str, ratchet: str, facts: Mapping[str, Any], now: float) -> Device:
        """A new session of a device, which has shown the ratchet of its last one and gets another. Of two devices with
        one key the later one shows what was given before: then both are suspended.

        Raises PermissionDenied for a device that is no more, or that has just been suspended."""
        with self.database.begin() as connection:
            device = good(self._held(connection, name))
            had = hashed(shown)
            if any(hmac.compare_digest(had, each) for each in (device.ratchet, device.previous)):
                device = msgspec.structs.replace(
                    device,
                    session=device.session + 1,
                    ratchet=hashed(ratchet),
                    previous=had,
                    facts=dict(facts),
                    seen=now,
                )
            else:
                why = "two devices have its key: one of them showed what only the other had been given"
                device = msgspec.structs.replace(device, state="suspended", why=why, since=now)
                ledger.append(connection, f"fleet/{device.fleet}", "suspend", {"device": name, "why": why})
            connection.execute(sa.update(devices_table).where(D.id == name).values(DEVICES.values(device)))
        if device.state != "active":
            self.changed(device.fleet, (name,))
        return good(device)

    def used(self, name: str, session: int) -> None:
        """A session was used, so that its ratchet is on the device's disk: the one before counts no more."""
        with self.database.begin() as connection:
            mine = sa.update(devices_table).where(D.id == name, D.session == session, D.previous != "")
            connection.execute(mine.values(previous=""))

    def get(self, name: str) -> Device:
        """One device. Raises NotFound."""
        with self.database.read() as connection:
            return known(DEVICES.one(connection, D.id == name), name)

    def of_fleet(self, fleet: str, *where: sa.ColumnElement[bool], most: int | None = None) -> list[Device]:
        """Devices of a fleet, by name."""
        return DEVICES.read(self.database, D.fleet == fleet, *where, order=(D.id,), most=most)

    def counts(self, fleet: str) -> list[DeviceCount]:
        """How many devices of a fleet are where."""
        columns = (D.state, D.phase, D.index)
        query = sa.select(*columns, sa.func.count()).where(D.fleet == fleet).group_by(*columns).order_by(*columns)
        with self.database.read() as connection:
            return [DeviceCount(*row) for row in connection.execute(query)]

    def label(self, name: str, labels: Mapping[str, str | None], cause: Cause) -> Device:
        """Give a device labels, and take those away that are None. Raises NotFound."""
        with self.database.begin() as connection:
            device = known(self._held(connection, name), name)
            merged = {key: value for key, value in {**device.labels, **labels}.items() if value is not None}
            connection.execute(sa.update(devices_table).where(D.id == name).values(labels=merged))
            body = {"device": name, "labels": merged}
            ledger.append(connection, f"fleet/{device.fleet}", "label", body, cause)
        self.changed(device.fleet, (name,))
        return msgspec.structs.replace(device, labels=merged)

    def revoke(self, name: str, now: float, cause: Cause) -> Device:
        """A device is none of the fleet any more, from this moment on. Raises NotFound."""
        with self.database.begin() as connection:
            device = known(self._held(connection, name), name)
            gone = {"state": "revoked", "why": cause.reason or "it was revoked", "since": now, "previous": ""}
            connection.execute(sa.update(devices_table).where(D.id == name).values(gone))
            ledger.append(connection, f"fleet/{device.fleet}", "revoke", {"device": name}, cause)
        self.changed(device.fleet, (name,))
        return msgspec.structs.replace(device, **gone)

    def _held(self, connection: sa.Connection, name: str) -> Device | None:
        """A device that nobody else changes until the end of the transaction."""
        row = connection.execute(DEVICES.query(D.id == name).with_for_update()).mappings().one_or_none()
        return None if row is None else DEVICES.of(row)

    def note_seen(self, seen: Mapping[str, float]) -> None:
        """When devices were heard last: many at once, since each asks every minute."""
        if seen:
            update = sa.update(devices_table).where(D.id == sa.bindparam("device")).values(seen=sa.bindparam("heard"))
            with self.database.begin() as connection:
                connection.execute(update, [{"device": name, "heard": at} for name, at in sorted(seen.items())])

    def events(self, device: str, most: int = EVENTS) -> list[DeviceNote]:
        """The last events of a device, the newest first."""
        return NOTES.read(self.database, N.device == device, order=(N.number.desc(),), most=most)

    def fleet_events(self, fleet: str, since: float, kinds: Sequence[str], most: int = 1000) -> list[DeviceNote]:
        """Events of these kinds that came in since, the newest first."""
        where = (N.fleet == fleet, N.received >= since, N.kind.in_(kinds))
        return NOTES.read(self.database, *where, order=(N.received.desc(), N.device, N.number), most=most)


def known(device: Device | None, name: str) -> Device:
    """Raises NotFound for one that is not there."""
    if device is None:
        raise NotFound(f"there is no device '{name[:63]}': argosy fleet devices lists them")
    return device


def good(device: Device | None) -> Device:
    """A device that may ask. Raises Unauthenticated for one that is unknown, PermissionDenied with the reason for one
    that was revoked or suspended."""
    if device is None:
        raise Unauthenticated("there is no such device: enrol it")
    if device.state != "active":
        raise PermissionDenied(f"device '{device.id}' is {device.state}: {device.why}; enrol it anew to use it again")
    return device


def keep_notes(connection: sa.Connection, notes: Iterable[DeviceNote]) -> None:
    """Write events, and forget the oldest of each device."""
    last: dict[str, int] = {}
    rows = [NOTES.values(each) for each in notes]
    if not rows:
        return
    put(connection, notes_table, rows)
    for row in rows:
        last[row["device"]] = max(last.get(row["device"], 0), row["number"])
    for device in last:
        kept = sa.select(N.number).where(N.device == device).order_by(N.number.desc()).offset(EVENTS).limit(1)
        connection.execute(sa.delete(notes_table).where(N.device == device, N.number <= kept.scalar_subquery()))
