"""Fleets of devices, the deployments of each, and what a deployment has come to on every device.

A device runs the deployment that its row names (`Device.assigned`): what it has to do is one read by two keys, however
many devices there are. What changes for devices is announced after the commit (`Devices.listen`).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa

from argosy.spec.errors import Conflict, NotFound
from argosy.store import ledger
from argosy.store.database import metadata
from argosy.store.devices import DEVICES, D, Device, DeviceNote, Devices, devices_table, keep_notes
from argosy.store.ledger import Cause
from argosy.store.table import RowMapper, put, table_of

DeploymentState = Literal["running", "paused", "done", "stopped", "aborted", "superseded"]
AssignmentState = Literal["offered", "working", "trial", "committed", "rolled_back", "refused", "left_out"]
OVER: tuple[AssignmentState, ...] = ("committed", "rolled_back", "refused", "left_out")
"""States of an assignment that no report changes any more."""

TOLD: tuple[DeploymentState, ...] = ("paused", "stopped", "aborted")
"""States of a deployment in which its devices are to stop, or go back."""


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet. `owner`: certificates (PEM) of an authority whose devices may enrol without a token; `signers`: PEM of
    keys or certificates, one of which has to have signed a package. `last`: the number of its last deployment."""

    name: str
    created: float
    actor: str = ""
    owner: str = ""
    signers: tuple[str, ...] = ()
    last: int = 0


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """A package for a fleet. `number` is the index of its update, `envelope` that update, signed, as JSON;
    `declaration` what was asked for, `policy` where the policy of its waves stands, both as JSON."""

    fleet: str
    number: int
    ref: str
    package: str
    envelope: bytes
    declaration: dict[str, Any] = {}
    state: DeploymentState = "running"
    why: str = ""
    policy: dict[str, Any] = {}
    created: float
    changed: float
    actor: str = ""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment on a device. `wave` counts from 0. What the trial counted is summed up: requests and errors of both
    slots, latencies in cells, rows that both answered and that agreed. `sent`, `again`: bytes of the transfer."""

    device: str
    deployment: int
    fleet: str
    wave: int = 0
    state: AssignmentState = "offered"
    reason: str = ""
    offered: float
    changed: float
    stable_requests: int = 0
    stable_errors: int = 0
    stable_latency: tuple[int, ...] = ()
    candidate_requests: int = 0
    candidate_errors: int = 0
    candidate_latency: tuple[int, ...] = ()
    compared: int = 0
    agreed: int = 0
    sent: int = 0
    again: int = 0


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a device is to do: its row, and the deployment it is assigned to; None where that is none."""

    device: Device
    number: int = 0
    state: DeploymentState = "running"
    envelope: bytes | None = None


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """A report of a device, checked. `counts` are added to its assignment for the deployment `index` by the names of
    that one's fields; `outcomes`: what became of deployments, with the reason."""

    device: str
    session: int
    number: int
    phase: str
    index: int = 0
    committed_index: int | None = None
    committed: str = ""
    candidate: str = ""
    lost: int = 0
    counts: dict[str, int] = {}
    stable_latency: tuple[int, ...] = ()
    candidate_latency: tuple[int, ...] = ()
    sent: int = 0
    again: int = 0
    outcomes: tuple[tuple[int, AssignmentState, str], ...] = ()
    notes: tuple[DeviceNote, ...] = ()

    @property
    def about(self) -> set[int]:
        """The deployments of which it tells something."""
        counted = any(self.counts.values()) or self.sent or self.again
        return {number for number, _, _ in self.outcomes} | ({self.index} if self.index and counted else set())


class WaveCount(NamedTuple):
    """The devices of a wave in one state, and the sums of what they counted."""

    wave: int
    state: AssignmentState
    devices: int
    stable_requests: int
    stable_errors: int
    candidate_requests: int
    candidate_errors: int
    compared: int
    agreed: int
    sent: int
    again: int


class WaveReason(NamedTuple):
    """How many devices have this reason, and the first of them."""

    state: AssignmentState
    reason: str
    devices: int
    first: str


_BIG = ("stable_requests", "stable_errors", "candidate_requests", "candidate_errors", "compared", "agreed")
fleets_table = table_of(metadata, "fleets", Fleet, key=("name",), name=63)
deployments_table = table_of(
    metadata,
    "fleet_deployments",
    Deployment,
    key=("fleet", "number"),
    index=("state",),
    fleet=63,
    package=71,
    envelope=sa.LargeBinary(),
    state=16,
)
assignments_table = table_of(
    metadata,
    "fleet_assignments",
    Assignment,
    sa.Index("fleet_assignments_of", "fleet", "deployment", "wave", "state"),
    key=("device", "deployment"),
    device=63,
    fleet=63,
    state=16,
    **dict.fromkeys((*_BIG, "sent", "again"), sa.BigInteger()),
)
F, P, A = fleets_table.c, deployments_table.c, assignments_table.c
FLEETS, DEPLOYMENTS = RowMapper(fleets_table, Fleet), RowMapper(deployments_table, Deployment)
ASSIGNMENTS = RowMapper(assignments_table, Assignment)

_ASKED = (
    DEVICES.query(D.id == sa.bindparam("asks"))
    .add_columns(P.number.label("_number"), P.state.label("_state"), P.envelope.label("_envelope"))
    .outerjoin(deployments_table, sa.and_(P.fleet == D.fleet, P.number == D.assigned))
)
"""Made once: every request of a device begins with it."""


class Fleets:
    """The fleets of a platform, beside its `devices`. Every method may be called from any thread."""

    def __init__(self, devices: Devices) -> None:
        self.devices, self.database = devices, devices.database

    def create(self, fleet: Fleet, cause: Cause) -> None:
        """A new fleet. Raises Conflict where the name is taken."""
        with self.database.begin() as connection:
            if not FLEETS.add(connection, [fleet]):
                raise Conflict(f"there is a fleet '{fleet.name}' already: give another name")
            body = {"owner": bool(fleet.owner), "signers": len(fleet.signers)}
            ledger.append(connection, f"fleet/{fleet.name}", "create", body, cause)

    def every(self) -> list[Fleet]:
        """All fleets, by name."""
        return FLEETS.read(self.database, order=(F.name,))

    def get(self, name: str) -> Fleet:
        """One fleet. Raises NotFound."""
        with self.database.read() as connection:
            return self._fleet(connection, name)

    def _fleet(self, connection: sa.Connection, name: str) -> Fleet:
        fleet = FLEETS.one(connection, F.name == name)
        if fleet is None:
            raise NotFound(f"there is no fleet '{name[:63]}': argosy fleet create makes one")
        return fleet

    def next_number(self, fleet: str) -> int:
        """A number for a deployment, never given before, to be signed with its update. Raises NotFound."""
        with self.database.begin() as connection:
            last = self._fleet(connection, fleet).last + 1
            connection.execute(sa.update(fleets_table).where(F.name == fleet).values(last=last))
            return last

    def deploy(self, deployment: Deployment, cause: Cause) -> None:
        """A new deployment; no device is assigned to it yet."""
        with self.database.begin() as connection:
            if not DEPLOYMENTS.add(connection, [deployment]):
                raise Conflict(f"fleet '{deployment.fleet}' has a deployment {deployment.number} already")
            body = {"number": deployment.number, "ref": deployment.ref, "package": deployment.package}
            ledger.append(connection, f"fleet/{deployment.fleet}", "deploy", body, cause)

    def deployment(self, fleet: str, number: int) -> Deployment:
        """One deployment. Raises NotFound."""
        with self.database.read() as connection:
            found = DEPLOYMENTS.one(connection, P.fleet == fleet, P.number == number)
        if found is None:
            raise NotFound(f"fleet '{fleet[:63]}' has no deployment {number}: argosy fleet status lists them")
        return found

    def deployments(
        self, fleet: str = "", states: Collection[DeploymentState] = (), most: int | None = None
    ) -> list[Deployment]:
        """Deployments of a fleet, or of all, in these states or any, the newest first."""
        where = ([P.fleet == fleet] if fleet else []) + ([P.state.in_(states)] if states else [])
        return DEPLOYMENTS.read(self.database, *where, order=(P.fleet, P.number.desc()), most=most)

    def move(
        self, fleet: str, number: int, state: DeploymentState, why: str, now: float, cause: Cause | None = None
    ) -> None:
        """Give a deployment another state. Devices hear of it where it asks something else of them."""
        with self.database.begin() as connection:
            was = connection.execute(
                sa.select(P.state).where(P.fleet == fleet, P.number == number)
            ).scalar_one_or_none()
            mine = sa.update(deployments_table).where(P.fleet == fleet, P.number == number, P.state != state)
            if not connection.execute(mine.values(state=state, why=why, changed=now)).rowcount:
                return
            body = {"number": number, "state": state, "why": why}
            ledger.append(connection, f"fleet/{fleet}", "deployment", body, cause)
        if not {was, state}.isdisjoint(TOLD):
            self.devices.changed(fleet)

    def keep_policy(self, fleet: str, number: int, policy: Mapping[str, Any]) -> None:
        """Write where the policy of a deployment stands."""
        with self.database.begin() as connection:
            mine = sa.update(deployments_table).where(P.fleet == fleet, P.number == number)
            connection.execute(mine.values(policy=dict(policy)))

    def assign(self, assignments: Sequence[Assignment], policy: Mapping[str, Any] | None = None) -> None:
        """Assign devices to deployments, in one transaction with the `policy` that decided so: their rows name the
        deployment from now on, unless it is left out. Assignments that are there stay as they are."""
        moved: dict[str, list[str]] = {}
        for each in assignments:
            if each.state != "left_out":
                moved.setdefault(each.fleet, []).append(each.device)
        rows = [{"to": each.deployment, "of": each.device} for each in assignments if each.state != "left_out"]
        rows.sort(key=lambda row: row["of"])  # who changes several devices begins with the first
        with self.database.begin() as connection:
            ASSIGNMENTS.add(connection, assignments)
            if rows:
                mine = sa.update(devices_table).where(D.id == sa.bindparam("of"))
                connection.execute(mine.values(assigned=sa.bindparam("to")), rows)
            if policy is not None and assignments:
                of = assignments[0]
                mine = sa.update(deployments_table).where(P.fleet == of.fleet, P.number == of.deployment)
                connection.execute(mine.values(policy=dict(policy)))
        for fleet, devices in moved.items():
            self.devices.changed(fleet, devices)

    def assignments(
        self, fleet: str, number: int, *where: sa.ColumnElement[bool], most: int | None = None
    ) -> list[Assignment]:
        """The assignments of a deployment, by wave and device."""
        mine = (A.fleet == fleet, A.deployment == number, *where)
        return ASSIGNMENTS.read(self.database, *mine, order=(A.wave, A.device), most=most)

    def waves(self, fleet: str, number: int) -> list[WaveCount]:
        """What a deployment has come to, by wave and state."""
        sums = [sa.func.sum(A[name]) for name in WaveCount._fields[3:]]
        query = sa.select(A.wave, A.state, sa.func.count(), *sums).where(A.fleet == fleet, A.deployment == number)
        with self.database.read() as connection:
            found = connection.execute(query.group_by(A.wave, A.state).order_by(A.wave, A.state)).all()
        return [WaveCount(wave, state, *map(int, rest)) for wave, state, *rest in map(tuple, found)]

    def reasons(self, fleet: str, number: int, most: int) -> list[WaveReason]:
        """Why assignments are in their states, the most frequent first; those without a reason are left out."""
        count = sa.func.count()
        where = (A.fleet == fleet, A.deployment == number, A.reason != "")
        query = sa.select(A.state, A.reason, count, sa.func.min(A.device)).where(*where).group_by(A.state, A.reason)
        with self.database.read() as connection:
            return [WaveReason(*row) for row in connection.execute(query.order_by(count.desc(), A.state).limit(most))]

    def packages(self, device: str, most: int = 20) -> list[str]:
        """The digests of the packages that a device may have: those of its last deployments."""
        query = sa.select(P.package).join(assignments_table, sa.and_(A.fleet == P.fleet, A.deployment == P.number))
        query = query.where(A.device == device, A.state != "left_out").order_by(A.deployment.desc()).limit(most)
        with self.database.read() as connection:
            return list(connection.execute(query).scalars())

    def asked(self, device: str) -> Asked | None:
        """What a device is to do; None where there is no such device."""
        with self.database.read() as connection:
            row = connection.execute(_ASKED, {"asks": device}).mappings().one_or_none()
        if row is None:
            return None
        if row["_number"] is None:
            return Asked(device=DEVICES.of(row))
        return Asked(
            device=DEVICES.of(row), number=row["_number"], state=row["_state"], envelope=bytes(row["_envelope"])
        )

    def report(self, reports: Sequence[Reported], now: float) -> list[bool]:
        """Take reports in, in one transaction: each once, in its session, and in order. Whether each is known now; it
        is not where the device may not report."""
        found: list[bool] = []
        names, told = {each.device for each in reports}, {number for each in reports for number in each.about}
        with self.database.begin() as connection:
            devices = {
                each.id: each for each in DEVICES.all(connection, DEVICES.query(D.id.in_(names)).with_for_update())
            }
            query = ASSIGNMENTS.query(A.device.in_(names), A.deployment.in_(told))
            there = ASSIGNMENTS.all(connection, query) if told else []
            assigned = {(each.device, each.deployment): each for each in there}
            taken: dict[str, Device] = {}
            for each in reports:
                device = devices.get(each.device)
                known = device is not None and device.state == "active" and device.session == each.session
                if device is not None and known and each.number > device.report:
                    taken[device.id] = devices[device.id] = _reported(device, each, now)
                    for number in each.about:
                        if (old := assigned.get((device.id, number))) is not None:
                            assigned[device.id, number] = _counted(old, each, now)
                found.append(known)
            put(connection, devices_table, [DEVICES.values(each) for each in taken.values()])
            changed = [each for each in there if assigned[each.device, each.deployment] is not each]
            rows = [ASSIGNMENTS.values(assigned[each.device, each.deployment]) for each in changed]
            put(connection, assignments_table, rows)
            keep_notes(connection, [note for each in reports if each.device in taken for note in each.notes])
        return found


def _reported(device: Device, said: Reported, now: float) -> Device:
    return msgspec.structs.replace(
        device,
        report=said.number,
        phase=said.phase,
        candidate=said.candidate,
        committed=said.committed,
        seen=now,
        previous="",
        lost=device.lost + said.lost,
        index=max(device.index, said.committed_index or 0),
    )


def _counted(there: Assignment, said: Reported, now: float) -> Assignment:
    """An assignment after a report: what is over stays as it ended."""
    news: dict[str, Any] = {}
    if said.index == there.deployment:
        news = {name: getattr(there, name) + count for name, count in said.counts.items() if count}
        for name, cells in (("stable_latency", said.stable_latency), ("candidate_latency", said.candidate_latency)):
            news |= {name: _sum(getattr(there, name), cells)} if any(cells) else {}
        for name, count in (("sent", said.sent), ("again", said.again)):
            news |= {name: count} if count > getattr(there, name) else {}
    state, reason = there.state, there.reason
    for number, next_state, why in said.outcomes:
        if number == there.deployment and state not in OVER and next_state != state:
            state, reason = next_state, why
            news |= {"state": state, "reason": reason}
    return msgspec.structs.replace(there, **news, changed=now) if news else there


def _sum(one: Sequence[int], two: Sequence[int]) -> tuple[int, ...]:
    longest = max(len(one), len(two))
    return tuple((one[at] if at < len(one) else 0) + (two[at] if at < len(two) else 0) for at in range(longest))
