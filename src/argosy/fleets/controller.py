"""The deployments of all fleets: read what devices have reported, decide, write what is decided.

Everything that counts is in the database, so that a platform that starts anew goes on where the one before ended. A
pass costs a few sums over the assignments of each deployment that goes on; the devices of a fleet are read again only
where their labels or facts may have changed.
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from argosy.alerting.incident import Finding
from argosy.edge import wire
from argosy.fleets.update import unfit
from argosy.fleets.waves import (
    QUIET,
    Order,
    WaveDecision,
    WaveObservation,
    WaveState,
    chosen,
    counts,
    decide,
    ordered,
)
from argosy.process.repeat import repeat
from argosy.serving.counts import Counts
from argosy.spec.fleet import Deployment as Declared
from argosy.store.devices import D
from argosy.store.fleets import A, Assignment, Deployment, DeploymentState, Fleets, P
from argosy.store.ledger import Cause
from argosy.telemetry.counters import add

LOG = logging.getLogger(__name__)
PASS = 2.0
"""Seconds between two passes."""
SLOW = 10.0
"""Seconds between two readings of what answers were counted, and two passes over a deployment that is done."""
CENSUS = 60.0
"""Seconds after which the devices of a fleet are read again, as their facts may be others."""
AT_ONCE = 500
"""Devices that are assigned in one pass: they all come for the same files."""
MOST_ROWS = 1000
"""Answers of one device that count: no device decides alone, whatever it says."""
OPEN: tuple[DeploymentState, ...] = ("running", "paused", "done")
AT_IT = ("offered", "working", "trial")
SHOWN = 20


class Seat(NamedTuple):
    """A device as the waves see it."""

    id: str
    labels: dict[str, str]
    facts: dict[str, Any]


class WaveStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A wave as it was declared, and how many of its devices are in which state."""

    share: float | None = None
    devices: int | None = None
    match: dict[str, str] = {}
    states: dict[str, int] = {}


class DeploymentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment as API, console and command show it. `wave` counts from 1. `failures`: where the share of devices
    that fail with it lies, at all times together. `left_out`: devices that cannot run it, by reason."""

    fleet: str
    number: int
    ref: str
    package: str
    state: DeploymentState
    reason: str
    match: dict[str, str]
    wave: int
    waves: tuple[WaveStatus, ...]
    allowed: int
    matching: int
    assigned: int
    offline: int
    begun: int
    committed: int
    failed: int
    silent: int
    failures: tuple[float, float]
    compared: int
    agreed: int
    sent: int
    again: int
    left_out: dict[str, int]
    created: float
    changed: float
    actor: str


class Progress(NamedTuple):
    """How far the devices of a deployment are: `heard` of those that were offered it have taken it; `silent`, `quiet`
    of those that are at it."""

    assigned: int = 0
    heard: int = 0
    working: int = 0
    committed: int = 0
    failed: int = 0
    silent: int = 0
    quiet: int = 0


class Deployments:
    """The deployments of a platform. `tell` takes what is wrong with a fleet (`Incidents.report`)."""

    def __init__(
        self,
        fleets: Fleets,
        tell: Callable[[str, str, Iterable[Finding]], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fleets, self._tell, self._clock = fleets, tell, clock
        self._lock, self._wake = asyncio.Lock(), asyncio.Event()
        self._census: dict[str, tuple[float, list[Seat]]] = {}
        self._fitting: dict[tuple[str, int, int], tuple[float, list[str]]] = {}
        self._known: dict[tuple[str, int], tuple[Declared, wire.Update]] = {}
        self._looked: dict[tuple[str, int], float] = {}
        self._counted: dict[tuple[str, int], float] = {}
        self._told: set[str] = set()
        self._assigns = 0
        fleets.devices.listen(self._changed)

    def _changed(self, fleet: str, devices: Collection[str]) -> None:
        """From any thread: a device was enrolled, labelled or revoked, unless it was only assigned by us."""
        if self._assigns != threading.get_ident():
            self._census.pop(fleet, None)

    def wake(self) -> None:
        """Make a pass now."""
        self._wake.set()

    async def run(self) -> None:
        """Pass after pass, until cancelled."""
        await repeat(self.step, PASS, "a pass over the fleets", LOG, self._wake)

    async def step(self) -> None:
        """One pass over all deployments that go on."""
        async with self._lock:
            await asyncio.to_thread(self._pass)

    async def order(self, fleet: str, number: int, order: Order, cause: Cause) -> None:
        """Pause, resume or abort. Raises NotFound, Conflict where it is too late."""
        async with self._lock:
            await asyncio.to_thread(self._order, fleet, number, order, cause)
        self.wake()

    def _order(self, fleet: str, number: int, order: Order, cause: Cause) -> None:
        found = self._fleets.deployment(fleet, number)
        state = ordered(order, self._progress(found, self._declared(found)[0]).failed, stored_state(found))
        self._fleets.keep_policy(fleet, number, msgspec.to_builtins(state))
        why = cause.reason or state.reason
        self._fleets.move(fleet, number, column(state), why, self._clock(), cause)
        self._told.discard(fleet)

    async def deploy(self, deployment: Deployment, cause: Cause) -> None:
        """Begin a deployment. Those for the same devices that are under way end where they are."""
        async with self._lock:
            await asyncio.to_thread(self._deploy, deployment, cause)
        self.wake()

    def _deploy(self, deployment: Deployment, cause: Cause) -> None:
        self._fleets.deploy(deployment, cause)
        self._supersede(deployment, ("running", "paused"))
        self._told.discard(deployment.fleet)

    def _supersede(self, by: Deployment, states: tuple[DeploymentState, ...]) -> None:
        """End older deployments for the same devices: no device gets them any more, those that are at them go on."""
        for each in self._fleets.deployments(by.fleet, states):
            if each.number < by.number and each.declaration.get("match") == by.declaration.get("match"):
                state = msgspec.structs.replace(stored_state(each), phase="superseded", paused=False)
                why = f"deployment {by.number} took its place"
                state = msgspec.structs.replace(state, reason=why)
                self._fleets.keep_policy(each.fleet, each.number, msgspec.to_builtins(state))
                self._fleets.move(each.fleet, each.number, "superseded", why, self._clock())

    def _pass(self) -> None:
        for each in self._fleets.deployments(states=OPEN):
            key = each.fleet, each.number
            if each.state == "done" and self._clock() - self._looked.get(key, 0.0) < SLOW:
                continue
            self._looked[key] = self._clock()
            self._look(each)
        for fleet in self._fleets.every():
            if fleet.name not in self._told:
                self._report(fleet.name)
                self._told.add(fleet.name)

    def _look(self, found: Deployment) -> None:
        """One deployment: what is decided is written before it is done."""
        declared, _ = self._declared(found)
        before = stored_state(found)
        observed = self.observe(found, before)
        decision, after = decide(declared, observed, before)
        picked = self._picked(found, before, after, decision, observed)
        if picked:
            self._assigns = threading.get_ident()
            try:
                self._fleets.assign(picked, msgspec.to_builtins(after))
            finally:
                self._assigns = 0
        elif _news(before, after):
            self._fleets.keep_policy(found.fleet, found.number, msgspec.to_builtins(after))
        if (state := column(after)) != found.state:
            self._fleets.move(found.fleet, found.number, state, after.reason, self._clock())
            self._told.discard(found.fleet)
            if state == "done":
                self._supersede(found, OPEN)

    async def status(self, fleet: str, number: int) -> "DeploymentStatus":
        """One deployment, as it is now. Raises NotFound."""
        return await asyncio.to_thread(self._status, self._fleets.deployment(fleet, number))

    async def statuses(self, fleet: str, most: int = SHOWN) -> list["DeploymentStatus"]:
        """The last deployments of a fleet, the newest first. Raises NotFound."""

        def read() -> list[DeploymentStatus]:
            self._fleets.get(fleet)
            return [self._status(each) for each in self._fleets.deployments(fleet, most=most)]

        return await asyncio.to_thread(read)

    def _status(self, found: Deployment) -> "DeploymentStatus":
        (declared, update), state = self._declared(found), stored_state(found)
        observed = self.observe(found, state, answers=False)
        decision, after = decide(declared, observed, state)
        waves = self._fleets.waves(found.fleet, found.number)
        reasons = Counter(
            unfit(update, each.facts)
            for each in self.census(found.fleet)
            if declared.match.items() <= each.labels.items()
        )
        return DeploymentStatus(
            fleet=found.fleet,
            number=found.number,
            ref=found.ref,
            package=found.package,
            state=found.state,
            reason=after.reason if after.phase == state.phase and after.wave == state.wave else state.reason,
            match=declared.match,
            wave=state.wave + 1,
            waves=tuple(
                WaveStatus(
                    share=each.share,
                    devices=each.devices,
                    match=each.match,
                    states={one.state: one.devices for one in waves if one.wave == place},
                )
                for place, each in enumerate(declared.waves)
            ),
            allowed=decision.allowed,
            matching=observed.matching,
            assigned=observed.assigned,
            offline=observed.offline,
            begun=observed.begun,
            committed=observed.committed,
            failed=observed.failed,
            silent=observed.silent,
            failures=decision.interval,
            compared=sum(each.compared for each in waves),
            agreed=sum(each.agreed for each in waves),
            sent=sum(each.sent for each in waves),
            again=sum(each.again for each in waves),
            left_out={reason: count for reason, count in reasons.most_common() if reason},
            created=found.created,
            changed=found.changed,
            actor=found.actor,
        )

    def observe(self, found: Deployment, state: WaveState, *, answers: bool = True) -> WaveObservation:
        """A deployment now, for the wave it is in; what was answered only for who will have it stored."""
        declared, now = self._declared(found)[0], self._clock()
        at, fitting = self._progress(found, declared), self.fitting(found, state.wave)
        assigned = at.assigned
        if declared.waves[state.wave].match:
            assigned = len(self._assigned(found).intersection(fitting))
        others = self._others(found, now, declared.stop.silence) if at.silent else (0, 0)
        arms = self._answers(found, state, now) if answers else (Counts(), Counts())
        return WaveObservation(
            now=now,
            matching=len(fitting),
            assigned=assigned,
            offline=self._offline(found, fitting, now) if state.wave + 1 == len(declared.waves) else 0,
            begun=at.heard + at.working + at.committed + at.failed - at.silent,
            committed=at.committed,
            failed=at.failed,
            silent=at.silent,
            quiet=at.quiet,
            others=others[0],
            away=others[1],
            candidate=arms[0],
            stable=arms[1],
        )

    def _progress(self, found: Deployment, declared: Declared) -> Progress:
        """Sums over its assignments; those of devices that were revoked count where they are through."""
        now, silence = self._clock(), declared.stop.silence
        heard = D.seen > A.offered
        of = [A.state, heard, D.seen < now - silence, D.seen < now - QUIET]
        query = sa.select(*of, D.state == "active", sa.func.count()).join(D.id.table, D.id == A.device)
        query = query.where(A.fleet == found.fleet, A.deployment == found.number).group_by(*of, D.state == "active")
        sums = Progress()._asdict()
        with self._fleets.database.read() as connection:
            rows: list[tuple[Any, ...]] = [tuple(row) for row in connection.execute(query)]
            for state, came, silent, quiet, active, devices in rows:
                if state == "left_out":
                    continue
                sums["assigned"] += devices
                if state == "committed":
                    sums["committed"] += devices
                elif state in ("rolled_back", "refused"):
                    sums["failed"] += devices
                elif active and (came or state != "offered"):
                    sums["heard" if state == "offered" else "working"] += devices
                    sums["silent"] += devices if silent else 0
                    sums["failed"] += devices if silent else 0
                    sums["quiet"] += devices if quiet and not silent else 0
        return Progress(**sums)

    def _others(self, found: Deployment, now: float, silence: float) -> tuple[int, int]:
        """Devices that are not at it and were there before those at it fell silent, and how many of them have too."""
        at_it = sa.select(A.device).where(A.device == D.id, A.deployment == found.number, A.state.in_(AT_IT)).exists()
        away = sa.func.coalesce(sa.func.sum(sa.case((D.seen < now - silence, 1), else_=0)), 0)
        query = sa.select(sa.func.count(), away).where(D.fleet == found.fleet, D.state == "active", ~at_it)
        with self._fleets.database.read() as connection:
            row = connection.execute(query.where(D.seen >= now - 2 * silence)).one()
        return int(row[0]), int(row[1])

    def _answers(self, found: Deployment, state: WaveState, now: float) -> tuple[Counts, Counts]:
        """What both versions answered since the last reading, on devices that have asked both."""
        key = found.fleet, found.number
        if found.state == "done" or now - self._counted.get(key, 0.0) < SLOW:
            return Counts(), Counts()
        self._counted[key] = now
        names = ("requests", "errors", "latency")
        columns = [A[f"{arm}_{name}"] for arm in ("candidate", "stable") for name in names]
        query = sa.select(*columns).where(A.fleet == found.fleet, A.deployment == found.number)
        with self._fleets.database.read() as connection:
            both = query.where(A.candidate_requests > 0, A.stable_requests > 0)
            rows: list[tuple[Any, ...]] = [tuple(row) for row in connection.execute(both)]
        candidate = add(counts(_bounded(*row[:3])) for row in rows)
        stable = add(counts(_bounded(*row[3:])) for row in rows)
        return _since(state.guard.candidate, candidate), _since(state.guard.stable, stable)

    def census(self, fleet: str) -> list[Seat]:
        """The active devices of a fleet, as they were a moment ago."""
        read, seats = self._census.get(fleet, (0.0, []))
        if not read <= self._clock() < read + CENSUS or fleet not in self._census:
            query = sa.select(D.id, D.labels, D.facts).where(D.fleet == fleet, D.state == "active")
            read = self._clock()
            with self._fleets.database.read() as connection:
                seats = [Seat(*row) for row in connection.execute(query)]
            self._census[fleet] = read, seats
        return seats

    def fitting(self, found: Deployment, wave: int) -> list[str]:
        """The devices that a wave is for, and that can run the update."""
        declared, update = self._declared(found)
        key, seats = (found.fleet, found.number, wave), self.census(found.fleet)
        read, _ = self._census.get(found.fleet, (0.0, seats))
        if key not in self._fitting or self._fitting[key][0] != read:
            wanted = {**declared.match, **declared.waves[wave].match}.items()
            fit = [each.id for each in seats if wanted <= each.labels.items() and not unfit(update, each.facts)]
            self._fitting = {old: value for old, value in self._fitting.items() if old[:2] != key[:2]}
            self._fitting[key] = read, fit
        return self._fitting[key][1]

    def _offline(self, found: Deployment, fitting: Collection[str], now: float) -> int:
        """How many of them are not heard of and have not taken it."""
        taken = sa.select(A.device).where(A.device == D.id, A.deployment == found.number)
        taken = taken.where(sa.or_(A.state != "offered", D.seen > A.offered)).exists()
        query = sa.select(D.id).where(D.fleet == found.fleet, D.state == "active", D.seen < now - QUIET, ~taken)
        with self._fleets.database.read() as connection:
            there = set(connection.execute(query).scalars())
        return len(there.intersection(fitting)) if there else 0

    def _assigned(self, found: Deployment) -> set[str]:
        query = sa.select(A.device).where(A.fleet == found.fleet, A.deployment == found.number)
        with self._fleets.database.read() as connection:
            return set(connection.execute(query.where(A.state != "left_out")).scalars())

    def _picked(
        self, found: Deployment, before: WaveState, after: WaveState, decision: WaveDecision, observed: WaveObservation
    ) -> list[Assignment]:
        """Who gets the update now: devices that are there, as many as the wave has room for. A wave that has just begun
        is filled by the next pass, which counts its own devices."""
        room = min(AT_ONCE, decision.allowed - observed.assigned)
        if room <= 0 or after.wave != before.wave:
            return []
        now = self._clock()
        over = sa.select(P.number).where(P.fleet == found.fleet, P.state.in_(("aborted", "stopped")))
        has = sa.select(A.device).where(A.device == D.id, A.deployment == found.number).exists()
        query = sa.select(D.id).where(D.fleet == found.fleet, D.state == "active", D.seen >= now - QUIET, ~has)
        query = query.where(sa.or_(D.assigned < found.number, D.assigned.in_(over)))
        with self._fleets.database.read() as connection:
            free = set(connection.execute(query).scalars())
        free.intersection_update(self.fitting(found, after.wave))
        return [
            Assignment(
                device=each, deployment=found.number, fleet=found.fleet, wave=after.wave, offered=now, changed=now
            )
            for each in chosen(found.fleet, found.number, free, room)
        ]

    def _declared(self, found: Deployment) -> tuple[Declared, wire.Update]:
        key = found.fleet, found.number
        if key not in self._known:
            envelope = msgspec.json.decode(found.envelope, type=wire.Envelope)
            update = msgspec.json.decode(envelope.payload, type=wire.Update)
            self._known[key] = msgspec.convert(found.declaration, Declared), update
        return self._known[key]

    def _report(self, fleet: str) -> None:
        """Say what is wrong with the newest deployments of a fleet, each for its devices."""
        newest: dict[str, Deployment] = {}
        for each in self._fleets.deployments(fleet, most=SHOWN):
            newest.setdefault(str(sorted(each.declaration.get("match", {}).items())), each)
        self._tell("deployments", f"fleet/{fleet}", [finding for each in newest.values() if (finding := _wrong(each))])


def _wrong(found: Deployment) -> Finding | None:
    state = stored_state(found)
    if found.state != "stopped" and not (state.paused and state.reason != "on demand"):
        return None
    done = "was stopped" if found.state == "stopped" else "is paused"
    return Finding(
        endpoint=f"fleet/{found.fleet}",
        kind="deployment",
        subject=str(found.number),
        severity="page",
        title=f"the deployment of {found.ref} to fleet {found.fleet} {done}",
        reason=f"in wave {state.wave + 1}: {state.reason}. See  argosy fleet status {found.fleet}",
    )


def stored_state(found: Deployment) -> WaveState:
    """Where the waves of a deployment stand."""
    return msgspec.convert(found.policy, WaveState) if found.policy else WaveState()


def column(state: WaveState) -> DeploymentState:
    """What a deployment is called that is in this state."""
    return "paused" if state.paused else state.phase


def _news(before: WaveState, after: WaveState) -> bool:
    """Whether it is worth writing: not each second that has passed."""
    same = msgspec.structs.replace(after, spent=before.spent, looked=before.looked, reason=before.reason)
    return same != before or after.spent - before.spent >= SLOW or not before.looked


def _bounded(requests: int, errors: int, latency: Collection[int]) -> wire.Arm:
    """What one device counted, as if it had had no more than so many requests."""
    if requests <= MOST_ROWS:
        return wire.Arm(requests=requests, errors=min(errors, requests), latency=tuple(latency))
    share = MOST_ROWS / requests
    cells = tuple(int(count * share) for count in latency)
    return wire.Arm(requests=MOST_ROWS, errors=min(MOST_ROWS, round(errors * share)), latency=cells)


def _since(before: Counts, now: Counts) -> Counts:
    """What was added. Scaled counts can fall, which adds nothing."""
    requests = max(0, now.requests - before.requests)
    latency = {cell: more for cell, count in now.latency.items() if (more := count - before.latency.get(cell, 0)) > 0}
    return Counts(requests=requests, errors=min(requests, max(0, now.errors - before.errors)), latency=latency)
