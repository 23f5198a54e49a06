"""How a device takes an update: a pure function `(observation, state) → (decision, state)`.

    idle → fetch → assemble → verify → selftest → trial → commit → idle, and from any of them → rollback → idle

The caller writes the new state to disk, synced, before it does what was decided; what comes of it is the next
observation. So a crash between any two effects ends in a state from which `Started` goes on. What holds at every
instant, whatever fails:

1. The committed slot is complete and verified.
2. Nothing writes to the committed slot.
3. A crash during a rollback ends in the same rollback.
4. A candidate that is not committed is loaded at most `Trial.loads` times.
5. A start with no candidate costs nothing; neither does one after an end in good order.

Two slots, `a` and `b`; "" is the factory model, which no update changes and which need not be there. What was
rolled back for itself is denied by its digest; what was merely not right for this device, or withdrawn, is not.
"""

import msgspec

from argosy_edge import trial as trials
from argosy_edge.state import (
    Asked,
    Content,
    Decision,
    Denied,
    Died,
    Ended,
    Event,
    Failed,
    Looked,
    Observation,
    Place,
    Started,
    State,
    Step,
    Stopping,
    Woke,
)
from argosy_edge.trial import Tally
from argosy_edge.wire import Phase, Update, within

MOST_DENIED = 200
LONGEST_WAIT = 300.0
"""Seconds between two attempts at what failed for a reason that may pass."""

Next = tuple[Decision, State]
change = msgspec.structs.replace


def decide(seen: Observation, state: State) -> Next:
    """What follows from an observation."""
    match seen:
        case Started():
            state = change(state, boot=state.boot + 1, attempts=0, refused="")
            return _switch(state, Event(kind="started", detail=state.phase))
        case Asked():
            return _asked(seen, state)
        case Ended():
            return _ended(seen.step, state)
        case Failed():
            return _failed(seen, state)
        case Looked() if state.phase == "trial" and state.target:
            return _looked(seen, state, state.target)
        case Died() if state.phase == "trial" and state.target:
            return _load(state, f"the candidate ended: {seen.why}")
        case Woke():
            return _resume(state)
        case Stopping():
            back = seen.healthy and state.phase == "trial"
            loads = min(state.loads + 1, state.target.trial.loads) if back and state.target else state.loads
            return Decision(step="pause", events=(Event(kind="ended"),)), change(state, loads=loads)
        case Looked() | Died():
            return _wait(state)


def _wait(state: State, *events: Event, seconds: float | None = None) -> Next:
    return Decision(step="wait", seconds=seconds, events=events), state


def _switch(state: State, *events: Event) -> Next:
    return Decision(step="switch", place=state.committed, content=state.content, events=events), state


def _step(step: Step, state: State, *events: Event) -> Next:
    """A step for the candidate in the free slot."""
    if state.held and step in ("fetch", "assemble", "verify", "selftest"):
        return Decision(step="pause", events=events), state
    return Decision(step=step, place=state.free, content=state.target, events=events), state


def _phase(phase: Phase, step: Step, state: State, *events: Event) -> Next:
    state = change(state, phase=phase)
    return _step(step, state, *events, Event(kind="phase", detail=phase, content=state.target))


def _resume(state: State) -> Next:
    """Go on from what the disk says: after a start, a wait or a hold."""
    match state.phase:
        case "idle" | "commit" | "stopped":
            return _wait(change(state, phase="idle", target=None, free=_other(state.committed)))
        case "trial":
            return _load(state, "the device or its agent ended")
        case "rollback":
            return _step("clear", state)
        case _ if state.target is not None and state.slots.get(state.free) == state.target:
            return _phase("verify", "verify", state)
        case _:
            return _phase("fetch", "fetch", state)


def _asked(asked: Asked, state: State) -> Next:
    """What the platform wants, against what there is."""
    released = state.held and not asked.held
    state = change(state, held=asked.held)
    update, target = asked.update, state.target
    if state.phase in ("rollback", "commit"):
        return _wait(state)
    if target is not None:
        if asked.drop:
            return _rollback(state, "the platform withdrew it", withdrawn=True)
        if update is not None and update.index > target.index:
            return _rollback(state, f"update {update.index} came after it", withdrawn=True)
        if state.held and state.phase != "trial":
            return Decision(step="pause"), state
        return _resume(state) if released and state.phase != "trial" else _wait(state)
    if update is None or asked.held or asked.drop:
        return _wait(state)
    return _new(asked, update, state)


def _new(asked: Asked, update: Update, state: State) -> Next:
    """An update, and nothing else on its way."""
    wanted = Content(
        index=update.index, ref=update.ref, package=update.package, envelope=asked.envelope, trial=update.trial
    )
    have = state.content
    if have is not None and have.index == wanted.index and have.package == wanted.package:
        return _wait(change(state, refused=""))
    if any(each.index == wanted.index and each.package == wanted.package for each in state.denied):
        return _wait(state)
    why, disk = misfit(asked, update, state), _lacking(asked, update)
    if why or disk:
        said = f"update {update.index} ({update.ref}): {why or disk}"
        event = Event(kind="refused" if why else "trouble", detail=said, content=wanted)
        return _wait(change(state, refused=said), *([] if said == state.refused else [event]))
    state = change(state, refused="", attempts=0)
    if have is not None and have.package == wanted.package:
        state = change(state, slots={**state.slots, state.committed: wanted}, floor=wanted.index)
        return _wait(state, Event(kind="committed", detail="the package that is committed", content=wanted))
    state = change(state, target=wanted)
    there = state.slots.get(state.free)
    if there is not None and there.package == wanted.package:
        state = change(state, slots={**state.slots, state.free: wanted}, fallback="")
        return _phase("verify", "verify", state)
    if asked.space is not None and size(update) > asked.space:
        slots = {place: content for place, content in state.slots.items() if place != state.free}
        state = change(state, slots=slots, fallback="")
    return _phase("fetch", "fetch", state)


def size(update: Update) -> int:
    """Bytes of all files of a package."""
    return sum(each.size for each in update.files)


def misfit(asked: Asked, update: Update, state: State) -> str:
    """Why this device does not take an update; empty where it does."""
    facts = asked.facts
    for each in state.denied:
        if each.package == update.package:
            return (
                f"its package was rolled back here before, as update {each.index}, and is not taken again: {each.why}"
            )
    if update.index < state.floor or (state.content is not None and update.index == state.content.index):
        return f"update {state.floor} was committed before, an older one is not taken: deploy the package anew"
    if facts is not None and update.machines and facts.machine not in update.machines:
        return f"it is for {', '.join(update.machines)}, this device is {facts.machine}"
    least, below = update.onnxruntime
    if facts is not None and not within(update.onnxruntime, facts.onnxruntime):
        bounds = " and ".join([f"from {least}"] * bool(least) + [f"below {below}"] * bool(below))
        return f"it needs onnxruntime {bounds}, this device has {facts.onnxruntime}"
    return ""


def _lacking(asked: Asked, update: Update) -> str:
    """What an update needs of the disk, where that has less."""
    need, space = size(update), (asked.space or 0) + asked.spare
    if asked.space is None or need <= space:
        return ""
    return f"it needs {need:,} bytes of disk, {space:,} are free: make room, it is tried again"


def _ended(step: Step, state: State) -> Next:
    """What comes after a step."""
    match step, state.phase:
        case "switch", _:
            return _resume(state)
        case "clear", "rollback":
            return _wait(change(state, phase="idle", target=None, tally=Tally(), free=_other(state.committed)))
        case "fetch", "fetch":
            slots = {place: content for place, content in state.slots.items() if place != state.free}
            return _phase("assemble", "assemble", change(state, slots=slots, fallback=""))
        case "assemble", "assemble":
            return _phase("verify", "verify", state)
        case "verify", "verify" if state.target:
            state = change(state, slots={**state.slots, state.free: state.target}, attempts=0)
            return _phase("selftest", "selftest", state)
        case "selftest", "selftest" if state.target:
            event = Event(kind="phase", detail="trial", content=state.target)
            return _load(change(state, phase="trial", loads=state.target.trial.loads, tally=Tally()), "", event)
        case _:
            return _wait(state)


def _load(state: State, why: str, *events: Event) -> Next:
    """Start the candidate, at the cost of one of its loads; without any left it is given up."""
    if state.loads <= 0:
        loads = state.target.trial.loads if state.target else 0
        return _rollback(state, f"started {loads} times and not committed, the last time {why}", deny=True)
    return _step("load", change(state, loads=state.loads - 1), *events)


def _failed(failed: Failed, state: State) -> Next:
    """What comes after a step that did not work."""
    match failed.step:
        case "switch":
            return _fall_back(failed, state)
        case "load" if state.phase == "trial":
            return _load(state, failed.why)
        case "clear" if state.phase == "rollback":
            return _later(failed, state)
        case "fetch" | "assemble" | "verify" | "selftest" if state.phase == failed.step:
            if failed.how == "later":
                return _later(failed, change(state, phase="selftest" if failed.step == "selftest" else "fetch"))
            return _rollback(state, f"{failed.step}: {failed.why}", deny=failed.how == "bad")
        case _:
            return _wait(state)


def _later(failed: Failed, state: State) -> Next:
    """Once more, after a time that doubles."""
    seconds = min(2.0**state.attempts, LONGEST_WAIT)
    event = Event(kind="trouble", detail=f"{failed.step}: {failed.why}", content=state.target)
    if failed.step == "verify":
        state = change(state, slots={place: each for place, each in state.slots.items() if place != state.free})
    return _wait(change(state, attempts=min(state.attempts + 1, 20)), event, seconds=seconds)


def _fall_back(failed: Failed, state: State) -> Next:
    """The committed slot cannot be served: the one before it, else the factory model, else nothing."""
    broken = state.content
    if broken is None:
        decision, state = _resume(state)
        trouble = Event(kind="trouble", detail=failed.why)
        return change(decision, events=(trouble, *decision.events)), state
    if state.phase == "commit" and failed.how == "bad":
        state = _denying(state, broken, failed.why)
    slots = {place: content for place, content in state.slots.items() if place != state.committed}
    place = state.fallback if state.fallback in slots else ""
    free = _other(place) if state.phase in ("idle", "fetch", "commit") else state.free
    state = change(state, committed=place, fallback="", slots=slots, free=free)
    return _switch(state, Event(kind="rolled_back", detail=failed.why, content=broken))


def _looked(looked: Looked, state: State, target: Content) -> Next:
    """A look at a trial."""
    tally = trials.after(state.tally, looked.quality, looked.seconds, target.trial, looked.alone)
    state = change(state, tally=tally)
    verdict = trials.judge(tally, target.trial, looked.alone)
    if verdict.verdict == "rollback":
        return _rollback(state, verdict.reason, deny=True)
    if verdict.verdict == "on" or state.held:
        return _wait(state)
    free = _other(state.free)
    state = change(state, phase="commit", committed=state.free, fallback=state.committed, free=free)
    state = change(state, floor=target.index, loads=0, target=None, tally=Tally())
    return _switch(state, Event(kind="committed", detail=verdict.reason, content=target))


def _rollback(state: State, why: str, *, deny: bool = False, withdrawn: bool = False) -> Next:
    """Give the candidate up; what is committed serves on. `withdrawn`: it did not fail, the platform wants another."""
    target = state.target
    if deny and target is not None:
        state = _denying(state, target, why)
    if state.fallback != state.free:
        state = change(state, slots={place: each for place, each in state.slots.items() if place != state.free})
    state = change(state, phase="rollback", loads=0, attempts=0)
    if withdrawn:
        return _step("clear", state, Event(kind="phase", detail=f"rollback: {why}", content=target))
    return _step("clear", state, Event(kind="rolled_back", detail=why, content=target))


def _other(place: Place) -> Place:
    return "b" if place == "a" else "a"


def _denying(state: State, content: Content, why: str) -> State:
    denied = Denied(package=content.package, index=content.index, why=why)
    return change(state, denied=(*state.denied, denied)[-MOST_DENIED:])
