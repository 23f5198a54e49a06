"""Who may wait while an endpoint comes back from zero. Pure: `(observation, state) -> (decision, state)`.

A request is refused for two reasons only: the room is full, or it has waited for `deadline` seconds. Waits are added up
from look to look, so that a clock that jumps neither expels everybody nor keeps anybody for ever.
"""

import math
from collections.abc import Hashable

import msgspec

from argosy.spec.scaling import WaitingRoom

LONGEST_GAP = 10.0
"""The most that one look may add to a wait, seconds."""
SHORTEST_RETRY, LONGEST_RETRY = 1.0, 600.0


class Guest(msgspec.Struct, frozen=True, gc=False):
    """A request that waits, and for how long it has."""

    request: Hashable
    waited: float = 0.0


class Room(msgspec.Struct, frozen=True):
    """Who waits, longest first, and when that was last looked at."""

    guests: tuple[Guest, ...] = ()
    at: float = math.nan


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """Answer 503 with `Retry-After: retry_after` (whole seconds)."""

    request: Hashable
    retry_after: int
    reason: str


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One look: requests that came, in order; those that left by themselves; slots that are free; seconds until ready.

    `ready_in` is what is known of the cold start that goes on: 0 where that is nothing.
    """

    now: float
    came: tuple[Hashable, ...] = ()
    left: frozenset[Hashable] = frozenset()
    free: int = 0
    ready_in: float = 0.0


class QueueDecision(msgspec.Struct, frozen=True):
    """Requests to serve now, in order of their coming, and those to refuse. All others wait on."""

    serve: tuple[Hashable, ...] = ()
    refuse: tuple[Refusal, ...] = ()


def begin() -> Room:
    """An empty room."""
    return Room()


def decide(seen: Look, state: Room, declared: WaitingRoom) -> tuple[QueueDecision, Room]:
    """Serve as many as there are free slots, expel who waited too long, let in as many as there is room for."""
    gap = seen.now - state.at
    gap = min(gap, LONGEST_GAP) if gap > 0 else 0.0
    waiting = [Guest(one.request, one.waited + gap) for one in state.guests if one.request not in seen.left]
    waiting += [Guest(request) for request in seen.came if request not in seen.left]
    free = max(seen.free, 0)
    serve, waiting = waiting[:free], waiting[free:]
    again = _retry_after(seen.ready_in)
    stay: list[Guest] = []
    refuse: list[Refusal] = []
    for guest in waiting:
        if guest.waited >= declared.deadline:
            refuse.append(Refusal(guest.request, again, f"waited {guest.waited:.0f} s for a replica to start"))
        elif len(stay) >= declared.size:
            refuse.append(Refusal(guest.request, again, f"{declared.size} requests wait already for a replica"))
        else:
            stay.append(guest)
    at = seen.now if math.isfinite(seen.now) else math.nan
    return QueueDecision(tuple(one.request for one in serve), tuple(refuse)), Room(tuple(stay), at)


def _retry_after(ready_in: float) -> int:
    known = ready_in if math.isfinite(ready_in) else 0.0
    return math.ceil(min(max(known, SHORTEST_RETRY), LONGEST_RETRY))
