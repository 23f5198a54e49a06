"""What is read of a fleet to decide about a deployment: sums over its assignments, and the devices that it is for."""

import threading
import time
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from argosy.edge import wire
from argosy.fleets.update import unfit
from argosy.fleets.waves import QUIET, WaveObservation, WaveState, counts
from argosy.serving.counts import Counts
from argosy.spec.fleet import Deployment as Declared
from argosy.store.devices import D
from argosy.store.fleets import A, Deployment, Fleets, P
from argosy.telemetry.counters import add

SLOW = 10.0
"""Seconds between two readings of what answers were counted."""
CENSUS = 60.0
"""Seconds after which the devices of a fleet are read again, as their facts may be others."""
MOST_ROWS = 1000
"""Answers of one device that count: no device decides alone, whatever it says."""
AT_IT = ("offered", "working", "trial")


class Seat(NamedTuple):
    """A device as the waves see it."""

    id: str
    labels: dict[str, str]
    facts: dict[str, Any]


class DeviceSums(NamedTuple):
    """How far the devices of a deployment are: `heard` of those that were offered it have taken it; `silent`, `quiet`
    of those that are at it."""

    assigned: int = 0
    heard: int = 0
    working: int = 0
    committed: int = 0
    failed: int = 0
    silent: int = 0
    quiet: int = 0


class Readings:
    """Reads the database. Every method may be called from any thread."""

    def __init__(self, fleets: Fleets, clock: Callable[[], float] = time.time) -> None:
        self._fleets, self.clock = fleets, clock
        self._lock = threading.RLock()
        self._census: dict[str, tuple[float, list[Seat]]] = {}
        self._fitting: dict[tuple[str, int], tuple[float, int, list[str]]] = {}
        self._known: dict[tuple[str, int], tuple[Declared, wire.Update]] = {}
        self._counted: dict[tuple[str, int], float] = {}

    def forget(self, fleet: str) -> None:
        """A device was enrolled, labelled or revoked."""
        with self._lock:
            self._census.pop(fleet, None)

    def observe(self, found: Deployment, state: WaveState, *, answers: bool = True) -> WaveObservation:
        """A deployment now, for the wave it is in; what was answered only for who will have it stored."""
        declared, now = self.declared(found)[0], self.clock()
        at, fitting = self.sums(found, declared), self.fitting(found, state.wave)
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

    def sums(self, found: Deployment, declared: Declared) -> DeviceSums:
        """Sums over its assignments; those of devices that were revoked count where they are through."""
        now, silence = self.clock(), declared.stop.silence
        kinds = {
            "at": A.state,
            "came": D.seen > A.offered,
            "silent": D.seen < now - silence,
            "quiet": D.seen < now - QUIET,
            "active": D.state == "active",
        }
        of = [value.label(name) for name, value in kinds.items()]
        query = sa.select(*of, sa.func.count()).join(D.id.table, D.id == A.device)
        query = query.where(A.fleet == found.fleet, A.deployment == found.number).group_by(*kinds)
        sums = DeviceSums()._asdict()
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
        return DeviceSums(**sums)

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
        return self._read(fleet)[1]

    def _read(self, fleet: str) -> tuple[float, list[Seat]]:
        with self._lock:
            now, last = self.clock(), self._census.get(fleet)
            if last is None or not last[0] <= now < last[0] + CENSUS:
                query = sa.select(D.id, D.labels, D.facts).where(D.fleet == fleet, D.state == "active")
                with self._fleets.database.read() as connection:
                    last = self._census[fleet] = now, [Seat(*row) for row in connection.execute(query)]
            return last

    def fitting(self, found: Deployment, wave: int) -> list[str]:
        """The devices that a wave is for, and that can run the update."""
        declared, update = self.declared(found)
        with self._lock:
            (read, seats), key = self._read(found.fleet), (found.fleet, found.number)
            known = self._fitting.get(key)
            if known is None or known[:2] != (read, wave):
                wanted = {**declared.match, **declared.waves[wave].match}.items()
                fit = [each.id for each in seats if wanted <= each.labels.items() and not unfit(update, each.facts)]
                known = self._fitting[key] = read, wave, fit
            return known[2]

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

    def declared(self, found: Deployment) -> tuple[Declared, wire.Update]:
        key = found.fleet, found.number
        if key not in self._known:
            envelope = msgspec.json.decode(found.envelope, type=wire.Envelope)
            update = msgspec.json.decode(envelope.payload, type=wire.Update)
            self._known[key] = msgspec.convert(found.declaration, Declared), update
        return self._known[key]

    def free(self, found: Deployment, wave: int) -> list[str]:
        """The devices that are there, fit a wave, and could be given the deployment now."""
        over = sa.select(P.number).where(P.fleet == found.fleet, P.state.in_(("aborted", "stopped")))
        has = sa.select(A.device).where(A.device == D.id, A.deployment == found.number).exists()
        here = D.seen >= self.clock() - QUIET
        query = sa.select(D.id).where(D.fleet == found.fleet, D.state == "active", here, ~has)
        query = query.where(sa.or_(D.assigned < found.number, D.assigned.in_(over)))
        with self._fleets.database.read() as connection:
            there = set(connection.execute(query).scalars())
        return [each for each in self.fitting(found, wave) if each in there] if there else []


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
