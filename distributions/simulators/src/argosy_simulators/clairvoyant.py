"""What perfect foresight would pay: the yardstick for every policy.

The clairvoyant knows every arrival and service time. It chooses a plan: the number of replicas in each step of time.
Starts are asked for exactly one cold start ahead, so that they are ready when the plan says so, and that time is paid,
as it is for everybody. Stops are free: what still runs is finished by the replicas that stay. Before the stretch that
is looked at nobody waits. Requests keep their order; only the plan is chosen. The bound is the least replica-hours of a
plan under which no more than a given share of the requests of the stretch waits over `score.LATE` seconds.

Finding that least is a large integer problem, so it is bracketed. From below by the work: the slots' time that the
requests of the stretch need, over the slots of a replica, which no schedule can undercut. From above by a plan that
meets the share, found by search: begin where nobody waits, lower blocks of steps while the share holds and money is
saved, until nothing can be. `replica_hours` is that plan's; the truth lies between.
"""

import heapq
import itertools
import math
from typing import Any

import msgspec
import numpy as np

from argosy_simulators.score import LATE
from argosy_simulators.simulate import Setup
from argosy_simulators.trace import Floats, Trace

Counts = np.ndarray[Any, np.dtype[np.int64]]


class Clairvoyant(msgspec.Struct, frozen=True, eq=False):
    """`plan[k]` replicas from `begin + k·step` on. `work_hours` is the bound from below, both in replica-hours."""

    replica_hours: float
    work_hours: float
    late: float
    begin: float
    step: float
    plan: Counts


class _Stretch(msgspec.Struct, eq=False):
    arrivals: list[float]
    services: list[float]
    first: int
    allowed: int
    begin: float
    end: float
    step: float
    setup: Setup


def clairvoyant(
    trace: Trace,
    setup: Setup,
    *,
    late: float = 0.01,
    begin: float = 0.0,
    end: float | None = None,
    step: float = 20.0,
    tries: int = 1000,
) -> Clairvoyant:
    """The bound for the requests that come from `begin` to `end`, for plans in steps of `step` seconds."""
    end = trace.end if end is None else end
    upto = trace.arrivals <= end
    arrivals, services = trace.arrivals[upto], trace.services[upto]
    inside = arrivals >= begin
    stretch = _Stretch(
        arrivals=arrivals.tolist(),
        services=services.tolist(),
        first=int(np.argmax(inside)),
        allowed=math.floor(late * int(inside.sum())),
        begin=begin,
        end=end,
        step=step,
        setup=setup,
    )
    plan = _search(stretch, _unhurried(stretch, arrivals, services))
    missed = _missed(stretch, plan, len(arrivals))
    return Clairvoyant(
        replica_hours=_paid(stretch, plan) / 3600,
        work_hours=float(services[inside].sum()) / setup.concurrency / 3600,
        late=missed / max(int(inside.sum()), 1),
        begin=begin,
        step=step,
        plan=plan,
    )


def offered(arrivals: Floats, services: Floats) -> tuple[Floats, Floats]:
    """Times, and how many requests would run from each on, if nobody had to wait."""
    times = np.concatenate((arrivals, arrivals + services))
    signs = np.concatenate((np.ones(len(arrivals)), -np.ones(len(arrivals))))
    order = np.argsort(times, kind="stable")
    return times[order], np.cumsum(signs[order])


def _unhurried(stretch: _Stretch, arrivals: Floats, services: Floats) -> Counts:
    """The plan with which nobody waits: the most that runs at once in each step."""
    times, running = offered(arrivals, services)
    count = max(math.ceil((stretch.end - stretch.begin) / stretch.step), 1)
    edges = stretch.begin + stretch.step * np.arange(count + 1)
    at = np.maximum(np.searchsorted(times, edges, side="right") - 1, 0)
    most = [running[at[k] : max(at[k + 1], at[k]) + 1].max() for k in range(count)]
    return np.ceil(np.array(most) / stretch.setup.concurrency).astype(np.int64)


def _search(stretch: _Stretch, unhurried: Counts) -> Counts:
    """The cheapest plan found from two beginnings: the one with which nobody waits, and its peak throughout."""
    constant = np.full_like(unhurried, unhurried.max(initial=0))
    found = [_lowered(stretch, plan) for plan in (_bridged(stretch, unhurried), constant)]
    return min(found, key=lambda plan: _paid(stretch, plan))


def _lowered(stretch: _Stretch, plan: Counts) -> Counts:
    """Lower blocks of steps by one, large blocks first, while the share holds and money is saved; until nothing is."""
    best, before, paid = plan, math.inf, _paid(stretch, plan)
    while paid < before:
        before = paid
        size = 1 << (len(plan) - 1).bit_length()
        while size:
            for start in range(0, len(plan), max(size // 2, 1)):
                lower = _moved(best, start, start + size, -1)
                while (cost := _paid(stretch, lower)) < paid - 1e-9 and _good(stretch, lower):
                    best, paid = lower, cost
                    lower = _moved(best, start, start + size, -1)
            size //= 2
    return best


def _moved(plan: Counts, start: int, end: int, by: int) -> Counts:
    moved = plan.copy()
    moved[start:end] = np.maximum(moved[start:end] + by, 0)
    return moved


def _good(stretch: _Stretch, plan: Counts) -> bool:
    return _missed(stretch, plan, stretch.allowed) <= stretch.allowed


def _bridged(stretch: _Stretch, plan: Counts) -> Counts:
    """Keep a replica over a gap that is shorter than a cold start: a new one would cost more."""
    out = plan.copy()
    gap = int(stretch.setup.cold_start // stretch.step)
    for level in range(1, int(plan.max(initial=0)) + 1):
        used = np.flatnonzero(plan >= level)
        for left, right in itertools.pairwise(used.tolist()):
            if 1 < right - left <= gap + 1:
                out[left:right] = np.maximum(out[left:right], level)
    return out


def _paid(stretch: _Stretch, plan: Counts) -> float:
    """Replica-seconds in the stretch, with a cold start for each start after its beginning."""
    length = np.full(len(plan), stretch.step)
    length[-1] = stretch.end - stretch.begin - stretch.step * (len(plan) - 1)
    return float(plan @ length) + stretch.setup.cold_start * float(np.maximum(np.diff(plan), 0).sum())


def _missed(stretch: _Stretch, plan: Counts, enough: int) -> int:
    """Requests of the stretch that are late under the plan; counting ends once there are more than `enough`."""
    slots = [count * stretch.setup.concurrency for count in plan.tolist()]
    begin, step, steps, first = stretch.begin, stretch.step, len(plan), stretch.first
    ends: list[float] = []
    missed, now = 0, -math.inf
    for number, (arrival, service) in enumerate(zip(stretch.arrivals, stretch.services, strict=True)):
        now = max(now, arrival)
        while ends and ends[0] <= now:
            heapq.heappop(ends)
        while now >= begin:
            at = int((now - begin) / step)
            if at >= steps or len(ends) < slots[at]:
                break
            now = max(min(ends[0] if ends else math.inf, begin + (at + 1) * step), math.nextafter(now, math.inf))
            while ends and ends[0] <= now:
                heapq.heappop(ends)
        if now - arrival > LATE and number >= first:
            missed += 1
            if missed > enough:
                return missed
        heapq.heappush(ends, now + service)
    return missed
