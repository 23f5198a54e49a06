"""The number of replicas follows what gateway and replicas count, by a clock of the tests' own."""

import itertools
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from argosy.control.scaling.scaler import EndpointLoad, Scaler, loaded
from argosy.gateway.traffic import Traffic
from argosy.serving.counts import Counts, Work
from argosy.spec.address import Address
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import Unavailable
from argosy.spec.revision import Replica, ReplicaPhase, RevisionStatus
from argosy.spec.scaling import Scaling
from argosy.store.endpoints import Declared, Progress, RolloutPhase, Serving
from argosy.telemetry.counters import ProcessCounts


def number(replica: Replica) -> int:
    return int(replica.id.removeprefix("d-"))


class World:
    """Replicas that take `cold` seconds to start and `service` seconds a request, and a gateway that counts."""

    def __init__(self, scaling: Scaling | int, *, service: float = 0.1, cold: float = 3.0) -> None:
        self.now, self.service, self.cold = 1000.0, service, cold
        self.endpoint = Endpoint(name="d", model="m:1", replicas=scaling)
        self.active: str | None = "r"
        self.born: list[float] = []
        self.numbers = itertools.count(1)
        self.pids: list[int] = []
        self.answered: Counter[int] = Counter()
        self.came = self.waited = self.shifted = 0
        self.shift: float | None = None
        self.phase: RolloutPhase = "shifting"
        self.fails = False
        self.scaler = self.restarted()

    def restarted(self) -> Scaler:
        feed: Any = SimpleNamespace(traffic=self.stats, processes=self.processes)
        self.scaler = Scaler(feed, clock=lambda: self.now)
        return self.scaler

    async def stats(self) -> dict[tuple[str, str], Traffic]:
        if self.fails:
            raise Unavailable("nobody listens")
        return {
            ("d", "r"): Traffic(completed=self.came - self.shifted),
            ("d", "c"): Traffic(completed=self.shifted),
            ("d", "@waiting"): Traffic(completed=self.waited),
            ("d", "shadow"): Traffic(completed=self.came * 50),
            ("other", "r"): Traffic(completed=self.came * 50),
        }

    async def processes(self, replicas: Sequence[Replica]) -> dict[str, ProcessCounts | None]:
        done = {each.run: self.answered[number(each)] for each in replicas}
        return {
            run: ProcessCounts(0.0, Counts(), Work(answered=count, engine=count * self.service))
            for run, count in done.items()
        }

    @property
    def declared(self) -> Declared:
        """With a `shift`, that share of the requests goes to the candidate `c` of a rollout."""
        rollout = Progress(number=1, candidate="c", stable="r", held=1, phase=self.phase)
        serving = Serving(active=self.active, held=1, rollout=None if self.shift is None else rollout)
        return Declared(
            endpoint=self.endpoint,
            revision="r" if self.shift is None else "c",
            serving=serving,
            generation=1,
            created="",
            updated="",
        )

    def replicas(self) -> tuple[Replica, ...]:
        def one(pid: int, born: float) -> Replica:
            phase: Any = "ready" if self.now - born >= self.cold else "starting"
            return Replica(id=f"d-{pid}", endpoint="d", revision="r", phase=phase, http=Address(), started=born)

        return tuple(one(pid, born) for pid, born in zip(self.pids, self.born, strict=True))

    async def second(self, arrivals: int = 0) -> int:
        """One second with so many requests, one look, and its outcome put into practice."""
        self.now += 1.0
        self.came += arrivals
        shifted = round(arrivals * (self.shift or 0))
        self.shifted += shifted
        ready = [number(each) for each in self.replicas() if each.phase == "ready"]
        candidates = [msgspec.structs.replace(each, id=f"d-{-number(each)}", revision="c") for each in self.replicas()]
        for n in range(arrivals):
            if ready:
                self.answered[ready[n % len(ready)] * (-1 if n < shifted else 1)] += 1
        there = {"r": RevisionStatus(replicas=self.replicas()), "c": RevisionStatus(replicas=tuple(candidates))}
        await self.scaler.update([self.declared], there)
        wanted = self.scaler.replicas(self.declared)
        while len(self.pids) < wanted:
            self.pids.append(next(self.numbers))
            self.born.append(self.now)
        del self.pids[wanted:], self.born[wanted:]
        return wanted

    async def seconds(self, count: int, arrivals: int = 0) -> list[int]:
        return [await self.second(arrivals) for _ in range(count)]


SCALING = Scaling(min=1, max=10, window=20, history=120, patience=30, idle=20)


async def test_more_load_gets_more_replicas_at_once_and_less_load_fewer_after_a_while():
    world = World(SCALING)
    assert set(await world.seconds(30, 5)) == {1}
    up = await world.seconds(30, 50)
    assert up[0] > 1, "a step is answered at the first look"
    assert 5 <= up[-1] <= 10
    assert "load 5" in world.scaler.reason("d")
    down = await world.seconds(200, 5)
    assert down[:10] == [max(down)] * 10, "nothing is stopped before patience is over"
    assert down[-1] <= 2
    assert down[0] >= up[-1]


async def test_bounds_are_kept_also_when_they_change():
    world = World(SCALING)
    assert max(await world.seconds(60, 1000)) == 10
    assert "bounded by max 10" in world.scaler.reason("d")
    world.endpoint = Endpoint(name="d", model="m:1", replicas=Scaling(min=1, max=4))
    assert await world.second(1000) == 4
    world.endpoint = Endpoint(name="d", model="m:1", replicas=Scaling(min=6, max=8))
    assert 6 <= await world.second(0) <= 8
    world.endpoint = Endpoint(name="d", model="m:1", replicas=2)
    assert await world.second(0) == 2
    assert world.scaler.reason("d") == ""


async def test_to_zero_after_idle_and_back_when_somebody_waits():
    world = World(Scaling(min=0, max=3, window=20, history=120, patience=30, idle=20))
    assert (await world.seconds(5, 5))[-1] == 1
    idle = await world.seconds(40)
    assert idle[15] == 1
    assert idle[-1] == 0
    assert world.scaler.reason("d").endswith("at zero, no request")
    assert not world.scaler.demand("nobody", 1)
    assert world.scaler.demand("d", 7)
    await world.scaler.update([world.declared], {"r": RevisionStatus()})
    assert world.scaler.replicas(world.declared) >= 1
    assert "first request after zero" in world.scaler.reason("d")
    assert not world.scaler.demand("d", 7), "it is on its way"


async def test_a_new_revision_at_zero_is_tried_with_one_replica():
    world = World(Scaling(min=0, max=3, idle=20))
    world.active = None
    assert world.scaler.replicas(world.declared) == 1
    assert await world.second() == 1


async def test_a_restart_goes_on_from_what_runs():
    world = World(SCALING)
    await world.seconds(40, 50)
    before = len(world.pids)
    world.restarted()
    assert await world.second(50) == before
    zero = World(Scaling(min=0, max=3))
    assert await zero.second() == 0, "one that was at zero stays there"


async def test_during_a_rollout_the_load_of_both_arms_counts():
    alone, both = World(SCALING), World(SCALING)
    for world in (alone, both):
        await world.seconds(30, 5)
        both.shift = 0.0
        await world.second(5)
    both.shift = 0.9
    grown = await alone.seconds(60, 50)
    found = await both.seconds(60, 50)
    assert all(with_both >= as_one for with_both, as_one in zip(found, grown, strict=True))
    assert grown[-1] >= 5
    both.active, both.shift = "c", 1.0
    assert min(await both.seconds(60, 50)) >= grown[-1], "once it has all, it needs no fewer"


def test_copies_in_the_shadow_are_no_load():
    world = World(SCALING)
    world.shift = 0.0
    assert set(loaded(world.declared)) == {"r", "c"}
    world.phase = "shadowing"
    assert loaded(world.declared) == ("r",)


async def test_cold_starts_are_measured():
    world = World(SCALING, cold=4.0)
    assert world.scaler.cold_start("d") == 5.0
    await world.seconds(10, 5)
    assert world.scaler.cold_start("d") == pytest.approx(4.0, abs=1.0)


def test_starts_are_timed_by_what_there_was():
    scaler = World(Scaling(min=0, max=1, hourly=36.0)).scaler
    declared = World(Scaling(min=0, max=1, hourly=36.0)).declared
    declared = msgspec.structs.replace(declared, revision="r")
    load = scaler._loads["d"] = EndpointLoad(0)  # pyright: ignore[reportPrivateUsage]

    def see(now: float, phase: ReplicaPhase | None = None, run: float = 1.0, *, prefetched: bool = False) -> str:
        one = Replica(id="d-0", endpoint="d", revision="r", phase=phase or "ready", http=Address(), started=run)
        status = RevisionStatus(replicas=(one,) if phase else (), prefetched=prefetched)
        load.time_starts(now, status)
        found = scaler.cold(declared, status)
        assert found
        return found.state

    assert (see(0), load.cold_start) == ("absent", 5.0)
    assert (see(1, "starting"), see(9, "ready"), load.cold_start) == ("starting", "ready", 8.0)
    assert (see(20, prefetched=True), see(21, "starting", 2.0), see(24, "ready", 2.0)) == (
        "prefetched",
        "starting",
        "ready",
    )
    assert (see(30, "draining", 2.0), see(31, "asleep", 2.0)) == ("prefetched", "asleep")
    assert load.cold_start == 8.0, "not measured yet: the longest there was"
    assert (see(40, "starting", 2.0), see(40.5, "ready", 2.0), see(50, "asleep", 2.0)) == (
        "starting",
        "ready",
        "asleep",
    )
    assert load.cold_start == 0.5
    found = scaler.cold(declared, RevisionStatus())
    assert found
    assert found.seconds == {"absent": 8.0, "prefetched": 3.0, "asleep": 0.5}
    assert found.price == {"absent": pytest.approx(0.08), "prefetched": pytest.approx(0.03), "asleep": 0.005}
    for replicas in (1, Scaling(min=1)):
        endpoint = Endpoint(name="d", model="m:1", replicas=replicas)
        assert scaler.cold(msgspec.structs.replace(declared, endpoint=endpoint), RevisionStatus()) is None


async def test_without_counts_nothing_is_stopped_and_it_says_so():
    world = World(SCALING)
    await world.seconds(40, 50)
    before = len(world.pids)
    world.fails = True
    assert min(await world.seconds(100)) == before
    assert "nobody listens" in world.scaler.reason("d")


async def test_a_clock_that_stands_or_jumps_changes_nothing():
    world = World(SCALING)
    await world.seconds(150, 50)
    before = len(world.pids)
    for jump in (0.0, -3600.0, 86400.0):
        world.now += jump
        world.born = [born + jump for born in world.born]
        assert await world.second(50) == before


def test_the_busier_of_engine_and_loop_counts():
    assert Work(engine=2.5, loop=1.0).busy == 2.5
    assert Work(engine=2.5, loop=4.0).busy == 4.0


def test_engines_with_slots_are_timed_by_what_the_gateway_counted():
    load = EndpointLoad(1)
    load.add_work(0.0, {"a": Work(slots=4, queued=1)})
    assert load.arrivals({"r": Traffic()}) == 0
    assert load.arrivals({"r": Traffic(completed=10, active=3)}) == 13
    load.add_work(0.0, {"a": Work(slots=4, engine=20.0)})
    assert (load.answered, load.busy) == (10, 20.0)
