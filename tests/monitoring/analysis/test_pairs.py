"""Two streams of answers become pairs: each id once, nothing kept for ever."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.monitoring.analysis import agreement
from argosy.monitoring.analysis.agreement import Waiting, join
from argosy.serving.answers import Output, RecordedAnswer

ids = st.integers(0, 30)
looks = st.lists(st.tuples(st.lists(ids, max_size=8), st.lists(ids, max_size=8), st.floats(0, 20)), max_size=12)


def made(*ids: int) -> list[RecordedAnswer]:
    return [RecordedAnswer(str(each), "ok", 1) for each in ids]


@given(looks)
def test_everything_that_came_is_paired_waits_or_is_counted(history):
    waiting, now, came, told = Waiting(), 0.0, 0, 0
    paired: list[str] = []
    for stable, candidate, seconds in history:
        now += seconds
        came += len(stable) + len(candidate)
        joined, waiting = join(waiting, made(*stable), made(*candidate), now)
        assert all(a.id == b.id for a, b in joined.pairs)
        paired += [a.id for a, _ in joined.pairs]
        told += 2 * len(joined.pairs) + sum(joined.unmatched) + joined.repeated
        for arm in (waiting.stable, waiting.candidate):
            assert all(now - since < agreement.PATIENCE for since, _ in arm.values())
        assert not waiting.stable.keys() & waiting.candidate.keys()
    assert came == told + len(waiting.stable) + len(waiting.candidate)


@given(st.permutations(range(12)), st.permutations(range(12)), st.lists(st.integers(0, 12), min_size=4, max_size=4))
def test_in_whatever_order_both_come_every_id_is_paired_once(a, b, cuts):
    waiting, paired = Waiting(), []
    ends = [0, *sorted(cuts), 12]
    for low, high in itertools.pairwise(ends):
        joined, waiting = join(waiting, made(*a[low:high]), made(*b[12 - high : 12 - low]), 1.0)
        paired += [int(each.id) for each, _ in joined.pairs]
    assert sorted(paired) == list(range(12))


def test_an_id_that_comes_twice_pairs_nothing_for_a_while():
    joined, waiting = join(Waiting(), made(1, 1), made(1), 0.0)
    assert (joined.pairs, joined.repeated) == ((), 3)
    joined, waiting = join(waiting, made(1), made(1, 2), 1.0)
    assert joined.pairs == ()
    joined, waiting = join(waiting, made(2), [], 2.0)
    assert [a.id for a, _ in joined.pairs] == ["2"]
    assert join(waiting, made(2), made(2), 3.0)[0].pairs == ()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(agreement, "MOST", 3)
    joined, waiting = join(Waiting(), made(*range(10)), [], 0.0)
    assert (joined.unmatched, list(waiting.stable)) == ((7, 0), ["7", "8", "9"])
    monkeypatch.setattr(agreement, "MOST_BYTES", 1000)
    large = RecordedAnswer("x", "ok", 1, (Output("y", "UINT8", (900,), bytes(900)),))
    joined, waiting = join(waiting, [large], [], 0.0)
    assert (joined.unmatched, list(waiting.stable)) == ((3, 0), ["x"])
