"""How much deferred work a replica takes in slots that requests leave idle. It is pushed out first: pure.

A replica serves up to `slots` requests at a time. Deferred work fills what is left, within two bounds. A few slots of
all replicas stay free for the next requests: they come free again as items end, so that an item is pushed out only for
a request that finds no slot. And the more a replica serves at a time, the longer each takes: how much longer is
measured, one more at a time, and work goes at most one beyond what was measured.
"""

import math
from collections.abc import Sequence

import msgspec


class IdlePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`slowdown` is by how much requests may take longer, as a share; `late` is the share of requests that may find no
    free slot, and wait until work is pushed out; `regain` are the seconds in which slots come free again as items end.
    `samples` of a measured occupancy count; `memory` is the number of samples after which older ones fade."""

    slowdown: float = 0.05
    late: float = 0.05
    regain: float = 0.2
    samples: int = 5
    memory: int = 500


class IdleObservation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One replica. `requests` run or wait there, `work` items of deferred work run; `reserve` slots stay free there
    (see `reserves`). `step` is the measured time of one step of the engine (one token) since the last observation, at
    `occupancy` requests and items; 0: none. `base` is that of requests where no work is near, where it is known."""

    slots: int
    requests: int
    work: int
    reserve: int = 0
    occupancy: int = 0
    step: float = 0.0
    base: float = 0.0


class IdleState(msgspec.Struct, frozen=True, gc=False):
    """Mean time of a step, and the number of samples, by occupancy."""

    steps: tuple[tuple[float, int], ...] = ()


class IdleDecision(msgspec.Struct, frozen=True, gc=False):
    """Items are begun there while fewer than `work` run; `push` of them are pushed out now, the youngest first."""

    work: int
    push: int = 0
    reason: str = ""


def decide(seen: IdleObservation, state: IdleState, policy: IdlePolicy) -> tuple[IdleDecision, IdleState]:
    """How many items run from now on."""
    state = _measured(seen, state, policy)
    push = min(seen.work, max(0, seen.requests + seen.work - seen.slots))
    free = max(0, seen.slots - seen.requests - seen.reserve)
    if not free:
        return IdleDecision(0, push, f"requests have all slots but {seen.reserve}, which stay free for more"), state
    if (within := _within(seen, state, policy)) < free:
        return IdleDecision(within, push, f"more would slow requests down by over {policy.slowdown:.0%}"), state
    return IdleDecision(free, push, f"{seen.reserve} slots stay free for requests"), state


def reserves(requests: Sequence[int], slots: int, rate: float, policy: IdlePolicy) -> list[int]:
    """How many slots of each replica stay free: of all of them as many as few requests exceed that come, at `rate` a
    second, before slots come free again. They are where the fewest requests are."""
    left, found = spare(rate * policy.regain, policy.late), [0] * len(requests)
    while left and (places := [at for at, count in enumerate(requests) if count + found[at] < slots]):
        found[min(places, key=lambda at: (found[at], requests[at], at))] += 1
        left -= 1
    return found


def spare(mean: float, late: float) -> int:
    """The fewest slots that a Poisson number of arrivals with this mean exceeds with probability `late` at most."""
    slots, term = 0, math.exp(-mean)
    left = 1.0 - term
    while left > late and slots < mean + 40 * math.sqrt(mean) + 40:
        slots += 1
        term *= mean / slots
        left -= term
    return slots


def _measured(seen: IdleObservation, state: IdleState, policy: IdlePolicy) -> IdleState:
    steps = state.steps
    if seen.step <= 0 or not 0 < seen.occupancy <= seen.slots:
        return state
    if len(steps) <= seen.occupancy:
        steps += ((0.0, 0),) * (seen.occupancy + 1 - len(steps))
    mean, count = steps[seen.occupancy]
    mean += (seen.step - mean) / (min(count, policy.memory) + 1)
    return IdleState((*steps[: seen.occupancy], (mean, count + 1), *steps[seen.occupancy + 1 :]))


def _within(seen: IdleObservation, state: IdleState, policy: IdlePolicy) -> int:
    """The most items with which a step takes no more than `slowdown` longer than with the requests alone."""

    def step(occupancy: int) -> float:
        mean, count = state.steps[occupancy] if occupancy < len(state.steps) else (0.0, 0)
        return mean if count >= policy.samples else 0.0

    base = seen.base or next((found for at in range(max(seen.requests, 1), seen.slots + 1) if (found := step(at))), 0.0)
    work = 0
    while seen.requests + work < seen.slots:
        found = step(seen.requests + work + 1)
        if found > base * (1 + policy.slowdown):
            return work
        work += 1
        if not found:  # one beyond what was measured
            return work
    return work
