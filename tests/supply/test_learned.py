"""What launches have taught of offers, and what the hedge of spot capacity makes of it."""

import itertools
from pathlib import Path

import pytest

from argosy.capacity import spot
from argosy.spec.offer import Offer
from argosy.store.offers import HOUR, Learned
from argosy.supply.learned import Knowledge, correlations, drifts, state, zone_name, zones
from argosy_simulators.spot import read

NOW = 1_000_000 * HOUR
TRACES = Path(__file__).resolve().parents[4] / "shared" / "data" / "spot_traces" / "aws-02-15-2023"


def offer(zone="z1", instance="x", market="spot", price=1.0, region="r", provider="p"):
    return Offer(provider=provider, region=region, zone=zone, instance=instance, market=market, price=price)


def row(hours_ago=1, zone="z1", instance="x", region="r", **more):
    at = NOW - hours_ago * HOUR
    return Learned(provider="p", region=region, zone=zone, instance=instance, market="spot", hour=at, **more)


def test_where_nothing_was_launched_nothing_is_known():
    known = Knowledge([row(tried=9, started=9)], NOW)
    for other in (offer(market="on_demand"), offer(provider="q")):
        assert known.of(other) == other


def test_what_is_known_of_a_zone_counts_most_and_its_region_where_it_is_new():
    rows = [row(zone="z1", tried=40, started=40, ready=4000.0), row(zone="z2", tried=40)]
    known = Knowledge(rows, NOW)
    good, bad, new = (known.of(offer(zone=zone)) for zone in ("z1", "z2", "z3"))
    assert (good.available or 0) > 0.9 > 0.6 > (new.available or 0) > 0.4 > 0.1 > (bad.available or 0) > 0
    assert good.ready == new.ready == pytest.approx(100.0)


def test_what_happened_lately_and_at_this_time_of_day_counts_more():
    def after(*rows):
        return Knowledge(rows, NOW).of(offer()).available

    assert after(row(24 * 30, tried=9), row(1, tried=9, started=9)) > 0.8
    assert after(row(24 * 30, tried=9, started=9), row(1, tried=9)) < 0.2
    same, other = row(24, tried=9, started=9), row(36, tried=9)
    assert after(same, other) > 0.6 > 0.5 > after(row(24, tried=9), row(36, tried=9, started=9))


def test_a_machine_that_was_taken_back_counts_as_a_launch_that_failed():
    kept, lost = ([row(tried=5, started=5, lost=lost)] for lost in (0, 5))
    assert Knowledge(lost, NOW).of(offer()).available < Knowledge(kept, NOW).of(offer()).available - 0.3


def test_a_catalogue_whose_price_was_not_the_one_that_was_paid_is_said_to_be_wrong():
    """skypilot#4914: 0.49 was billed for what the catalogue has at 0.28."""
    rows = [
        row(zone="z1", started=2, listed=0.56, paid=0.98),
        row(zone="z2", started=1, listed=0.28, paid=0.49),
        row(instance="fine", started=9, listed=9.0, paid=9.1),
        row(instance="unpaid", tried=3),
    ]
    (found,) = drifts(rows)
    assert (found.instance, found.launches, round(found.factor, 2)) == ("x", 3, 1.75)


def days(zone, up, region="r"):
    """An hour each: capacity was held, or lost."""
    return [
        row(at, zone=zone, region=region, **({"held": 3600.0} if here else {"lost": 1})) for at, here in enumerate(up)
    ]


def test_zones_that_lose_their_capacity_together_are_one_region_for_the_hedge():
    alternating, other = [True, False] * 30, [True, True, False, False] * 15
    rows = days("z1", alternating) + days("z2", alternating, "r2") + days("z3", other, "r3") + days("z4", [True] * 10)
    found = correlations(rows, zone_name)
    assert found["p/z1", "p/z2"] == pytest.approx(1.0)
    assert found["p/z1", "p/z3"] == pytest.approx(0.0)
    assert not any("p/z4" in pair for pair in found)
    offers = [offer("z1"), offer("z2", region="r2", price=2.0), offer("z2", region="r2"), offer("z3", region="r3")]
    markets = zones([*offers, offer("z9", market="on_demand")], rows)
    assert [(each.name, each.region, each.price) for each in markets] == [
        ("p/z1", "p/r", 1.0),
        ("p/z2", "p/r", 1.0),
        ("p/z3", "p/r3", 1.0),
    ]


def test_the_hedge_begins_with_what_was_learned():
    markets = zones([offer("z1"), offer("z2")], [])
    hedge = spot.Hedge(zones=markets, replicas=1, on_demand=3.0)
    rows = [row(5, zone="z1", tried=40, lost=9, held=3600.0), row(5, zone="z2", tried=40, started=40, held=36000.0)]
    begun = state(hedge, rows, 200.0)
    bad, good = begun.zones
    assert good.share > 0.9 > 0.1 > bad.share
    assert good.rate < 0.01 < bad.rate
    hour = (NOW // HOUR - 5) % 24
    assert begun.regions["p/r"].hour(hour) > begun.regions["p/r"].hour((hour + 12) % 24)
    seen = spot.SpotObservation(now=NOW, ready=(0, 0), lost=(0, 0), refused=(False, False), on_demand=0)
    decision, _ = spot.decide(hedge, seen, begun)
    assert decision.launch == (0, 1)


@pytest.mark.slow
@pytest.mark.skipif(not TRACES.is_dir(), reason=f"the spot traces are not at {TRACES}")
def test_on_a_real_trace_zones_of_a_region_lose_their_capacity_together():
    trace = read(TRACES)
    rows = list[Learned]()
    for zone, up in zip(trace.zones, trace.up.tolist(), strict=True):
        for hour, ticks in itertools.groupby(range(len(up)), key=lambda tick: int(tick * trace.seconds) // HOUR):
            here = [up[tick] for tick in ticks]
            sums = {"held": sum(here) * trace.seconds, "lost": int(not all(here))}
            rows.append(row(-hour, zone=zone, region=zone[:-1], **sums))
    found = correlations(rows, zone_name)
    within = [share for (one, other), share in found.items() if one[:-1] == other[:-1]]
    across = [share for (one, other), share in found.items() if one[:-1] != other[:-1]]
    assert sum(within) / len(within) > 0.3 > 0.2 > sum(across) / len(across)
