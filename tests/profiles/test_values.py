from hypothesis import given
from hypothesis import strategies as st

from argosy.profiles.values import MAX_LISTED, ValueCounts, Values


def counted(values: list[str]) -> Values:
    tally = ValueCounts()
    for value in values:
        tally.update({value: 1})
    return tally.freeze()


@given(st.lists(st.lists(st.integers(0, 400), max_size=300), min_size=1, max_size=4))
def test_counts_lack_no_more_than_is_told(parts):
    tally = ValueCounts()
    for part in parts:
        tally.add(counted([str(value) for value in part]))
    found = tally.freeze()
    everything = [str(value) for part in parts for value in part]
    assert found.lost <= len(everything) / (MAX_LISTED + 1)
    assert len(found.frequent) <= MAX_LISTED
    for value in set(everything):
        assert found.frequent.get(value, 0) <= everything.count(value) <= found.frequent.get(value, 0) + found.lost


@given(st.sets(st.text(min_size=1), max_size=60), st.sets(st.text(min_size=1), max_size=60))
def test_distinct_counts_merge_exactly(one, other):
    tally = ValueCounts()
    tally.add(counted(sorted(one)))
    tally.add(counted(sorted(other)))
    assert tally.freeze().registers == counted(sorted(one | other)).registers
    assert abs(tally.freeze().distinct() - len(one | other)) <= 0.15 * len(one | other) + 1


def test_nothing_is_nothing():
    assert ValueCounts().freeze() == Values()
    assert Values().distinct() == 0
