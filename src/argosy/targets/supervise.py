"""Pure supervision of one revision's replicas: which to start, take from traffic, stop, kill.

Each replica has a slot, a small number that outlives its process, so that its name, log and history do.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from argosy.targets.backoff import REFUSED, Backoff, Ended, after
from argosy.targets.backoff import BackoffPolicy as BackoffPolicy
from argosy.targets.health import Verdict

Act = Literal["start", "terminate", "kill", "reap"]
Phase = Literal["idle", "running", "leaving", "draining", "stopping", "hung"]
"""`leaving`: past a bound, it serves until another one does in its place."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: `overlap` is how long at most one past a bound serves on; `release` how long a draining replica waits
    for the gateway to let go of it, `hung_grace` and `drain_grace` how long after SIGTERM (and past its own drain
    timeout) SIGKILL follows. `failures` without ever becoming ready make a revision failed."""

    overlap: float = 30.0
    release: float = 5.0
    hung_grace: float = 2.0
    drain_grace: float = 5.0
    failures: int = 3
    backoff: BackoffPolicy = BackoffPolicy()


DEFAULT = Policy()


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The process in a slot: its health, whether the gateway released it, how it ended. `over` says which bound it is
    past: it is replaced, like one that hangs, but not before another serves, where it does."""

    slot: int
    verdict: Verdict = "starting"
    released: bool = False
    over: str = ""
    ended: Ended | None = None


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What is, and what is wanted, at `now`. `settle`: seconds that a released replica goes on for requests that the
    gateway had routed to it just before. `can_start`: there is a package to start from."""

    now: float
    want: int
    seen: tuple[Seen, ...] = ()
    drain_timeout: float = 30.0
    settle: float = 0.0
    can_start: bool = True


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a slot. `since` is when its phase began."""

    phase: Phase = "idle"
    since: float = 0.0
    restarts: int = 0
    backoff: Backoff = Backoff()


State = Mapping[int, Slot]
Action = tuple[Act, int]


def supervise(seen: Observation, state: State, policy: Policy = DEFAULT) -> tuple[list[Action], State]:
    """Actions in order, and the state after them. Never stops a replica to start another in its place first."""
    slots = {seen_.slot: state.get(seen_.slot, Slot(phase="running", since=seen.now)) for seen_ in seen.seen}
    slots = {**state, **slots}
    actions: list[Action] = []
    for one in seen.seen:
        actions += _advance(one, slots, seen, policy)
    _drain_surplus(seen, slots)
    actions += _start_missing(seen, slots)
    return actions, {n: slot for n, slot in slots.items() if slot.phase != "idle" or n < seen.want}


def _advance(one: Seen, slots: dict[int, Slot], seen: Observation, policy: Policy) -> list[Action]:
    slot, n, now = slots[one.slot], one.slot, seen.now
    if one.ended is not None:
        slots[n] = _ended(unasked(one, slot), slot, policy)
        return [("reap", n)]
    waited = now - slot.since
    if slot.phase == "running" and one.over and one.verdict == "ready":
        slots[n] = _enter("leaving", slot, now)
        return []
    if slot.phase == "leaving" and (_replaced(slots, seen) or waited >= policy.overlap):
        slots[n] = _enter("draining", slot, now)
        return []
    if (slot.phase == "running" and one.over) or (slot.phase in ("running", "leaving") and one.verdict == "hung"):
        slots[n] = _enter("hung", slot, now)
        return [("terminate", n)]
    let_go = (one.released and waited >= seen.settle) or one.verdict != "ready" or waited >= policy.release
    if slot.phase == "draining" and let_go:
        slots[n] = _enter("stopping", slot, now)
        return [("terminate", n)]
    if slot.phase == "hung" and waited >= policy.hung_grace:
        return [("kill", n)]
    if slot.phase == "stopping" and waited >= seen.drain_timeout + policy.drain_grace:
        return [("kill", n)]
    return []


def _replaced(slots: Mapping[int, Slot], seen: Observation) -> bool:
    """Whether as many serve as are wanted, without those that leave."""
    ready = [one for one in seen.seen if one.verdict == "ready" and slots[one.slot].phase == "running"]
    return len(ready) >= seen.want


def _enter(phase: Phase, slot: Slot, now: float) -> Slot:
    return msgspec.structs.replace(slot, phase=phase, since=now)


def unasked(one: Seen, slot: Slot) -> Ended | None:
    """How a replica ended that nobody had asked to, or that had to be replaced; None of any other."""
    if one.ended is None or (slot.phase in ("draining", "stopping") and not one.over):
        return None
    if slot.phase != "running" and one.ended.status != REFUSED:
        why = one.over or "hung: it stopped answering and was replaced"
        return msgspec.structs.replace(one.ended, status=None, reason=why)
    return one.ended


def _ended(ended: Ended | None, slot: Slot, policy: Policy) -> Slot:
    if ended is None:
        return Slot()
    _, history = after(ended, slot.backoff, policy.backoff)
    return Slot(since=ended.now, restarts=slot.restarts, backoff=history)


def _drain_surplus(seen: Observation, slots: dict[int, Slot]) -> None:
    """Those that do not serve yet go first, then the youngest slots."""
    ready = {one.slot for one in seen.seen if one.verdict == "ready"}
    running = sorted((n for n, slot in slots.items() if slot.phase == "running"), key=lambda n: (n in ready, -n))
    for n in running[: max(0, len(running) - seen.want)]:
        slots[n] = _enter("draining", slots[n], seen.now)


def _start_missing(seen: Observation, slots: dict[int, Slot]) -> list[Action]:
    """Slots that wait out their backoff keep their claim, so that a crash loop cannot move on to the next slot."""
    running = sum(slot.phase == "running" for slot in slots.values())
    actions: list[Action] = []
    n = 0
    for _ in range(seen.want - running if seen.can_start else 0):
        while n in slots and slots[n].phase != "idle":
            n += 1
        slot = slots.get(n, Slot())
        if slot.backoff.not_before <= seen.now:
            slots[n] = Slot(
                phase="running",
                since=seen.now,
                restarts=slot.restarts + bool(slot.backoff.failures),
                backoff=slot.backoff,
            )
            actions.append(("start", n))
        else:
            slots[n] = slot
            n += 1
    return actions


def failure(state: State, ready: int, policy: Policy = DEFAULT) -> str:
    """Why the revision does not become ready: a refusal at once, anything else after `failures` in a row."""
    if ready:
        return ""
    for slot in state.values():
        history = slot.backoff
        if history.refusals or history.failures >= policy.failures:
            return history.reason
    return ""
