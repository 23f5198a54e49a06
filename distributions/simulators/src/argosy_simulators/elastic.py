"""One endpoint in several regions, which may answer for each other, on capacity that may be taken back.

The model of a replica is that of `simulate.py`. A request goes to a free slot of the region where it came; where there
is none and regions answer for each other, to the region with the most free slots. Else it waits where it came, or, once
`ROOM` requests wait for each slot there, in the region where fewest do, and stays in that queue. Scaling
is by region, each for what came to it, or by one policy for all, whose replicas start where most are missing.

On spot, a zone without capacity loses its replicas, and what ran there goes back to the head of its queue, with all the
time that it has waited. Launches that a zone refuses cost nothing. Every tick the hedge (`capacity.spot`) decides anew
for as many replicas as the policy wants; what the policy wants between ticks is started at once where a zone has room.
"""

import heapq
import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from argosy.capacity.policy import Observation, Policy
from argosy.capacity.spot import Hedge, SpotObservation, SpotState, decide
from argosy_simulators.score import LATE
from argosy_simulators.simulate import AFTER, RECENT, Setup
from argosy_simulators.spot import SpotTrace
from argosy_simulators.trace import Floats, Trace

ROOM = 0.25
"""Requests that wait for each slot of a region before it refuses more, while others do not."""


class Machine(msgspec.Struct, gc=False, eq=False):
    """A replica: its region, its zone (none: on demand), its price; when it was asked for, and ended."""

    region: int
    zone: int | None
    price: float
    asked: float
    ended: float = math.inf
    ready: bool = False
    stopped: bool = False
    running: set[int] = msgspec.field(default_factory=set[int])


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """The market: when each zone has capacity, from tick `begin` on; the region of each zone, by its place; the hedge,
    and what it knows at the beginning. A loss is said `notice` seconds before."""

    trace: SpotTrace
    begin: int
    places: tuple[int, ...]
    hedge: Hedge
    state: SpotState
    notice: float = 0.0


class Elastic(msgspec.Struct, frozen=True, kw_only=True):
    """How it is run: whether regions answer for each other, whether one policy scales all, and the market."""

    together: bool = True
    one: bool = False
    spot: Spot | None = None


class Played(msgspec.Struct, frozen=True, eq=False):
    """What happened: `waits` in seconds by request, `elsewhere` those answered in another region, and all machines."""

    arrivals: Floats
    waits: Floats
    elsewhere: Floats
    machines: list[Machine]
    again: int

    def late(self, begin: float, end: float) -> float:
        """The share of requests from `begin` to `end` that were late."""
        inside = (self.arrivals >= begin) & (self.arrivals <= end)
        return float(np.mean(self.waits[inside] > LATE))

    def away(self, begin: float, end: float) -> float:
        """The share of them that another region answered."""
        return float(np.mean(self.elsewhere[(self.arrivals >= begin) & (self.arrivals <= end)]))

    def hours(self, begin: float, end: float) -> float:
        """What was paid, in hours of a replica on demand."""
        paid = (each.price * max(min(each.ended, end) - max(each.asked, begin), 0.0) for each in self.machines)
        return sum(paid) / 3600


def play(traces: Sequence[Trace], policy: Policy[Any], setup: Setup, how: Elastic) -> Played:
    """Replay the traces, one a region; `setup.initial` replicas are spread over the regions."""
    return _Play(traces, policy, setup, how).run()


class _Play:
    def __init__(self, traces: Sequence[Trace], policy: Policy[Any], setup: Setup, how: Elastic) -> None:
        self.policy, self.setup, self.how, self.places = policy, setup, how, range(len(traces))
        arrivals = np.concatenate([each.arrivals for each in traces])
        order = np.argsort(arrivals, kind="stable")
        self.arrivals: list[float] = arrivals[order].tolist()
        self.services: list[float] = np.concatenate([each.services for each in traces])[order].tolist()
        self.homes: list[int] = np.repeat(self.places, [len(each.arrivals) for each in traces])[order].tolist()
        self.waits, self.elsewhere = np.full(len(order), np.inf), np.zeros(len(order))
        self.queues = [deque[int]() for _ in self.places]
        self.live: list[list[Machine]] = [[] for _ in self.places]
        self.all: list[Machine] = []
        self.events: list[tuple[float, int, int, Machine]] = []
        self.count = self.came = self.again = self.tick = 0
        scopes = 1 if how.one else len(traces)
        self.states = [policy.begin() for _ in range(scopes)]
        self.wanted = [setup.initial // scopes + (at < setup.initial % scopes) for at in range(scopes)]
        self.seen, self.mean, self.active = [0] * len(traces), [0.0] * len(traces), [0] * len(traces)
        self.spot = how.spot
        self.hedged: SpotState | None = self.spot.state if self.spot else None
        self.lost = [0] * (len(self.spot.places) if self.spot else 0)
        self.refused = [False] * len(self.lost)
        self.spare = 0
        for number in range(setup.initial):
            self.launch(0.0, number % len(traces), ready=0.0)

    def run(self) -> Played:
        look, last = self.setup.on_at, self.arrivals[-1]
        gap = self.spot.trace.seconds if self.spot else math.inf
        while look <= last or (any(self.queues) and look <= last + AFTER):
            while (self.tick + 1) * gap <= look:
                self.tick += 1
                self.warned(self.tick * gap)
                self.advance(self.tick * gap)
                self.market(self.tick * gap)
            self.advance(look)
            self.look(look)
            look += self.policy.interval
        self.advance(math.inf)
        arrivals = np.array(self.arrivals)
        return Played(arrivals, self.waits, self.elsewhere, self.all, self.again)

    def advance(self, until: float) -> None:
        """All that happens up to then: answers and replicas that become ready, and requests that come."""
        while True:
            event = self.events[0][0] if self.events else math.inf
            arrival = self.arrivals[self.came] if self.came < len(self.arrivals) else math.inf
            if min(event, arrival) > until or min(event, arrival) == math.inf:
                return
            if event <= arrival:
                now, _, number, machine = heapq.heappop(self.events)
                self.ready(now, machine) if number < 0 else self.answered(now, number, machine)
            else:
                number, self.came = self.came, self.came + 1
                home = self.homes[number]
                self.seen[home] += 1
                if self.how.together and self.waiting(home) >= ROOM:
                    home = min((home, *self.places), key=self.waiting)
                self.queues[home].append(number)
                self.fill(arrival, home)

    def ready(self, now: float, machine: Machine) -> None:
        if machine.ended == math.inf and not machine.stopped:
            machine.ready = True
            self.live[machine.region].append(machine)
            self.fill(now, machine.region)

    def answered(self, now: float, number: int, machine: Machine) -> None:
        if number not in machine.running or machine.ended <= now:
            return
        machine.running.remove(number)
        home, service = self.homes[number], self.services[number]
        self.active[home] -= 1
        self.mean[home] += (service - self.mean[home]) / RECENT if self.mean[home] else service
        if machine.stopped and not machine.running:
            machine.ended = now
        elif not machine.stopped:
            self.fill(now, machine.region)

    def waiting(self, region: int) -> float:
        """How many wait for each slot."""
        return len(self.queues[region]) / (len(self.live[region]) * self.setup.concurrency or 1)

    def fill(self, now: float, region: int) -> None:
        """Give what waits in a region to free slots: its own, or, where they may help, those of others."""
        queue = self.queues[region]
        while queue:
            best = self.free(region)
            if best is None and self.how.together:
                others = (found for at in self.places if at != region and (found := self.free(at)))
                best = min(others, key=_busy, default=None)
            if best is None:
                return
            number = queue.popleft()
            home = self.homes[number]
            best.running.add(number)
            self.active[home] += 1
            self.waits[number] = now - self.arrivals[number]
            self.elsewhere[number] = best.region != home
            self.push(now + self.services[number], number, best)

    def free(self, region: int) -> Machine | None:
        best = min(self.live[region], key=_busy, default=None)
        return best if best is not None and len(best.running) < self.setup.concurrency else None

    def push(self, at: float, number: int, machine: Machine) -> None:
        self.count += 1
        heapq.heappush(self.events, (at, self.count, number, machine))

    def look(self, now: float) -> None:
        """Ask the policy, in each scope."""
        for scope, state in enumerate(self.states):
            homes = list(self.places) if self.how.one else [scope]
            held = [each for each in self.held() if each.region in homes]
            ready = min(sum(each.ready for each in held), self.wanted[scope])
            means = [self.mean[at] for at in homes if self.mean[at]]
            observed = Observation(
                now=now,
                arrivals=sum(self.seen[at] for at in homes),
                in_flight=sum(self.active[at] for at in homes),
                queue=sum(len(self.queues[at]) for at in homes),
                service_time=sum(means) / len(means) if means else 0.0,
                concurrency=self.setup.concurrency,
                cold_start=self.setup.cold_start,
                ready=ready,
                starting=self.wanted[scope] - ready,
            )
            decision, self.states[scope] = self.policy.decide(observed, state)
            self.wanted[scope] = max(self.wanted[scope] + decision.start - decision.stop - decision.cancel, 0)
            for at in homes:
                self.seen[at] = 0
            if decision.start and self.hedged is not None:
                self.hedged = msgspec.structs.replace(self.hedged, quiet=0)
            for _ in range(self.wanted[scope] - len(held)):
                self.launch(now, self.neediest(homes))
            self.give_up(now, homes, len(held) - self.wanted[scope] - self.spare)

    def held(self) -> list[Machine]:
        """Those that serve or will."""
        return [each for each in self.all if each.ended == math.inf and not each.stopped]

    def load(self, region: int) -> float:
        """How many requests of a region there are for each of its slots and one more."""
        slots = sum(each.region == region for each in self.held()) * self.setup.concurrency
        return (self.active[region] + len(self.queues[region])) / (slots + 1)

    def neediest(self, homes: list[int]) -> int:
        return max(homes, key=self.load)

    def give_up(self, now: float, homes: list[int], count: int) -> None:
        """Stop ready replicas: on a market the dearest, else each in the region that has most to spare, and never the
        last one of it."""
        for _ in range(count):
            if self.spot:
                ready = [each for each in self.held() if each.ready]
                if ready:
                    self.stop(now, min(ready, key=lambda each: (-each.price, len(each.running))))
                continue
            spare = [at for at in homes if len(self.live[at]) > (len(homes) > 1)]
            if spare:
                self.stop(now, min(self.live[min(spare, key=self.load)], key=_busy))

    def stop(self, now: float, machine: Machine) -> None:
        machine.stopped = True
        if machine.ready:
            self.live[machine.region].remove(machine)
        if not machine.running:
            machine.ended = now

    def launch(self, now: float, region: int, *, zone: int | None = None, ready: float | None = None) -> None:
        """Start one: in the zone, or where the market has room, first in this region; else on demand."""
        price, spot = 1.0, self.spot
        if spot and zone is None:
            counts = [sum(each.zone == at for each in self.held()) for at in range(len(spot.places))]
            order = sorted(range(len(counts)), key=lambda at: (spot.places[at] != region, counts[at]))
            open_ = (at for at in order if counts[at] < spot.hedge.most and self.up(at))
            zone = next(open_, None)
        if spot and zone is not None:
            region, price = spot.places[zone], spot.hedge.zones[zone].price
        machine = Machine(region, zone, price, now)
        self.all.append(machine)
        self.push(now + self.setup.cold_start if ready is None else ready, -1, machine)

    def up(self, zone: int, later: int = 0) -> bool:
        """Whether the zone has capacity in this tick, or in a later one."""
        assert self.spot is not None
        return bool(self.spot.trace.up[zone, self.spot.begin + self.tick + later])

    def warned(self, tick: float) -> None:
        """Before a tick: those that are about to be lost take no more requests from the notice on."""
        assert self.spot is not None
        if not self.spot.notice:
            return
        now = tick - self.spot.notice
        self.advance(now)
        for each in self.held():
            if each.zone is not None and not self.up(each.zone):
                self.lost[each.zone] += 1
                self.stop(now, each)
                self.launch(now, each.region)

    def market(self, now: float) -> None:
        """A tick: what is lost, and what the hedge does."""
        spot, state = self.spot, self.hedged
        assert spot is not None
        assert state is not None
        zones = range(len(spot.places))
        for each in self.all:
            if each.ended == math.inf and each.zone is not None and not self.up(each.zone):
                self.lost[each.zone] += not each.stopped
                self.take(now, each)
        held = self.held()
        demand = [each for each in held if each.zone is None]
        seen = SpotObservation(
            now=now,
            ready=tuple(sum(each.zone == at for each in held) for at in zones),
            lost=tuple(self.lost),
            refused=tuple(self.refused),
            on_demand=len(demand),
        )
        hedge = msgspec.structs.replace(spot.hedge, replicas=max(sum(self.wanted), 1))
        if len(held) != hedge.replicas:
            state = msgspec.structs.replace(state, quiet=0)
        done, self.hedged = decide(hedge, seen, state)
        self.lost = [0] * len(zones)
        self.refused = [done.launch[at] > 0 and not self.up(at) for at in zones]
        for at in zones:
            for each in [one for one in held if one.zone == at][: done.stop[at]]:
                self.stop(now, each)
            if not self.refused[at]:
                for _ in range(done.launch[at]):
                    self.launch(now, spot.places[at], zone=at)
        ready = sum(each.ready for each in self.held())
        for each in sorted(demand, key=lambda one: one.ready)[: max(len(demand) - done.on_demand, 0)]:
            if not each.ready or ready > hedge.replicas:
                ready -= each.ready
                self.stop(now, each)
        for _ in range(done.on_demand - len(demand)):
            machine = Machine(self.neediest(list(self.places)), None, 1.0, now)
            self.all.append(machine)
            self.push(now + self.setup.cold_start, -1, machine)
        self.spare = max(len(self.held()) - sum(self.wanted), 0)

    def take(self, now: float, machine: Machine) -> None:
        """Its capacity is gone."""
        if machine.ready and not machine.stopped:
            self.live[machine.region].remove(machine)
        machine.stopped, machine.ended = True, now
        for number in sorted(machine.running, reverse=True):
            self.again += 1
            home = self.homes[number]
            self.active[home] -= 1
            self.waits[number] = math.inf
            self.queues[home].appendleft(number)
        machine.running.clear()
        for home in self.places:
            self.fill(now, home)


def _busy(machine: Machine) -> int:
    return len(machine.running)
