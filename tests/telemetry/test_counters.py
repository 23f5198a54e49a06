import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.gateway.traffic import Bin, Traffic
from argosy.serving.counts import BUCKETS, MAX_CATEGORIES, OTHER, Counts, bucket, edge, number_bin
from argosy.telemetry.counters import add, counts, since, traffic_since, traffic_sum

COUNTS = st.builds(
    lambda ok, errors, latency, labels: Counts(
        requests=ok + errors, errors=errors, latency=latency, outputs={"label": labels}
    ),
    st.integers(0, 50),
    st.integers(0, 50),
    st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 9), max_size=5),
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 9)),
)


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_buckets_grow_with_latency(a: float, b: float):
    low, high = sorted((a, b))
    assert 0 <= bucket(low) <= bucket(high) < BUCKETS


@given(st.floats(1.1e-4, 900))
def test_a_latency_lies_within_its_bucket(seconds: float):
    index = bucket(seconds)
    assert edge(index - 1) * (1 - 1e-9) <= seconds <= edge(index) * (1 + 1e-9)
    assert edge(index) / edge(index - 1) == pytest.approx(1.05)


@pytest.mark.parametrize(("seconds", "index"), [(0.0, 0), (-1.0, 0), (math.nan, 0), (math.inf, BUCKETS - 1)])
def test_odd_latencies_have_a_bucket(seconds: float, index: int):
    assert bucket(seconds) == index


@pytest.mark.parametrize(
    ("value", "name"),
    [(0.0, "0"), (1.0, "+0"), (-1.0, "-0"), (8.0, "+6"), (0.5, "+-2"), (math.nan, "nan"), (math.inf, "+119")],
)
def test_numbers_are_binned_by_sign_and_size(value: float, name: str):
    assert number_bin(value) == name


@given(st.lists(COUNTS, max_size=5), st.randoms())
def test_adding_does_not_mind_the_order(parts: list[Counts], random: object):
    shuffled = parts.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert add(parts) == add(shuffled)


@given(COUNTS, COUNTS)
def test_the_difference_is_what_was_added(old: Counts, more: Counts):
    difference = since(add((old, more)), old)
    assert add((difference, old)) == add((old, more))


def test_a_restart_counts_from_zero():
    before, after = Counts(requests=100, errors=5), Counts(requests=7, errors=1)
    assert since(after, before) == after


def test_a_restart_is_seen_in_any_count():
    before = Counts(requests=5, latency={3: 5})
    after = Counts(requests=9, latency={4: 9})
    assert since(after, before) == after
    assert since(Counts(requests=9, outputs={}), Counts(requests=5, outputs={"y": {"a": 5}})).requests == 9


def test_categories_are_bounded():
    many = Counts(outputs={"y": {str(n): 1 for n in range(MAX_CATEGORIES + 50)}})
    found = add((many,)).outputs["y"]
    assert len(found) <= MAX_CATEGORIES + 1
    assert sum(found.values()) == MAX_CATEGORIES + 50
    assert found[OTHER] == 50


def test_counters_of_the_gateway_that_fell_count_as_nothing():
    old, new = Traffic(completed=9, errors=3, active=1), Traffic(completed=3, errors=1, active=2)
    assert traffic_since(new, old) == Traffic(active=2)


def test_of_the_gateway_latency_keeps_its_bucket():
    old = Traffic(completed=10, latency=(Bin(10, 1, 10),))
    new = Traffic(completed=14, errors=1, grpc_failures=2, latency=(Bin(10, 1, 12), Bin(100, 10, 2)))
    latency = {bucket(0.0105): 2, bucket(0.105): 2}
    assert counts(traffic_since(new, old)) == Counts(requests=4, errors=3, latency=latency)
    assert counts(Traffic(latency=(Bin(1, 1, 3),))).latency == {bucket(0.005): 3}
    assert counts(Traffic(latency=(Bin(1, 1, 3),)), floor_ms=0.0).latency == {bucket(0.0015): 3}


def test_the_sum_of_two_readings_has_the_gauges_of_the_last():
    parts = (Traffic(completed=1, active=5, latency=(Bin(1, 1, 1),)), Traffic(completed=2, latency=(Bin(1, 1, 2),)))
    assert traffic_sum(parts) == Traffic(completed=3, latency=(Bin(1, 1, 3),))
    assert traffic_sum(()) == Traffic()
