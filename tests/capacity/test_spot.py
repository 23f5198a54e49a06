import itertools
import math

import hypothesis.strategies as st
import msgspec
from hypothesis import given, settings

from argosy.capacity.preemption import (
    DEPTH,
    SWEEP,
    TOGETHER,
    Held,
    RegionHistory,
    ZoneHistory,
    chance,
    features,
    shortage,
)
from argosy.capacity.spot import Hedge, SpotObservation, Zone, begin, decide

ZONES = tuple(Zone(name=f"{region}{letter}", region=region, price=0.3) for region in ("a", "b") for letter in "12")
HEDGE = Hedge(zones=ZONES, replicas=3, on_demand=1.0)

looks = st.lists(st.tuples(*[st.booleans()] * len(ZONES)), min_size=1, max_size=60)


def brute(held, need):
    """The same by every outcome of one region."""
    running = [each.chance for each in held if each.runs]
    all_ = TOGETHER * max(running) if len(running) > 1 else 0.0
    total = 0.0
    for share, move in ((1 - all_, -SWEEP * all_), (all_, SWEEP)):
        for lost in itertools.product((False, True), repeat=len(held)):
            odds = 1.0
            for each, gone in zip(held, lost, strict=True):
                risk = min(1.0, max(0.0, each.chance + move * each.runs))
                odds *= risk if gone else 1 - risk
            missing = max(0, need - sum(each.replicas for each, gone in zip(held, lost, strict=True) if not gone))
            total += share * odds * ((missing > 0) + DEPTH * missing)
    return total


@given(
    st.lists(st.builds(Held, st.just("a"), st.integers(1, 3), st.floats(0, 1), st.booleans()), min_size=1, max_size=4),
    st.integers(1, 6),
)
def test_the_chance_of_a_shortage_is_that_of_all_outcomes(held, need):
    assert math.isclose(shortage(held, need), brute(held, need), abs_tol=1e-9)


def test_nothing_is_short_of_nothing():
    assert shortage([], 0) == 0.0
    assert shortage([], 2) == 1.0 + 2 * DEPTH


def test_what_is_held_for_longer_is_believed_to_last_longer():
    weights = begin(HEDGE).weights
    old, new = ZoneHistory(since=0, down=-10), ZoneHistory(since=95, down=94)
    at = [chance(weights, features(each, RegionHistory(), 100, 0)) for each in (old, new)]
    assert at[0] < at[1]


@settings(max_examples=30, deadline=None)
@given(looks)
def test_whatever_is_lost_no_decision_gives_up_what_is_needed_or_exceeds_what_a_zone_may_have(seen):
    state, held, demand, refused = begin(HEDGE), [0] * len(ZONES), 0, (False,) * len(ZONES)
    soon, starting = 0, [0] * len(ZONES)
    for look, up in enumerate(seen):
        lost = tuple(0 if there else had + new for there, had, new in zip(up, held, starting, strict=True))
        held = [had + new if there else 0 for there, had, new in zip(up, held, starting, strict=True)]
        demand = soon
        observed = SpotObservation(now=look * 195.0, ready=tuple(held), lost=lost, refused=refused, on_demand=demand)
        decision, state = decide(HEDGE, observed, state)
        after = [had - stop for had, stop in zip(held, decision.stop, strict=True)]
        assert all(stop <= had for stop, had in zip(decision.stop, held, strict=True))
        assert sum(after) + min(demand, decision.on_demand) >= min(HEDGE.replicas, sum(held) + demand)
        assert all(had + new <= HEDGE.most for had, new in zip(after, decision.launch, strict=True))
        assert 0 <= decision.on_demand <= HEDGE.replicas
        refused = tuple(new > 0 and not there for new, there in zip(decision.launch, up, strict=True))
        starting = [new if there else 0 for new, there in zip(decision.launch, up, strict=True)]
        held, soon = after, decision.on_demand
    assert msgspec.json.decode(msgspec.json.encode(state), type=type(state)) == state


def test_the_first_look_has_all_on_demand_or_on_its_way():
    nothing = (0,) * len(ZONES)
    seen = SpotObservation(now=0.0, ready=nothing, lost=nothing, refused=(False,) * len(ZONES), on_demand=0)
    decision, _ = decide(HEDGE, seen, begin(HEDGE))
    assert decision.on_demand + sum(decision.launch) >= HEDGE.replicas
    assert "3 on demand alone would cost 3.00" in decision.reason
