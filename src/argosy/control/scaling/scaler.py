"""How many replicas an endpoint shall have now: what gateway and replicas count, put to `capacity.autoscale`.

What is remembered of each endpoint's load began with this controller: after a restart the replicas that run are the
number to go on from.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from argosy.capacity.autoscale import Autoscale, ScalerState
from argosy.capacity.policy import Observation
from argosy.gateway.clusters import WAITING
from argosy.gateway.traffic import Traffic
from argosy.serving.counts import Work
from argosy.spec.errors import ArgosyError
from argosy.spec.language import AtZero
from argosy.spec.revision import RevisionStatus
from argosy.spec.scaling import Scaling
from argosy.spec.status import ColdStart
from argosy.store.endpoints import Declared
from argosy.telemetry.counters import traffic_since
from argosy.telemetry.feed import Feed, Key

INTERVAL = 1.0
"""Seconds between two decisions; a request that waits for the first replica calls for one at once."""
COLD_START = 5.0
"""Seconds that are taken for a cold start until one has been measured."""
STARTS = 5
"""The longest of so many starts is expected of the next one."""
MEMORY = 60.0
"""Seconds over which the service time is averaged."""
FRESH = 1.0
"""Seconds for which a report of the activator counts."""


class EndpointLoad:
    """What is known of one endpoint: replicas `wanted` and why, and what was last counted of it."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.reason = ""
        self.state: ScalerState | None = None
        self.at = -math.inf
        self.cold_starts: dict[AtZero, deque[float]] = {}
        self.cold: AtZero = "absent"
        self.traffic: dict[str, Traffic] = {}
        self.work: dict[str, Work] = {}
        self.starting: dict[str, tuple[float, AtZero]] = {}
        self.asleep: set[str] = set()
        self.answered = self.busy = 0.0
        self.waiting, self.reported = 0, -math.inf

    @property
    def cold_start(self) -> float:
        """Seconds from asking for a replica to its first request, from what there is of it now or, where that was not
        measured yet, from anything."""
        measured = self.cold_starts.get("asleep" if self.asleep else self.cold)
        return max(measured or [each for found in self.cold_starts.values() for each in found], default=COLD_START)

    def time_starts(self, now: float, status: RevisionStatus) -> None:
        """Time those that start until they are ready, by what they start from."""
        alive = {each.run: each for each in status.replicas}
        self.asleep &= alive.keys()
        for run, each in alive.items():
            if each.phase == "asleep":
                self.asleep.add(run)
            elif each.phase == "starting":
                self.starting.setdefault(run, (now, "asleep" if run in self.asleep else self.cold))
            elif each.phase == "ready" and run in self.starting:
                at, state = self.starting.pop(run)
                self.cold_starts.setdefault(state, deque(maxlen=STARTS)).append(now - at)
                self.asleep.discard(run)
        self.starting = {run: began for run, began in self.starting.items() if run in alive}
        if not alive:
            self.cold = "prefetched" if status.prefetched else "absent"

    def arrivals(self, traffic: Mapping[str, Traffic]) -> int:
        """Requests that came since the last decision. A revision seen first counts from now on. Those of them that were
        answered by engines with slots of their own are counted here, since their replicas do not see them."""
        came = 0
        for name, new in traffic.items():
            if old := self.traffic.get(name):
                completed = traffic_since(new, old).completed
                came += max(0, completed + new.active - old.active)
                self.answered += completed if any(each.slots for each in self.work.values()) else 0
        self.traffic |= traffic
        return came

    def add_work(self, seconds: float, found: Mapping[str, Work]) -> None:
        """Add what replicas did in so many seconds to the averages."""
        decay = math.exp(-seconds / MEMORY)
        self.answered, self.busy = self.answered * decay, self.busy * decay
        for run, new in found.items():
            old = self.work.get(run)
            if old is not None and (new.answered > old.answered or new.slots):
                self.answered += new.answered - old.answered
                self.busy += max(0.0, new.busy - old.busy)
        self.work = dict(found)


class Scaler:
    """Decides for all endpoints whose replicas follow their load. `clock` is monotonic, in seconds."""

    def __init__(self, feed: Feed, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._feed, self._clock = feed, clock
        self._loads: dict[str, EndpointLoad] = {}
        self._shares: dict[str, str] = {}

    def replicas(self, declared: Declared) -> int:
        """How many replicas the endpoint shall have, as last decided. A revision on its way is tried with one."""
        replicas = declared.endpoint.replicas
        if isinstance(replicas, int):
            return replicas
        load = self._loads.get(declared.endpoint.name)
        wanted = load.wanted if load else max(replicas.min, 1)
        return wanted if declared.serving.active == declared.revision else max(wanted, 1)

    def reason(self, name: str) -> str:
        """Why it has so many, in words; empty for those whose number is fixed."""
        return self._loads[name].reason if name in self._loads else ""

    def cold_start(self, name: str) -> float:
        """Seconds that a replica of this endpoint takes to start."""
        return self._loads[name].cold_start if name in self._loads else COLD_START

    def cold(self, declared: Declared, status: RevisionStatus) -> ColdStart | None:
        """What there is of an endpoint that may go to zero, and what starts took."""
        replicas, load = declared.endpoint.replicas, self._loads.get(declared.endpoint.name)
        if not isinstance(replicas, Scaling) or replicas.min or load is None:
            return None
        phases = {each.phase for each in status.replicas}
        state = next((each for each in ("ready", "starting", "asleep") if each in phases), load.cold)
        seconds: dict[AtZero, float] = {name: max(each) for name, each in load.cold_starts.items()}
        hourly = replicas.hourly / 3600
        price: dict[AtZero, float] = {name: hourly * each for name, each in seconds.items()} if hourly else {}
        return ColdStart(state=state, seconds=seconds, price=price)

    def demand(self, name: str, waiting: int) -> bool:
        """So many requests wait for an endpoint in the activator. Whether that calls for a decision at once."""
        load = self._loads.get(name)
        if load is None:
            return False
        load.waiting, load.reported = waiting, self._clock()
        if waiting and not load.wanted:
            load.at = -math.inf
            return True
        return False

    async def update(self, declared: Iterable[Declared], status: Mapping[str, RevisionStatus]) -> None:
        """Decide for every endpoint that is due."""
        now, loads = self._clock(), dict[str, EndpointLoad]()
        due: list[tuple[Declared, Scaling]] = []
        for each in declared:
            scaling, name = each.endpoint.replicas, each.endpoint.name
            self._shares[name] = each.endpoint.shares
            if isinstance(scaling, Scaling):
                loads[name] = load = self._loads.get(name) or _begun(each, scaling, status)
                load.wanted = min(load.wanted, scaling.max)
                load.time_starts(now, _status(each, status))
                if not 0 <= now - load.at < INTERVAL:
                    due.append((each, scaling))
        self._loads = loads
        if not due:
            return
        traffic: Mapping[Key, Traffic] = {}
        missing = ""
        try:
            traffic = await self._feed.traffic()
        except ArgosyError as error:
            missing = f"; the gateway's counts are missing: {error.message}"
        for each, scaling in due:
            load = loads[each.endpoint.name]
            observed = await self._observe(load, each, status, traffic)
            policy = Autoscale(scaling, INTERVAL)
            decision, load.state = policy.decide(observed, load.state or policy.begin())
            stop = 0 if missing or each.serving.active != each.revision else decision.stop
            load.wanted = min(max(observed.total + decision.start - stop, 0), scaling.max)
            load.reason = decision.reason + missing

    async def _observe(
        self,
        load: EndpointLoad,
        declared: Declared,
        status: Mapping[str, RevisionStatus],
        traffic: Mapping[Key, Traffic],
    ) -> Observation:
        now, name = self._clock(), declared.endpoint.name
        gap = max(0.0, now - load.at) if math.isfinite(load.at) else 0.0
        load.at = now
        revisions = loaded(declared)
        mine = {
            f"{endpoint}/{revision}": each
            for (endpoint, revision), each in traffic.items()
            if name in (endpoint, self._shares.get(endpoint)) and revision in (*revisions, WAITING)
        }
        replicas = [each for one in revisions for each in status.get(one, RevisionStatus()).replicas]
        found = await self._feed.processes([each for each in replicas if each.phase == "ready"])
        load.add_work(gap, {run: each.work for run, each in found.items() if each is not None})
        waiting = load.waiting if now - load.reported <= FRESH else 0
        queue = sum(each.queued for each in load.work.values()) + waiting
        ready = min(sum(each.phase == "ready" for each in _status(declared, status).replicas), load.wanted)
        return Observation(
            now=now,
            arrivals=max(load.arrivals(mine), waiting if not ready else 0),
            in_flight=max(0, sum(each.active for each in mine.values()) - queue),
            queue=queue,
            service_time=load.busy / load.answered if load.answered > 0 else 0.0,
            concurrency=max((each.slots for each in load.work.values()), default=0) or 1,
            cold_start=load.cold_start,
            ready=ready,
            starting=load.wanted - ready,
        )


def _begun(declared: Declared, scaling: Scaling, status: Mapping[str, RevisionStatus]) -> EndpointLoad:
    running = sum(each.phase in ("starting", "ready") for each in _status(declared, status).replicas)
    least = scaling.min if declared.serving.active == declared.revision else max(scaling.min, 1)
    return EndpointLoad(min(max(running, least), scaling.max))


def loaded(declared: Declared) -> tuple[str, ...]:
    """The revisions that have the endpoint's traffic: during a rollout two, each of which must be able to take all.
    Copies in the shadow are no additional traffic."""
    rollout = declared.serving.rollout
    both = (rollout.candidate, rollout.stable) if rollout and rollout.live and rollout.phase != "shadowing" else ()
    return tuple(dict.fromkeys((declared.serving.active or declared.revision, *both)))


def _status(declared: Declared, status: Mapping[str, RevisionStatus]) -> RevisionStatus:
    """That of the revision that serves, or, before any does, of the declared one."""
    return status.get(declared.serving.active or declared.revision, RevisionStatus())
