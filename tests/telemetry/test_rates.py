"""What comes in now, from counters."""

import msgspec
import pytest

from argosy.gateway.traffic import Bin, Traffic
from argosy.spec.errors import Unavailable
from argosy.spec.revision import ResourceUsage
from argosy.store.usage import Usage as Tokens
from argosy.telemetry.counters import traffic_since
from argosy.telemetry.feed import Feed
from argosy.telemetry.rates import RETAINED, Meter, Usage, quantile, rates


class World:
    """Counters, a clock, and a gateway that may be silent."""

    def __init__(self) -> None:
        self.now, self.counts = 1000.0, {("digits", "a"): Traffic(completed=100)}
        self.silent = False
        self.usage: dict[str, ResourceUsage] = {}
        self.tokens: list[Tokens] = []

    async def stats(self) -> dict[tuple[str, str], Traffic]:
        if self.silent:
            raise Unavailable("the gateway does not answer")
        return self.counts

    async def used(self) -> dict[str, ResourceUsage]:
        return self.usage

    def meter(self) -> Meter:
        feed = Feed(self.stats, clock=lambda: self.now)
        return Meter(feed, self.used, tokens=lambda: self.tokens, clock=lambda: self.now)


def test_rates_are_differences_by_time():
    old = Traffic(completed=100, errors=1, latency=(Bin(1, 1, 50),))
    new = Traffic(completed=150, errors=2, grpc_failures=4, latency=(Bin(1, 1, 50), Bin(10, 1, 10)))
    found = rates(7.0, 5.0, traffic_since(new, old))
    assert (found.at, found.requests, found.errors) == (7.0, 10.0, 1.0)
    assert found.p50 == pytest.approx(10.5)


def test_a_quantile_lies_within_its_bin_and_nothing_has_none():
    bins = (Bin(100, 10, 10), Bin(0, 0, 10), Bin(10, 1, 80))
    assert quantile(bins, 0.05) == 0
    assert quantile(bins, 0.5) == pytest.approx(10.5)
    assert quantile(bins, 0.95) == pytest.approx(105)
    assert quantile((), 0.5) is None
    assert quantile((Bin(1, 1, 0),), 0.5) is None


async def test_the_first_look_only_sets_the_mark_and_an_endpoint_is_the_sum_of_its_revisions():
    world = World()
    meter = world.meter()
    await meter.read()
    assert meter.now("digits").at == 0.0
    world.now += 5
    world.counts = {("digits", "a"): Traffic(completed=150), ("digits", "b"): Traffic(completed=5)}
    await meter.read()
    assert meter.now("digits").requests == 11.0
    assert meter.now("digits", "b").requests == 1.0


async def test_a_clock_that_goes_back_gives_no_rate():
    world = World()
    meter = world.meter()
    await meter.read()
    world.now -= 60
    await meter.read()
    assert meter.recent("digits") == ()


async def test_only_the_last_quarter_of_an_hour_is_kept_and_what_is_gone_is_forgotten():
    world = World()
    meter = world.meter()
    for _ in range(RETAINED + 5):
        await meter.read()
        world.now += 5
    assert len(meter.recent("digits")) == RETAINED
    world.counts = {}
    await meter.read()
    assert meter.recent("digits") == ()


async def test_a_gateway_that_is_silent_is_told():
    world = World()
    world.silent = True
    with pytest.raises(Unavailable):
        await world.meter().read()


async def test_cores_are_differences_by_replica_and_one_that_began_anew_counts_from_there():
    world = World()
    meter = world.meter()
    world.usage = {"d-0": ResourceUsage(cpu=10.0, memory=5, pid=7), "d-1": ResourceUsage(cpu=100.0)}
    await meter.read()
    world.now += 5
    world.usage = {"d-0": ResourceUsage(cpu=15.0, memory=6, pid=7), "d-1": ResourceUsage(cpu=1.0, memory=2)}
    await meter.read()
    assert meter.usage == {"d-0": Usage(cpu=1.0, memory=6, pid=7), "d-1": Usage(cpu=0.0, memory=2)}


async def test_tokens_a_second_are_of_all_versions_of_a_language_model_and_of_no_other():
    world = World()
    meter = world.meter()
    world.counts = {("digits", "a"): Traffic(), ("gemma", "b"): Traffic()}
    one = Tokens(key="", endpoint="gemma", version="1", hour=0, output=100)
    world.tokens = [one]
    await meter.read()
    world.now += 5
    world.tokens = [msgspec.structs.replace(one, output=150), msgspec.structs.replace(one, version="2", output=25)]
    await meter.read()
    assert meter.now("gemma").tokens == 15.0
    assert meter.now("digits").tokens is None
