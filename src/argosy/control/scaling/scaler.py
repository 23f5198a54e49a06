"""How many replicas an endpoint shall have now: what gateway and replicas count, put to the autoscaling policy.

`measure.py` reads the replicas; the decision is `capacity.autoscale`'s. What is kept here is the course of each
endpoint since this controller began: after a restart the replicas that run are the number to go on from.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping

from argosy.capacity.autoscale import Autoscale, ScalerState
from argosy.capacity.policy import Observation
from argosy.control.scaling.measure import Work, measure
from argosy.gateway.clusters import WAITING
from argosy.gateway.traffic import Traffic
from argosy.spec.errors import ArgosyError
from argosy.spec.revision import Replica, RevisionStatus
from argosy.spec.scaling import Scaling
from argosy.store.endpoints import Declared

INTERVAL = 1.0
"""Seconds between two looks; a request that waits for the first replica is seen at once."""
COLD_START = 5.0
"""Seconds that are taken for a cold start until one has been seen."""
STARTS = 5
"""The longest of so many starts is expected of the next one."""
MEMORY = 60.0
"""Seconds over which the service time is averaged."""
FRESH = 1.0
"""Seconds for which what the waiting room said holds."""

Stats = Callable[[], Awaitable[Mapping[tuple[str, str], Traffic]]]
Measure = Callable[[Replica], Awaitable[Work | None]]


class Course:
    """What is known of one endpoint: replicas `wanted` and why, and the course of its load."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.reason = ""
        self.state: ScalerState | None = None
        self.at = -math.inf
        self.cold = deque[float](maxlen=STARTS)
        self.came: dict[str, int] = {}
        self.work: dict[str, Work] = {}
        self.born: dict[str, float] = {}
        self.answered = self.busy = 0.0
        self.waiting, self.told = 0, -math.inf

    @property
    def cold_start(self) -> float:
        """Seconds from asking for a replica to its first request."""
        return max(self.cold, default=COLD_START)

    @property
    def service_time(self) -> float:
        """Seconds for which a request takes a replica; 0 while none was answered."""
        return self.busy / self.answered if self.answered > 0 else 0.0

    def watch_starts(self, now: float, replicas: Iterable[Replica]) -> None:
        """Time those that start until they are ready."""
        alive = {each.run: each for each in replicas}
        for run, each in alive.items():
            if each.phase == "starting":
                self.born.setdefault(run, now)
            elif each.phase == "ready" and run in self.born:
                self.cold.append(now - self.born.pop(run))
        self.born = {run: at for run, at in self.born.items() if run in alive}

    def arrivals(self, counts: Mapping[str, Traffic]) -> int:
        """Requests that came since the last look. A revision seen first counts from now, unless all began with us."""
        came = {name: each.completed + each.active for name, each in counts.items()}
        new = sum(max(0, count - self.came[name]) for name, count in came.items() if name in self.came)
        self.came |= came
        return new

    def queued(self, gap: float, found: Mapping[str, Work]) -> int:
        """Fold in what the replicas counted; how many requests wait in their queues."""
        kept = math.exp(-gap / MEMORY)
        self.answered, self.busy = self.answered * kept, self.busy * kept
        for run, now in found.items():
            before = self.work.get(run)
            if before is not None and now.answered > before.answered:
                self.answered += now.answered - before.answered
                self.busy += max(0.0, now.busy - before.busy)
        self.work = dict(found)
        return sum(each.queued for each in found.values())


class Scaler:
    """The courses of all endpoints whose replicas follow their load. `clock` is monotonic, in seconds."""

    def __init__(
        self, stats: Stats, *, clock: Callable[[], float] = time.monotonic, measured: Measure = measure
    ) -> None:
        self._stats, self._clock, self._measure = stats, clock, measured
        self._courses: dict[str, Course] = {}

    def replicas(self, declared: Declared) -> int:
        """How many replicas the endpoint shall have, as of the last look. A revision on its way is tried with one."""
        asked = declared.endpoint.replicas
        if isinstance(asked, int):
            return asked
        course = self._courses.get(declared.endpoint.name)
        wanted = course.wanted if course else max(asked.min, 1)
        return wanted if declared.serving.active == declared.revision else max(wanted, 1)

    def reason(self, name: str) -> str:
        """Why it has so many, in words; empty for those whose number is fixed."""
        course = self._courses.get(name)
        return course.reason if course else ""

    def cold_start(self, name: str) -> float:
        """Seconds that a replica of this endpoint takes to start."""
        course = self._courses.get(name)
        return course.cold_start if course else COLD_START

    def demand(self, name: str, waiting: int) -> bool:
        """The waiting room holds so many requests for an endpoint. Whether that calls for a look at once."""
        course = self._courses.get(name)
        if course is None:
            return False
        course.waiting, course.told = waiting, self._clock()
        if waiting and not course.wanted:
            course.at = -math.inf
            return True
        return False

    async def look(self, declared: Iterable[Declared], standings: Mapping[str, RevisionStatus]) -> None:
        """Look at every endpoint that is due, and decide."""
        scaled = {each.endpoint.name: each for each in declared if isinstance(each.endpoint.replicas, Scaling)}
        self._courses = {name: self._course(each, standings) for name, each in scaled.items()}
        now = self._clock()
        for name, each in scaled.items():
            self._courses[name].watch_starts(now, _replicas(each, standings))
        due = [each for name, each in scaled.items() if not 0 <= now - self._courses[name].at < INTERVAL]
        if not due:
            return
        counts: Mapping[tuple[str, str], Traffic] = {}
        missing = ""
        try:
            counts = await self._stats()
        except ArgosyError as error:
            missing = f"; the gateway's counts are missing: {error.message}"
        for each in due:
            await self._decide(each, standings, counts, missing)

    def _course(self, declared: Declared, standings: Mapping[str, RevisionStatus]) -> Course:
        scaling = declared.endpoint.replicas
        assert isinstance(scaling, Scaling)
        known = self._courses.get(declared.endpoint.name)
        if known is not None:
            known.wanted = min(known.wanted, scaling.max)
            return known
        running = sum(each.phase in ("starting", "ready") for each in _replicas(declared, standings))
        least = scaling.min if declared.serving.active == declared.revision else max(scaling.min, 1)
        return Course(min(max(running, least), scaling.max))

    async def _decide(
        self,
        declared: Declared,
        standings: Mapping[str, RevisionStatus],
        counts: Mapping[tuple[str, str], Traffic],
        missing: str,
    ) -> None:
        course, scaling = self._courses[declared.endpoint.name], declared.endpoint.replicas
        assert isinstance(scaling, Scaling)
        seen = await self._observe(course, declared, standings, counts)
        policy = Autoscale(scaling, INTERVAL)
        decision, course.state = policy.decide(seen, course.state or policy.begin())
        stop = 0 if missing or declared.serving.active != declared.revision else decision.stop
        course.wanted = min(max(seen.total + decision.start - stop, 0), scaling.max)
        course.reason = decision.reason + missing

    async def _observe(
        self,
        course: Course,
        declared: Declared,
        standings: Mapping[str, RevisionStatus],
        counts: Mapping[tuple[str, str], Traffic],
    ) -> Observation:
        now, name = self._clock(), declared.endpoint.name
        gap = max(0.0, now - course.at) if math.isfinite(course.at) else 0.0
        course.at = now
        serving = arms(declared)
        mine = {
            key: each for (endpoint, key), each in counts.items() if endpoint == name and key in (*serving, WAITING)
        }
        working = [
            each for arm in serving for each in standings.get(arm, RevisionStatus()).replicas if each.phase == "ready"
        ]
        works = await asyncio.gather(*(self._measure(each) for each in working))
        found = {each.run: work for each, work in zip(working, works, strict=True) if work is not None}
        waiting = course.waiting if now - course.told <= FRESH else 0
        queue = course.queued(gap, found) + waiting
        active = sum(each.active for each in mine.values())
        ready = sum(each.phase == "ready" for each in _replicas(declared, standings))
        serving = min(ready, course.wanted)
        return Observation(
            now=now,
            arrivals=max(course.arrivals(mine), waiting if not serving else 0),
            in_flight=max(0, active - queue),
            queue=queue,
            service_time=course.service_time,
            concurrency=1,
            cold_start=course.cold_start,
            ready=serving,
            starting=course.wanted - serving,
        )


def arms(declared: Declared) -> tuple[str, ...]:
    """The revisions that have the endpoint's traffic: during a rollout two, each of which must be able to take all.
    Copies in the shadow are no traffic more."""
    rollout = declared.serving.rollout
    both = (rollout.candidate, rollout.stable) if rollout and rollout.live and rollout.phase != "shadowing" else ()
    return tuple(dict.fromkeys((declared.serving.active or declared.revision, *both)))


def _replicas(declared: Declared, standings: Mapping[str, RevisionStatus]) -> tuple[Replica, ...]:
    """Those of the revision that serves, or, before any does, of the declared one."""
    return standings.get(declared.serving.active or declared.revision, RevisionStatus()).replicas
