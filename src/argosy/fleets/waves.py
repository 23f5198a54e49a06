"""How a deployment goes from wave to wave: (observation, state) → (decision, state). Pure; `controller.py` acts on it.

A wave takes in so many devices and no more. The next one begins once the wave has lasted its seconds, enough of its
devices have committed, and no larger share of them has failed than the declaration allows. Two tests stop a deployment
for good, each at half of its α and valid at every moment it is read:

- Devices. Of those that took the update more fail than the share allowed (`eprocess.plausible`). Devices that are
  still at it count as ones that did not fail: failing is faster than committing, so that a count of those alone that
  are through would accuse every version. Where devices without the update have fallen silent as well, their share is
  added to what is allowed.
- Answers. The guard of rollouts, with the wave as its candidate: what the new version answered on all devices beside
  what the version before answered on the same ones. It finds harm that is too small for a single device to prove.

A wave in which too large a share failed, but of too few devices to prove anything, is stopped where that is half of
them, and otherwise paused for a person. Absence of an alarm never advances.
"""

import hashlib
import heapq
import math
from collections.abc import Iterable
from typing import Literal

import msgspec

from argosy.edge.wire import Arm
from argosy.monitoring.analysis import guard as rollout_guard
from argosy.monitoring.analysis.evidence import GuardObservation, GuardState
from argosy.monitoring.eprocess import interval, plausible
from argosy.serving.counts import BUCKETS, GROWTH, Counts
from argosy.spec.errors import Conflict
from argosy.spec.fleet import CELL, Deployment
from argosy.spec.guard import Guard

Phase = Literal["running", "done", "stopped", "aborted", "superseded"]
Order = Literal["pause", "resume", "abort"]
LONGEST_STEP = 60.0
"""Seconds between two looks that count at most: while the platform is down nobody can report."""
QUIET = 180.0
"""Seconds after which a device that asks every minute is not heard of."""
LARGEST_SHARE = 0.95
ENOUGH = 20
"""Devices without the update, for the share of them that fell silent to say something."""
LATENCY_STEP = 15
"""Buckets of the guard for each of the devices' cells of latency, so that a shift by whole cells is exact."""


class WaveObservation(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment now. Of the devices that the present wave is for: `matching` in all, `assigned` have it, `offline`
    are not heard of and have not taken it. Of all waves: `begun` devices have taken it, of which `committed` and
    `failed` are through; `silent` of the failed only stopped talking, and `quiet` ones may have done so just now. Of
    the `others`, devices that are not at it and were there before that, so many are `away` in the same way.
    `candidate`, `stable`: what both versions answered since the last look."""

    now: float
    matching: int = 0
    assigned: int = 0
    offline: int = 0
    begun: int = 0
    committed: int = 0
    failed: int = 0
    silent: int = 0
    quiet: int = 0
    others: int = 0
    away: int = 0
    candidate: Counts = Counts()
    stable: Counts = Counts()


class WaveState(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a deployment. `wave` is the present one, `spent` the seconds it has lasted, `before` how many
    devices had committed and had been assigned when it began. `excused` failures were there when somebody let it go on.
    `away`: the share of devices without it that fell silent, as long as there were enough of them to tell. `reason`:
    what it waits for, or why it ended."""

    phase: Phase = "running"
    wave: int = 0
    spent: float = 0.0
    looked: float = 0.0
    before: tuple[int, int] = (0, 0)
    excused: int = 0
    away: float = 0.0
    paused: bool = False
    reason: str = ""
    guard: GuardState = GuardState()

    @property
    def open(self) -> bool:
        """Whether devices may still get it."""
        return self.phase in ("running", "done")


class WaveDecision(msgspec.Struct, frozen=True, kw_only=True):
    """So many devices of the present wave's may have the update. `interval`: where the share of devices that fail lies,
    at all times together."""

    allowed: int = 0
    interval: tuple[float, float] = (0.0, 1.0)


def decide(declared: Deployment, observed: WaveObservation, state: WaveState) -> tuple[WaveDecision, WaveState]:
    """Look at a deployment. What was stopped, aborted or superseded stays so."""
    if not state.open:
        return WaveDecision(interval=_interval(declared, observed)), state
    elapsed = min(max(observed.now - state.looked, 0.0), LONGEST_STEP) if state.looked else 0.0
    spent = state.spent if state.paused else state.spent + elapsed
    away = observed.away / observed.others if observed.others >= ENOUGH else state.away
    state = msgspec.structs.replace(state, looked=observed.now, spent=spent, away=away)
    state = _absorbed(declared, observed, state, elapsed)
    if harm := _harm(declared, observed, state):
        state = msgspec.structs.replace(state, phase="stopped", paused=False, reason=harm)
    elif not state.paused:
        state = _moved(declared, observed, state)
    allowed = 0
    if state.open and not state.paused:
        allowed = declared.waves[state.wave].size(observed.matching)
    return WaveDecision(allowed=allowed, interval=_interval(declared, observed)), state


def _absorbed(declared: Deployment, observed: WaveObservation, state: WaveState, elapsed: float) -> WaveState:
    if not observed.candidate.requests and not observed.stable.requests:
        return state
    seen = GuardObservation(seconds=elapsed, candidate=observed.candidate, stable=observed.stable)
    return msgspec.structs.replace(state, guard=rollout_guard.decide(answers_guard(declared), seen, state.guard)[1])


def answers_guard(declared: Deployment) -> Guard:
    """The guard of what a version answers. What a device may do worse by its trial is no harm here either."""
    cells = max(1, math.ceil(math.log(declared.trial.slower, CELL) - 1e-9))
    return Guard(
        alpha=declared.stop.alpha / 2,
        margin=declared.trial.errors + 0.05,
        error_tolerance=declared.trial.errors,
        latency_tolerance=GROWTH ** (LATENCY_STEP * cells),
        latency_margin=GROWTH ** (LATENCY_STEP * (cells + 1)),
    )


def counts(arm: Arm) -> Counts:
    """What a device counted, as the guard takes it."""
    latency = {min(LATENCY_STEP * cell, BUCKETS - 1): count for cell, count in enumerate(arm.latency) if count}
    return Counts(requests=arm.requests, errors=arm.errors, latency=latency)


def _harm(declared: Deployment, observed: WaveObservation, state: WaveState) -> str:
    """Why it is stopped, if it is."""
    stop, failed, begun = declared.stop, observed.failed, observed.begun
    bound = min(LARGEST_SHARE, stop.failures + (state.away if observed.silent else 0.0))
    if failed > bound * begun and not plausible(failed, begun, bound, stop.alpha / 2):
        return f"{_failed(observed)}, surely more than {bound:.3g} of them"
    if alarm := state.guard.alarm:
        if alarm.startswith("latency"):
            alarm = f"its answers take more than {declared.trial.slower:g} times as long"
        return f"worse than the version before on the same devices: {alarm}"
    return ""


def _failed(observed: WaveObservation) -> str:
    silent = f" ({observed.silent} fell silent)" if observed.silent else ""
    return f"{observed.failed:,} of {observed.begun:,} devices that took it failed{silent}"


def _moved(declared: Deployment, observed: WaveObservation, state: WaveState) -> WaveState:
    """On to the next wave, paused, or waiting for something."""
    lost = min(observed.silent, math.ceil(state.away * observed.begun))
    through, failed = observed.committed + observed.failed, observed.failed - state.excused - lost
    excess = failed > declared.stop.failures * through
    in_doubt = failed + observed.quiet > declared.stop.failures * (through + observed.quiet)
    size = declared.waves[state.wave].size(observed.matching)
    filled = observed.assigned >= size
    seconds, reports = declared.least(state.wave)
    if excess:
        if not (filled and through >= observed.begun >= observed.assigned):
            return _waits(state, f"{_failed(observed)}; more of them are awaited")
        if 2 * failed >= through:
            return msgspec.structs.replace(state, phase="stopped", reason=_failed(observed))
        reason = f"{_failed(observed)}: more than {declared.stop.failures:.3g}, of too few to be sure. Resume or abort"
        return msgspec.structs.replace(state, paused=True, reason=reason)
    committed, needed = observed.committed - state.before[0], max(0, min(reports, size - state.before[1]))
    over = filled and through >= observed.begun >= observed.assigned
    if state.wave + 1 < len(declared.waves):
        if committed < needed and not (over and committed):
            return _waits(state, f"{committed:,} of at least {needed:,} devices of this wave have committed")
        if state.spent < seconds:
            return _waits(state, f"the wave lasts {seconds - state.spent:,.0f} s more")
        if in_doubt:
            return _waits(state, f"{observed.quiet:,} devices that are at it have not been heard of lately")
        before = (observed.committed, max(size, observed.assigned))
        return msgspec.structs.replace(state, wave=state.wave + 1, spent=0.0, before=before, reason="")
    there = observed.begun + observed.offline >= observed.matching
    if state.phase == "done" or (there and through >= observed.begun and state.spent >= seconds and observed.committed):
        late = f"; {observed.offline:,} are offline and get it when they are back" if observed.offline else ""
        reason = f"{observed.committed:,} devices have it{late}"
        return msgspec.structs.replace(state, phase="done", reason=reason)
    return _waits(state, f"{observed.committed:,} of {observed.matching:,} devices have committed")


def _waits(state: WaveState, reason: str) -> WaveState:
    return msgspec.structs.replace(state, reason=reason)


def _interval(declared: Deployment, observed: WaveObservation) -> tuple[float, float]:
    return interval(observed.failed, observed.begun, declared.stop.alpha / 2)


def chosen(fleet: str, number: int, devices: Iterable[str], room: int) -> list[str]:
    """Which of these devices are next, at most so many: each deployment draws another order, the same at every look."""

    def place(device: str) -> bytes:
        return hashlib.sha256(f"{fleet}/{number}/{device}".encode()).digest()

    return heapq.nsmallest(max(room, 0), devices, key=place)


def ordered(order: Order, failed: int, state: WaveState) -> WaveState:
    """What an order makes of it; `failed` devices are there now. Who aborts one that was stopped has seen that it was.
    Raises Conflict where it is too late."""
    if not state.open and (order, state.phase) != ("abort", "stopped"):
        raise Conflict(f"the deployment is {state.phase}, so that there is nothing to {order}: {state.reason}")
    if order == "abort":
        return msgspec.structs.replace(state, phase="aborted", paused=False, reason="on demand")
    if order == "pause":
        return msgspec.structs.replace(state, paused=True, reason="on demand")
    if not state.paused:
        raise Conflict("the deployment is not paused, so that there is nothing to resume")
    return msgspec.structs.replace(state, paused=False, excused=failed, reason="")
