"""A provider that is played: offers, quotas and spot traces are given, and it misbehaves as often as it is told to.

It behaves as a cloud does, for tests and simulations: spot machines are lost when their zone has no capacity, with a
notice or without; launches are refused, answered late or never, made twice; machines do not start, are billed after
their end, and cost another price than the catalogue says. Equal seeds and calls make equal histories.
"""

import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from argosy.spec.errors import DeadlineExceeded, RateLimited, Unavailable
from argosy.spec.offer import Launch, Offer
from argosy.spec.provider import Faults
from argosy.supply.provider import Event


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """How many spot machines a zone has at each tick of `seconds`; after the last one, as at the last."""

    seconds: float
    capacity: Sequence[int]

    def at(self, elapsed: float) -> int:
        """How many there are so many seconds after its beginning."""
        return self.capacity[max(0, min(len(self.capacity) - 1, int(elapsed // self.seconds)))]

    def down(self, elapsed: float) -> float:
        """The first moment from `elapsed` on at which there is none."""
        first = max(0, min(len(self.capacity) - 1, int(elapsed // self.seconds)))
        empty = (tick for tick in range(first, len(self.capacity)) if not self.capacity[tick])
        tick = next(empty, None)
        return math.inf if tick is None else max(elapsed, tick * self.seconds)


class _Machine(msgspec.Struct):
    """A machine that was made: `ready` and `taken` are known to the one who plays it alone."""

    launch: Launch
    started: float
    ready: float
    taken: float
    ended: float | None = None
    preempted: bool = False
    stays: bool = False


class Replay:
    """A provider. `ready` is the seconds from a launch until the machine serves; `quotas` are machines by region,
    `traces` by zone, for spot machines only; a zone without one always has capacity. Threads may share it."""

    def __init__(
        self,
        name: str,
        offers: Sequence[Offer],
        *,
        clock: Callable[[], float] = time.time,
        ready: float = 120.0,
        quotas: Mapping[str, int] = {},
        traces: Mapping[str, Trace] = {},
        faults: Faults | None = None,
        seed: int = 0,
    ) -> None:
        self.name, self.faults = name, faults or Faults()
        self._offers = [replace(each, provider=name) for each in offers]
        self._clock, self._ready, self._quotas, self._traces = clock, ready, quotas, traces
        self._chance, self._begin = random.Random(seed), clock()
        self._machines: list[_Machine] = []
        self._lock = threading.RLock()

    def offers(self) -> Sequence[Offer]:
        return self._offers

    def quota(self, offer: Offer) -> int | None:
        with self._lock:
            most = self._quotas.get(offer.region)
            return (
                None if most is None else most - sum(each.launch.offer.region == offer.region for each in self._live())
            )

    def launch(self, launch: Launch) -> Launch:
        with self._lock:
            there = [each for each in self._live() if each.launch.id == launch.id]
            if there:
                return self._shown(there[0])
            if self._happens(self.faults.dropped):
                raise DeadlineExceeded(f"{self.name} did not answer in time")
            if self._happens(self.faults.refused):
                raise RateLimited(f"{self.name} has no capacity of {launch.offer.instance} in {launch.offer.region}")
            left = self.quota(launch.offer)
            if left is not None and left <= 0:
                raise RateLimited(f"the quota of {self.name} in {launch.offer.region} is spent")
            self._check_capacity(launch.offer)
            made = self._make(launch)
            if self._happens(self.faults.twice):
                self._make(launch)
            if self._happens(self.faults.lost):
                raise Unavailable(f"the connection to {self.name} broke")
            return self._shown(made)

    def list(self) -> Sequence[Launch]:
        with self._lock:
            now = self._clock()
            self._live()
            return [self._shown(each) for each in self._machines if now - each.started >= self.faults.lag]

    def end(self, launch: Launch) -> None:
        with self._lock:
            for each in self._live():
                if each.launch.machine == launch.machine if not launch.id else each.launch.id == launch.id:
                    if not each.stays and self._happens(self.faults.stays):
                        each.stays = True  # answered, and not done: what is asked once more is
                    else:
                        each.ended = self._clock()

    def events(self) -> Sequence[Event]:
        with self._lock:
            now, found = self._clock(), list[Event]()
            live = self._live()
            for each in self._machines:
                if each.preempted:
                    found.append(Event(launch=each.launch.id, kind="preempted", at=each.taken))
                elif each in live and self.faults.notice and now >= each.taken - self.faults.notice:
                    at = max(each.started, each.taken - self.faults.notice)
                    found.append(Event(launch=each.launch.id, kind="notice", at=at, deadline=each.taken))
            return found

    def bill(self) -> Sequence[Launch]:
        """The invoice: every machine that it ever made, with its true times and price."""
        with self._lock:
            self._live()
            return [self._shown(each) for each in self._machines]

    def _check_capacity(self, offer: Offer) -> None:
        trace = self._traces.get(offer.zone) if offer.market == "spot" else None
        if trace is not None:
            here = [
                one for one in self._live() if one.launch.offer.zone == offer.zone and one.launch.offer.market == "spot"
            ]
            if len(here) >= trace.at(self._clock() - self._begin):
                raise RateLimited(f"{self.name} has no spot capacity of {offer.instance} in {offer.zone}")

    def _make(self, launch: Launch) -> _Machine:
        now, offer = self._clock(), launch.offer
        trace = self._traces.get(offer.zone) if offer.market == "spot" else None
        taken = math.inf if trace is None else self._begin + trace.down(now - self._begin)
        ready = math.inf if self._happens(self.faults.never) else now + self._ready
        number = len(self._machines)
        named = replace(
            launch,
            machine=f"m-{number:06}",
            address=f"{self.name}-{number}.example",
            price=offer.price * self.faults.dear,
            started=now,
        )
        made = _Machine(launch=named, started=now, ready=ready, taken=taken)
        self._machines.append(made)
        return made

    def _live(self) -> "list[_Machine]":
        """What runs now; what was lost since the last look has ended."""
        now = self._clock()
        for each in self._machines:
            if each.ended is None and now >= each.taken:
                each.ended, each.preempted = each.taken, True
        return [each for each in self._machines if each.ended is None]

    def _shown(self, machine: _Machine) -> Launch:
        serves = self._clock() >= machine.ready
        ready = machine.ready if serves and (machine.ended is None or machine.ready < machine.ended) else None
        if machine.ended is not None:
            why = "the capacity was taken back" if machine.preempted else ""
            return replace(machine.launch, state="ended", ready=ready, ended=machine.ended, reason=why)
        return replace(machine.launch, state="ready" if serves else "starting", ready=ready)

    def _happens(self, share: float) -> bool:
        return share > 0 and self._chance.random() < share
