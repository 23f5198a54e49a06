"""Deferred work in the idle slots of replicas that serve requests: a simulation of every request and every item.

Each replica has slots; all that run there share it, and take longer the more there are, by a measured profile. A
request goes to the replica where the least runs, requests and items. Where work has the slot, the youngest item is
pushed out: it goes on elsewhere later, from what it had written, which has to be read again (`resume`).
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from argosy.capacity.idle import IdleDecision, IdleObservation, IdlePolicy, IdleState, decide, reserves
from argosy_simulators.trace import Floats, Trace

Keep = Callable[[Sequence[int], int, float], list[int]]
Fill = Callable[[IdleObservation, IdleState], tuple[IdleDecision, IdleState]]
WINDOW = 60.0
"""Seconds over which the rate of requests is averaged."""


def _none(requests: Sequence[int], _slots: int, _rate: float) -> list[int]:
    return [0] * len(requests)


class Filling(NamedTuple):
    """A policy: what runs on a replica, and how many slots of each stay free."""

    fill: Fill
    keep: Keep = _none


def ours(policy: IdlePolicy) -> Filling:
    """Our policy."""

    def fill(seen: IdleObservation, state: IdleState) -> tuple[IdleDecision, IdleState]:
        return decide(seen, state, policy)

    def keep(requests: Sequence[int], slots: int, rate: float) -> list[int]:
        return reserves(requests, slots, rate, policy)

    return Filling(fill, keep)


def nothing(_: IdleObservation, state: IdleState) -> tuple[IdleDecision, IdleState]:
    """No work at all."""
    return IdleDecision(0), state


def greedy(seen: IdleObservation, state: IdleState) -> tuple[IdleDecision, IdleState]:
    """Every free slot, and what runs is never pushed out: priority of a queue alone."""
    return IdleDecision(seen.slots - seen.requests), state


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas of `slots` each. `slow` is how much longer everything takes at each occupancy (1.0 at 1), `step` the
    seconds of a step at an occupancy of 1, `release` the seconds until a slot is free once its work was pushed out,
    `resume` those that an item needs to go on."""

    replicas: int
    slots: int
    slow: tuple[float, ...]
    step: float = 0.03
    release: float = 0.06
    resume: float = 0.5


class IdleRun(msgspec.Struct, frozen=True, kw_only=True):
    """`filled`: the share of idle slot-seconds in which items went on; `lost`: those in which they were begun again.
    `p99` of the seconds from arrival to answer, `wait` of those until a slot; `done` and `pushed` items."""

    policy: str
    filled: float
    lost: float
    p50: float
    p99: float
    wait: float
    done: int
    pushed: int


class _Job:
    __slots__ = ("arrived", "left", "request", "started", "whole")

    def __init__(self, left: float, arrived: float, started: float, *, request: bool) -> None:
        self.left, self.arrived, self.started, self.request = left, arrived, started, request
        self.whole = left


class _Replica:
    """Its jobs as they were at `at`."""

    def __init__(self) -> None:
        self.at, self.stamp = 0.0, 0
        self.jobs: list[_Job] = []
        self.waiting: deque[tuple[float, float]] = deque()
        self.state = IdleState()

    def requests(self) -> int:
        return sum(job.request for job in self.jobs) + len(self.waiting)


class _Simulation:
    def __init__(self, trace: Trace, pool: Pool, policy: Filling, items: Floats, since: float) -> None:
        self.trace, self.pool, self.policy, self.since = trace, pool, policy, since
        self.arrivals = deque[float]()
        self.items, self.paused = itertools.cycle(items.tolist()), list[float]()
        self.replicas = [_Replica() for _ in range(pool.replicas)]
        self.events: list[tuple[float, int, int]] = []
        self.latency: list[float] = []
        self.waits: list[float] = []
        self.busy = self.spent = self.bad = 0.0
        self.done = self.pushed = 0

    def run(self) -> None:
        for at, service in zip(self.trace.arrivals.tolist(), self.trace.services.tolist(), strict=True):
            while self.events and self.events[0][0] <= at:
                self._ended(*heapq.heappop(self.events))
            self.arrivals.append(at)
            place = min(range(self.pool.replicas), key=self._load)
            self._came(place, at, service)

    def _load(self, place: int) -> tuple[int, int]:
        replica = self.replicas[place]
        return len(replica.jobs) + len(replica.waiting), replica.requests()

    def _forward(self, place: int, now: float) -> _Replica:
        """What was done there until now."""
        replica = self.replicas[place]
        count, passed = len(replica.jobs), now - replica.at
        if count and passed > 0:
            work = passed / self.pool.slow[count - 1]
            measured = max(0.0, now - max(replica.at, self.since))
            for job in replica.jobs:
                job.left -= work
                self.busy += measured * job.request
                self.spent += measured * (not job.request)
        replica.at = now
        return replica

    def _came(self, place: int, now: float, service: float) -> None:
        replica = self._forward(place, now)
        if len(replica.jobs) < self.pool.slots:
            replica.jobs.append(self._begun(now, now, service))
        elif self._decide(place, extra=1).push and self._push(replica, now):
            replica.jobs.append(self._begun(now, now + self.pool.release, service + self.pool.release))
        else:
            replica.waiting.append((now, service))
        self._settle(place, now)

    def _begun(self, arrived: float, at: float, service: float) -> _Job:
        if arrived >= self.since:
            self.waits.append(at - arrived)
        return _Job(service, arrived, at, request=True)

    def _push(self, replica: _Replica, now: float) -> bool:
        work = [job for job in replica.jobs if not job.request]
        if not work:
            return False
        youngest = max(work, key=lambda job: job.started)
        replica.jobs.remove(youngest)
        self.pushed += 1
        again = min(youngest.whole - youngest.left, self.pool.resume)
        self.paused.append(youngest.left + again)
        self.bad += again * (now >= self.since) * self.pool.slow[len(replica.jobs)]
        return True

    def _ended(self, now: float, place: int, stamp: int) -> None:
        replica = self.replicas[place]
        if stamp != replica.stamp:
            return
        self._forward(place, now)
        for job in [job for job in replica.jobs if job.left <= 1e-9]:
            replica.jobs.remove(job)
            if not job.request:
                self.done += 1
            elif job.arrived >= self.since:
                self.latency.append(now - job.arrived)
        while replica.waiting and len(replica.jobs) < self.pool.slots:
            arrived, service = replica.waiting.popleft()
            replica.jobs.append(self._begun(arrived, now, service))
        self._settle(place, now)

    def _decide(self, place: int, *, extra: int = 0) -> IdleDecision:
        replica, count = self.replicas[place], len(self.replicas[place].jobs)
        while self.arrivals and self.arrivals[0] < replica.at - WINDOW:
            self.arrivals.popleft()
        requests = [each.requests() for each in self.replicas]
        requests[place] += extra
        seen = IdleObservation(
            slots=self.pool.slots,
            requests=requests[place],
            work=sum(not job.request for job in replica.jobs),
            reserve=self.policy.keep(requests, self.pool.slots, len(self.arrivals) / WINDOW)[place],
            occupancy=count,
            step=self.pool.step * self.pool.slow[count - 1] if count else 0.0,
        )
        decision, replica.state = self.policy.fill(seen, replica.state)
        return decision

    def _settle(self, place: int, now: float) -> None:
        """Have as much work there as the policy says, and see when the next job ends."""
        replica = self.replicas[place]
        decision = self._decide(place)
        for _ in range(decision.push):
            self._push(replica, now)
        work = sum(not job.request for job in replica.jobs)
        for _ in range(min(decision.work - work, self.pool.slots - len(replica.jobs))):
            left = self.paused.pop() if self.paused else next(self.items)
            replica.jobs.append(_Job(left, now, now, request=False))
        replica.stamp += 1
        if replica.jobs:
            left = max(0.0, min(job.left for job in replica.jobs))
            heapq.heappush(self.events, (now + left * self.pool.slow[len(replica.jobs) - 1], place, replica.stamp))


def simulate(name: str, trace: Trace, pool: Pool, policy: Filling, items: Floats, *, since: float = 0.0) -> IdleRun:
    """The requests that came from `since` on, and the idle time from then to the last arrival. `items` are the seconds
    that work takes alone, which there is always more of."""
    found = _Simulation(trace, pool, policy, items, since)
    found.run()
    idle = pool.replicas * pool.slots * (trace.end - since) - found.busy
    p50, p99 = np.quantile(found.latency, (0.5, 0.99)).tolist()
    return IdleRun(
        policy=name,
        filled=(found.spent - found.bad) / idle,
        lost=found.bad / idle,
        p50=p50,
        p99=p99,
        wait=float(np.quantile(found.waits, 0.99)),
        done=found.done,
        pushed=found.pushed,
    )


def slow(profile: Sequence[tuple[int, float]], slots: int) -> tuple[float, ...]:
    """How much longer a step takes at 1 to `slots`, between measured points of (occupancy, seconds), never falling."""
    sizes, times = zip(*sorted(profile), strict=True)
    found = np.maximum.accumulate(np.interp(np.arange(1, slots + 1), sizes, times))
    return tuple((found / found[0]).tolist())
