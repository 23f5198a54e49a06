"""Plays a load at a level against a router, and finds the knee over levels."""

import heapq
import itertools
import random
import statistics
from collections.abc import Iterable

import msgspec

from argosy_simulators.routing.engine import Engine, Hardware, Request
from argosy_simulators.routing.loads import Conversation, Load, arrivals
from argosy_simulators.routing.routers import ROUTERS

COME, START, END = 2, 1, 0
SLOWER = 2.5
"""The other kind of GPU in a mixed pool."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one level: tokens a second that went in and came out, requests a second, seconds to first token,
    the share of prompt tokens that were in a cache."""

    level: float
    input: float
    output: float
    requests: float
    ttft_p50: float
    ttft_p90: float
    hits: float


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A router under a load: `runs` has the points of each seed, level by level."""

    load: str
    bound: float
    router: str
    runs: list[list[Point]]

    @property
    def points(self) -> list[Point]:
        """Means over the seeds."""
        return [_mean(list(each)) for each in zip(*self.runs, strict=True)]

    def knee(self, points: list[Point] | None = None) -> Point | None:
        """The last level before p90 of the time to first token passes the bound."""
        within = itertools.takewhile(lambda each: each.ttft_p90 <= self.bound, points or self.points)
        return max(within, key=lambda each: each.level, default=None)

    @property
    def knees(self) -> list[float]:
        """Tokens a second that go in at the knee, for each seed: how much of it is chance."""
        return [point.input if (point := self.knee(run)) else 0.0 for run in self.runs]


class Play:
    """One run. Every time is the simulator's."""

    def __init__(self, load: Load, level: float, router: str, fleet: list[Hardware], seed: int) -> None:
        self.load = load
        self.random = random.Random(seed)
        self.router = ROUTERS[router](fleet, seed)
        self.engines = [Engine(each) for each in fleet]
        self.numbers, self.people = itertools.count(), itertools.count()
        self.events: list[tuple[float, int, int, Request | Conversation]] = []
        self.talks: dict[int, Conversation] = {}
        self.requests: list[Request] = []
        for at in arrivals(load, level, self.random):
            self.push(at, COME, self.conversation())

    def conversation(self) -> Conversation:
        """A new one, with chance of its own, so that it is the same whichever router it meets."""
        number = next(self.people)
        return Conversation(self.load, number, random.Random(self.random.getrandbits(48)))

    def push(self, at: float, kind: int, what: Request | Conversation) -> None:
        """Let it happen then."""
        heapq.heappush(self.events, (at, kind, next(self.numbers), what))

    def run(self) -> list[Request]:
        """All requests that came in the time of the load, whether or not they were answered in it."""
        while True:
            engine = min(self.engines, key=lambda each: each.due)
            at = self.events[0][0] if self.events else float("inf")
            if min(at, engine.due) > self.load.seconds:
                return self.requests
            if engine.due <= at:
                engine.leap()
                self.notices(engine)
            else:
                self.happen(*heapq.heappop(self.events))

    def notices(self, engine: Engine) -> None:
        """What happened in an engine."""
        for request in engine.started:
            self.push(request.first, START, request)
        for request in engine.finished:
            self.push(request.ended, END, request)
        engine.started, engine.finished = [], []

    def happen(self, at: float, kind: int, _: int, what: Request | Conversation) -> None:
        """One event."""
        if isinstance(what, Conversation):
            request = what.ask(next(self.numbers), at)
            self.talks[request.number] = what
            self.requests.append(request)
            request.replica = self.router.route(request, at)
            engine = self.engines[request.replica]
            engine.submit(request, at)
            self.notices(engine)
        elif kind == START:
            self.router.started(what, at)
        else:
            self.router.ended(what, at)
            talk = self.talks.pop(what.number)
            if talk.turns > 0:
                self.push(at + talk.pause(), COME, talk)
            elif self.load.closed:
                self.push(at, COME, self.conversation())


def play(load: Load, level: float, router: str, fleet: list[Hardware], seed: int) -> Point:
    """The figures of one run. A request that has no first token at the end has waited until then, at least."""
    requests = Play(load, level, router, fleet, seed).run()
    begin, seconds = load.seconds / 3, load.seconds * 2 / 3
    waits = [min(each.first, load.seconds) - each.at for each in requests if each.at >= begin]
    served = [each for each in requests if begin <= each.first <= load.seconds]
    ended = [each for each in requests if begin <= each.ended <= load.seconds]
    prompts = sum(each.prompt for each in served)
    return Point(
        level=level,
        input=prompts / seconds,
        output=sum(each.output for each in ended) / seconds,
        requests=len(ended) / seconds,
        ttft_p50=_quantile(waits, 0.5),
        ttft_p90=_quantile(waits, 0.9),
        hits=sum(each.cached for each in served) / max(prompts, 1),
    )


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else 0.0


def fleet(load: Load, *, mixed: bool) -> list[Hardware]:
    """The engines of a load; of a mixed pool every second is slower."""
    kinds = (load.hardware, load.hardware.slower(SLOWER) if mixed else load.hardware)
    return [kinds[at % 2] for at in range(load.engines)]


def curve(load: Load, router: str, seeds: Iterable[int], *, mixed: bool = False) -> Curve:
    """Every level, for every seed."""
    engines = fleet(load, mixed=mixed)
    runs = [[play(load, level, router, engines, seed) for level in load.levels] for seed in seeds]
    return Curve(load=load.name, bound=load.bound, router=router, runs=runs)


def _mean(points: list[Point]) -> Point:
    names = Point.__struct_fields__
    return Point(**{name: statistics.fmean(getattr(each, name) for each in points) for name in names})
