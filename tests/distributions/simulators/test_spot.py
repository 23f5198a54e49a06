import json

import numpy as np
import pytest

from argosy.capacity.spot import Hedge, SpotDecision
from argosy.spec.errors import InvalidArgument
from argosy_simulators.spot import SpotTrace, bound, compare, fallback, one_zone, read, replay, zones


def trace(*rows: str) -> SpotTrace:
    up = np.array([[tick == "1" for tick in row] for row in rows])
    return SpotTrace(tuple(f"r{n}a" for n in range(len(rows))), 195.0, up)


def hedge(of: SpotTrace, replicas: int = 1, most: int = 2) -> Hedge:
    return Hedge(zones=zones(of, 0.25), replicas=replicas, on_demand=1.0, most=most)


def test_a_start_takes_a_tick_and_is_paid_and_what_is_refused_is_not():
    one = trace("0111")
    found = replay(one, hedge(one), one_zone(hedge(one), 0), "x")
    assert found.held.tolist() == [0, 0, 1, 1]
    assert found.on_demand.tolist() == [0, 1, 0, 0]  # asked for at once, given back as the spot replica is ready
    assert found.short == 0.25
    assert found.cost == pytest.approx((1.0 + 1.25 + 0.25 + 0.25) / 4)


def test_what_is_lost_is_lost_at_once():
    one = trace("1101")
    found = replay(one, hedge(one), one_zone(hedge(one), 0), "x")
    assert found.held.tolist() == [0, 1, 0, 0]
    assert (found.launches, found.lost) == (2, 1)


def test_the_bound_takes_spot_that_was_there_before_and_no_more_than_a_zone_may_have():
    assert bound(trace("1111"), hedge(trace("1111"), replicas=2)) == pytest.approx(0.25)
    assert bound(trace("1111"), hedge(trace("1111"), replicas=2, most=1)) == pytest.approx(0.625)
    assert bound(trace("1010"), hedge(trace("1010"))) == 1.0


def test_the_hedge_is_never_dearer_than_on_demand_where_spot_is_always_there():
    steady = trace("1" * 200, "1" * 200, "1" * 200)
    ours, *others = compare(steady, hedge(steady, replicas=2))
    assert ours.cost < 0.5
    assert ours.short <= 0.01
    assert [one.policy for one in others] == [
        "skyserve, 0 extra",
        "skyserve, 1 extra",
        "skyserve, 2 extra",
        "r0a alone",
    ]


def test_a_zone_that_refused_is_left_by_the_baseline():
    two = trace("00000", "11111", "11111")
    tried: list[SpotDecision] = []
    policy = fallback(hedge(two), 0)
    replay(two, hedge(two), lambda seen: tried.append(policy(seen)) or tried[-1], "x")
    assert [each.launch for each in tried[:2]] == [(1, 0, 0), (0, 1, 0)]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "there are no traces"),
        ({"a_1.json": {"metadata": {}, "data": [1]}}, "is not read"),
        ({"a_1.json": {"metadata": {"gap_seconds": 0}, "data": [1]}}, "must be above 0"),
        ({"a_1.json": {"metadata": {"gap_seconds": 1}, "data": ["x"]}}, "is not read"),
        ({"a_1.json": {"metadata": {"gap_seconds": 1}, "data": [1, -1]}}, "a_1.json in .* 0 or more"),
        (
            {name: {"metadata": {"gap_seconds": 1}, "data": [1] * n} for n, name in enumerate(("a.json", "b.json"), 1)},
            "differ in their ticks",
        ),
    ],
)
def test_a_folder_that_is_no_trace_is_refused(tmp_path, files, why):
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(InvalidArgument, match=why):
        read(tmp_path)
