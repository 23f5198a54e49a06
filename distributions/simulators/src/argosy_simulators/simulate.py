"""A discrete-event simulator of one endpoint: a trace of requests, a policy, replicas that take time to start.

The model. A replica has `concurrency` slots; a request holds one for its service time, whatever else runs (so batching
gains and slow-downs are left out). Requests wait in one first-in-first-out queue; a free slot of the ready replica with
the fewest requests takes the oldest. A replica is ready `cold_start` seconds after it was asked for. One that is
stopped takes no more requests and ends when its last is answered. It costs from the asking to the end.

The policy is asked every `interval` seconds of its own; between looks everything happens at its exact time.
"""

import heapq
import math
from collections import deque
from typing import Any, TypeVar

import msgspec
import numpy as np

from argosy.capacity.policy import Decision, Observation, Policy
from argosy_simulators.trace import Floats, Trace

S = TypeVar("S")

RECENT = 50.0
"""The service time that is shown to policies is a moving mean over about so many answers."""
AFTER = 3600.0
"""How long after the last arrival queued requests may still be served, seconds; later counts as never."""


class Setup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What does not depend on the policy: seconds of cold start, slots of a replica, replicas ready at the start.

    The policy is asked from `on_at` seconds on. Traces begin with nobody in flight, which no endpoint that is alive
    shows: with the first minutes left out, policies are not judged by how they take an empty beginning.
    """

    cold_start: float = 180.0
    concurrency: int = 8
    initial: int = 2
    on_at: float = 0.0


class Replica(msgspec.Struct, gc=False, eq=False):
    """When it was asked for, was ready, was told to stop, and ended (infinite: not yet)."""

    asked: float
    ready: float
    stopped: float = math.inf
    ended: float = math.inf
    busy: int = 0
    cancelled: bool = False


class Sample(msgspec.Struct, frozen=True, gc=False):
    """The picture at one look."""

    at: float
    ready: int
    starting: int
    draining: int
    in_flight: int
    queue: int


class Run(msgspec.Struct, frozen=True, eq=False):
    """What happened. `waits` in seconds, by request in order of arrival; infinite where it was never served."""

    waits: Floats
    replicas: list[Replica]
    samples: list[Sample]
    decisions: list[tuple[float, Decision]]


def simulate(trace: Trace, policy: Policy[Any], setup: Setup | None = None) -> Run:
    """Replay the trace under the policy."""
    return _Endpoint(trace, policy, setup or Setup()).run()


class _Endpoint:
    def __init__(self, trace: Trace, policy: Policy[Any], setup: Setup) -> None:
        self.arrivals: list[float] = trace.arrivals.tolist()
        self.services: list[float] = trace.services.tolist()
        self.policy, self.setup = policy, setup
        self.state = policy.begin()
        self.waits = np.full(len(self.arrivals), np.inf)
        self.live = [Replica(0.0, 0.0) for _ in range(setup.initial)]
        self.draining: list[Replica] = []
        self.all = list(self.live)
        self.queue: deque[int] = deque()
        self.ends: list[tuple[float, int, Replica]] = []
        self.coming: list[Replica] = []
        self.came, self.in_flight, self.seen_arrivals = 0, 0, 0
        self.mean_service = 0.0
        self.samples: list[Sample] = []
        self.decisions: list[tuple[float, Decision]] = []

    def run(self) -> Run:
        tick, last = 0, self.arrivals[-1]
        while True:
            at = self.setup.on_at + tick * self.policy.interval
            if at > last and ((not self.queue and self.came == len(self.arrivals)) or at > last + AFTER):
                break
            self.advance(at)
            self.look(at)
            tick += 1
        self.finish()
        return Run(self.waits, self.all, self.samples, self.decisions)

    def advance(self, until: float) -> None:
        """Everything that happens up to `until`, in order of time: answers, then replicas, then arrivals."""
        arrivals, count = self.arrivals, len(self.arrivals)
        while True:
            end = self.ends[0][0] if self.ends else math.inf
            ready = self.coming[0].ready if self.coming else math.inf
            arrival = arrivals[self.came] if self.came < count else math.inf
            now = min(end, ready, arrival)
            if now > until:
                return
            if end == now:
                self.answer(now)
            elif ready == now:
                self.live.append(self.coming.pop(0))
                self.fill(now)
            else:
                self.queue.append(self.came)
                self.came += 1
                self.fill(now)

    def answer(self, now: float) -> None:
        _, number, replica = heapq.heappop(self.ends)
        replica.busy -= 1
        self.in_flight -= 1
        service = self.services[number]
        self.mean_service += (service - self.mean_service) / RECENT if self.mean_service else service
        if replica.stopped < math.inf:
            if not replica.busy:
                replica.ended = now
                self.draining.remove(replica)
        elif self.queue:
            self.fill(now)

    def fill(self, now: float) -> None:
        """Give the oldest requests to free slots."""
        slots = self.setup.concurrency
        while self.queue and self.live:
            replica = min(self.live, key=_busy)
            if replica.busy >= slots:
                return
            number = self.queue.popleft()
            replica.busy += 1
            self.in_flight += 1
            self.waits[number] = now - self.arrivals[number]
            heapq.heappush(self.ends, (now + self.services[number], number, replica))

    def look(self, now: float) -> None:
        starting = len(self.coming)
        observed = Observation(
            now=now,
            arrivals=self.came - self.seen_arrivals,
            in_flight=self.in_flight,
            queue=len(self.queue),
            service_time=self.mean_service,
            concurrency=self.setup.concurrency,
            cold_start=self.setup.cold_start,
            ready=len(self.live),
            starting=starting,
        )
        self.seen_arrivals = self.came
        decision, self.state = self.policy.decide(observed, self.state)
        if decision.start or decision.stop or decision.cancel:
            self.decisions.append((now, decision))
            self.act(now, decision)
        self.samples.append(
            Sample(now, len(self.live), len(self.coming), len(self.draining), self.in_flight, len(self.queue))
        )

    def act(self, now: float, decision: Decision) -> None:
        for _ in range(min(decision.cancel, len(self.coming))):
            given_up = self.coming.pop()
            given_up.stopped, given_up.ended, given_up.cancelled = now, now, True
        for _ in range(min(decision.stop, len(self.live))):
            self.drain(now)
        for _ in range(decision.start):
            replica = Replica(now, now + self.setup.cold_start)
            self.all.append(replica)
            self.coming.append(replica)

    def drain(self, now: float) -> None:
        """Stop the ready replica with the fewest requests."""
        replica = min(self.live, key=_busy)
        self.live.remove(replica)
        replica.stopped = now
        if replica.busy:
            self.draining.append(replica)
        else:
            replica.ended = now

    def finish(self) -> None:
        """Let what drains end."""
        while self.ends:
            now, _, replica = heapq.heappop(self.ends)
            replica.busy -= 1
            if replica.stopped < math.inf and not replica.busy:
                replica.ended = now


def _busy(replica: Replica) -> int:
    return replica.busy
