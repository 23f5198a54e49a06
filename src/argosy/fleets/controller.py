"""The deployments of all fleets: read what devices have reported, decide, write what is decided.

Everything that counts is in the database, so that a platform that starts anew goes on where the one before ended. A
pass costs a few sums over the assignments of each deployment that goes on; the devices of a fleet are read again only
where their labels or facts may have changed.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable

import msgspec

from argosy.alerting.incident import Finding
from argosy.fleets.readings import SLOW, Readings
from argosy.fleets.status import DeploymentStatus, status_of
from argosy.fleets.waves import Order, WaveDecision, WaveObservation, WaveState, chosen, decide, ordered
from argosy.process.repeat import repeat
from argosy.store.fleets import Assignment, Deployment, DeploymentState, Fleets
from argosy.store.ledger import Cause
from argosy.store.streams import stream

LOG = logging.getLogger(__name__)
PASS = 2.0
"""Seconds between two passes."""
AT_ONCE = 500
"""Devices that are assigned in one pass: they all come for the same files."""
OPEN: tuple[DeploymentState, ...] = ("running", "paused", "done")
SHOWN = 20


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
        self.readings = Readings(fleets, clock)
        self._looked: dict[tuple[str, int], float] = {}
        self._told: set[str] = set()
        self._assigns = 0
        fleets.devices.listen(self._changed)

    def _changed(self, fleet: str, devices: Collection[str]) -> None:
        """From any thread: a device was enrolled, labelled or revoked, unless it was only assigned by us."""
        if self._assigns != threading.get_ident():
            self.readings.forget(fleet)

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
        state = ordered(order, self.readings.sums(found, self.readings.declared(found)[0]).failed, stored_state(found))
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

    def _supersede(self, by: Deployment, states: tuple[DeploymentState, ...]) -> set[int]:
        """End older deployments for the same devices: no device gets them any more, those that are at them go on.
        Their numbers."""
        ended: set[int] = set()
        for each in self._fleets.deployments(by.fleet, states):
            if each.number < by.number and each.declaration.get("match") == by.declaration.get("match"):
                state = msgspec.structs.replace(stored_state(each), phase="superseded", paused=False)
                why = f"deployment {by.number} took its place"
                state = msgspec.structs.replace(state, reason=why)
                self._fleets.keep_policy(each.fleet, each.number, msgspec.to_builtins(state))
                self._fleets.move(each.fleet, each.number, "superseded", why, self._clock())
                ended.add(each.number)
        return ended

    def _pass(self) -> None:
        ended: set[tuple[str, int]] = set()
        for each in self._fleets.deployments(states=OPEN):
            key = each.fleet, each.number
            if key in ended or (each.state == "done" and self._clock() - self._looked.get(key, 0.0) < SLOW):
                continue
            self._looked[key] = self._clock()
            ended |= {(each.fleet, number) for number in self._look(each)}
        for fleet in self._fleets.every():
            if fleet.name not in self._told:
                self._report(fleet.name)
                self._told.add(fleet.name)

    def _look(self, found: Deployment) -> set[int]:
        """One deployment: what is decided is written before it is done. The numbers of those that end by it."""
        declared, _ = self.readings.declared(found)
        before = stored_state(found)
        observed = self.readings.observe(found, before)
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
                return self._supersede(found, OPEN)
        return set()

    async def status(self, fleet: str, number: int) -> DeploymentStatus:
        """One deployment, as it is now. Raises NotFound."""
        return await asyncio.to_thread(self._status, self._fleets.deployment(fleet, number))

    async def statuses(self, fleet: str, most: int = SHOWN) -> list[DeploymentStatus]:
        """The last deployments of a fleet, the newest first. Raises NotFound."""

        def read() -> list[DeploymentStatus]:
            self._fleets.get(fleet)
            return [self._status(each) for each in self._fleets.deployments(fleet, most=most)]

        return await asyncio.to_thread(read)

    def _status(self, found: Deployment) -> DeploymentStatus:
        waves = self._fleets.waves(found.fleet, found.number)
        return status_of(found, stored_state(found), self.readings, waves)

    def _picked(
        self, found: Deployment, before: WaveState, after: WaveState, decision: WaveDecision, observed: WaveObservation
    ) -> list[Assignment]:
        """Who gets the update now: devices that are there, as many as the wave has room for. A wave that has just begun
        is filled by the next pass, which counts its own devices."""
        room, now = min(AT_ONCE, decision.allowed - observed.assigned), self._clock()
        if room <= 0 or after.wave != before.wave:
            return []
        free = self.readings.free(found, after.wave)
        mine = Assignment(
            device="", deployment=found.number, fleet=found.fleet, wave=after.wave, offered=now, changed=now
        )
        picked = chosen(found.fleet, found.number, free, room)
        return [msgspec.structs.replace(mine, device=each) for each in picked]

    def _report(self, fleet: str) -> None:
        """Say what is wrong with the newest deployments of a fleet, each for its devices."""
        newest: dict[str, Deployment] = {}
        for each in self._fleets.deployments(fleet, most=SHOWN):
            newest.setdefault(str(sorted(each.declaration.get("match", {}).items())), each)
        self._tell("deployments", stream(fleet), [finding for each in newest.values() if (finding := _wrong(each))])


def _wrong(found: Deployment) -> Finding | None:
    state = stored_state(found)
    if found.state != "stopped" and not (state.paused and state.reason != "on demand"):
        return None
    done = "was stopped" if found.state == "stopped" else "is paused"
    return Finding(
        endpoint=stream(found.fleet),
        kind="deployment",
        subject=str(found.number),
        severity="page",
        title=f"the deployment of {found.ref} to fleet {found.fleet} {done}",
        reason=f"in wave {state.wave + 1}: {state.reason}. See  argosy fleet status {found.fleet}",
    )


def stored_state(found: Deployment) -> WaveState:
    """Where the waves of a deployment stand."""
    return msgspec.convert(found.policy, WaveState, str_keys=True) if found.policy else WaveState()


def column(state: WaveState) -> DeploymentState:
    """What a deployment is called that is in this state."""
    return "paused" if state.paused else state.phase


def _news(before: WaveState, after: WaveState) -> bool:
    """Whether it is worth writing: not each second that has passed."""
    same = msgspec.structs.replace(after, spent=before.spent, looked=before.looked, reason=before.reason)
    return same != before or after.spent - before.spent >= SLOW or not before.looked
