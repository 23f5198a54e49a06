"""Pure supervision of one revision's replicas: which to start, take from traffic, stop, kill.

Each replica has a slot, a small number that outlives its process, so that its name, log and history do.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from argosy.targets.backoff import REFUSED, Backoff, Ended, after
from argosy.targets.health import Verdict

Act = Literal["start", "terminate", "kill", "reap"]
Phase = Literal["idle", "running", "leaving", "draining", "released", "stopping", "hung", "asleep"]
"""`leaving`: past a bound, it serves until another one does in its place. `released`: drained by the gateway. `asleep`:
not wanted now, it is the first to run again."""


OVERLAP = 30.0
"""Seconds for which one past a bound serves on at most."""
RELEASE = 30.0
"""Seconds for which a draining replica waits for the gateway to release it: a busy one takes its time, one that is gone
sends nothing."""
HUNG_GRACE, DRAIN_GRACE = 2.0, 5.0
"""Seconds from SIGTERM, past the drain timeout of one that drains, to SIGKILL."""
FAILURES = 3
"""Ends without ever becoming ready that make a revision failed."""


class ProcessState(msgspec.Struct, frozen=True, kw_only=True):
    """The process in a slot: its health, whether the gateway released it, how it ended. `over` says which bound it is
    past: it is replaced, like one that hangs, but not before another serves, where it does. `moves`: its host will go,
    and it serves there until another does elsewhere."""

    slot: int
    verdict: Verdict = "starting"
    released: bool = False
    over: str = ""
    moves: bool = False
    ended: Ended | None = None


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What is, and what is wanted, at `now`. `settle`: seconds that a released replica goes on for requests that the
    gateway had routed to it just before. `can_start`: there is a package to start from. `sleeps`: the last
    one is not stopped."""

    now: float
    want: int
    processes: tuple[ProcessState, ...] = ()
    drain_timeout: float = 30.0
    settle: float = 0.0
    can_start: bool = True
    sleeps: bool = False


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a slot. `since` is when its phase began."""

    phase: Phase = "idle"
    since: float = 0.0
    restarts: int = 0
    backoff: Backoff = Backoff()


State = Mapping[int, Slot]
Action = tuple[Act, int]


def supervise(observed: Observation, state: State) -> tuple[list[Action], State]:
    """Actions in order, and the state after them. Never stops a replica to start another in its place first."""
    slots, actions = dict(state), list[Action]()
    for one in observed.processes:
        slots.setdefault(one.slot, Slot(phase="running", since=observed.now))
    for one in observed.processes:
        actions += _advance(one, slots, observed)
    _drain_surplus(observed, slots)
    _wake(observed, slots)
    actions += _start_missing(observed, slots)
    return actions, {n: slot for n, slot in slots.items() if slot.phase != "idle" or n < observed.want}


def _advance(one: ProcessState, slots: dict[int, Slot], observed: Observation) -> list[Action]:
    slot, n, now = slots[one.slot], one.slot, observed.now
    if one.ended is not None:
        slots[n] = Slot()
        if (ended := unasked(one, slot)) is not None:
            slots[n] = Slot(since=ended.now, restarts=slot.restarts, backoff=after(ended, slot.backoff)[1])
        return [("reap", n)]
    if slot.phase == "draining" and one.released:
        slot = slots[n] = _enter("released", slot, now)
    waited = now - slot.since
    if slot.phase == "running" and (one.over or one.moves) and one.verdict == "ready":
        slots[n] = _enter("leaving", slot, now)
    elif slot.phase == "leaving" and (_replaced(slots, observed) or (waited >= OVERLAP and not one.moves)):
        slots[n] = _enter("draining", slot, now)
    elif slot.phase == "running" and one.moves and one.verdict != "hung":
        slots[n] = _enter("stopping", slot, now)
        return [("terminate", n)]
    elif (slot.phase == "running" and one.over) or (slot.phase in ("running", "leaving") and one.verdict == "hung"):
        slots[n] = _enter("hung", slot, now)
        return [("terminate", n)]
    elif slot.phase in ("draining", "released") and (
        one.verdict in ("starting", "hung") or waited >= (observed.settle if slot.phase == "released" else RELEASE)
    ):
        if observed.sleeps and not observed.want and one.verdict == "ready":
            slots[n] = _enter("asleep", slot, now)
            return []
        slots[n] = _enter("stopping", slot, now)
        return [("terminate", n)]
    elif slot.phase == "asleep" and (one.verdict == "hung" or not observed.sleeps):
        slots[n] = _enter("stopping", slot, now)
        return [("terminate", n)]
    elif (slot.phase == "hung" and waited >= HUNG_GRACE) or (
        slot.phase == "stopping" and waited >= observed.drain_timeout + DRAIN_GRACE
    ):
        return [("kill", n)]
    return []


def _replaced(slots: Mapping[int, Slot], observed: Observation) -> bool:
    """Whether as many serve as are wanted, without those that leave."""
    ready = [one for one in observed.processes if one.verdict == "ready" and slots[one.slot].phase == "running"]
    return len(ready) >= observed.want


def _enter(phase: Phase, slot: Slot, now: float) -> Slot:
    return msgspec.structs.replace(slot, phase=phase, since=now)


def unasked(one: ProcessState, slot: Slot) -> Ended | None:
    """How a replica ended that nobody had asked to, or that had to be replaced; None of any other."""
    if one.ended is None or (slot.phase in ("draining", "released", "stopping") and not one.over):
        return None
    if slot.phase != "running" and one.ended.status != REFUSED:
        why = one.over or "hung: it stopped answering and was replaced"
        return msgspec.structs.replace(one.ended, status=None, reason=why)
    return one.ended


def _drain_surplus(observed: Observation, slots: dict[int, Slot]) -> None:
    """Those that do not serve yet go first, then the youngest slots."""
    ready = {one.slot for one in observed.processes if one.verdict == "ready"}
    running = sorted((n for n, slot in slots.items() if slot.phase == "running"), key=lambda n: (n in ready, -n))
    for n in running[: max(0, len(running) - observed.want)]:
        slots[n] = _enter("draining", slots[n], observed.now)


def _wake(observed: Observation, slots: dict[int, Slot]) -> None:
    """Those that sleep take part before others are started."""
    running = sum(slot.phase == "running" for slot in slots.values())
    asleep = sorted(n for n, slot in slots.items() if slot.phase == "asleep")
    for n in asleep[: max(0, observed.want - running)]:
        slots[n] = _enter("running", slots[n], observed.now)


def _start_missing(observed: Observation, slots: dict[int, Slot]) -> list[Action]:
    """Slots that wait out their backoff keep their claim, so that a crash loop cannot move on to the next slot."""
    running = sum(slot.phase == "running" for slot in slots.values())
    actions: list[Action] = []
    n = 0
    for _ in range(observed.want - running if observed.can_start else 0):
        while n in slots and slots[n].phase != "idle":
            n += 1
        slot = slots.get(n, Slot())
        if slot.backoff.not_before <= observed.now:
            slots[n] = Slot(
                phase="running",
                since=observed.now,
                restarts=slot.restarts + bool(slot.backoff.failures),
                backoff=slot.backoff,
            )
            actions.append(("start", n))
        else:
            slots[n] = slot
            n += 1
    return actions


def failure(state: State) -> str:
    """Why a revision does not become ready: a refusal at once, anything else after `FAILURES` in a row."""
    for slot in state.values():
        if slot.backoff.refusals or slot.backoff.failures >= FAILURES:
            return slot.backoff.reason
    return ""
