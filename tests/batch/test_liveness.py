"""Who has hung, by a clock that only the test moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.batch.liveness import GAP, LOADING, Quiet, Seen, loading, look


def looks(patience, *seen):
    """What each look finds."""
    quiet, found = Quiet(), []
    for one in seen:
        hung, quiet = look(quiet, one, patience)
        found.append(dict(hung))
    return found


def working(now, *workers, heard=()):
    return Seen(now=now, working=frozenset(workers), heard=frozenset(heard))


def test_who_holds_work_and_tells_nothing_has_hung():
    assert looks(3, working(0, 1), working(2, 1), working(3, 1)) == [{}, {}, {1: 3.0}]


def test_a_word_begins_it_anew_and_only_for_who_said_it():
    found = looks(3, working(0, 1, 2), working(2, 1, 2, heard=[1]), working(4, 1, 2), working(5, 1))
    assert found == [{}, {}, {2: 4.0}, {1: 3.0}]


def test_who_has_nothing_to_do_may_be_silent_and_begins_anew_with_work():
    assert looks(3, working(0, 1), working(2), working(8), working(9, 1), working(11, 1), working(12, 1)) == [
        {},
        {},
        {},
        {},
        {},
        {1: 3.0},
    ]


def test_time_in_which_the_driver_did_not_look_does_not_count():
    assert looks(2 * GAP, working(0, 1), working(1e6, 1), working(1e6 + 1, 1)) == [{}] * 3


@pytest.mark.parametrize(("patience", "limit"), [(5.0, LOADING), (2 * LOADING, 2 * LOADING), (0.0, None)])
def test_a_model_has_its_own_time_to_be_loaded(patience, limit):
    assert loading(patience) == (limit or 0.0)
    steps = [Seen(now=now * GAP, loading=frozenset([1])) for now in range(int(3 * LOADING / GAP))]
    found = [step.now for step, hung in zip(steps, looks(patience, *steps), strict=True) if hung]
    assert found[:1] == ([] if limit is None else [limit])


def test_loading_is_not_held_against_the_first_call():
    loads = [Seen(now=now, loading=frozenset([1])) for now in range(0, 100, 5)]
    ready = working(100, 1, heard=[1])
    assert looks(3, *loads, ready, working(102, 1), working(103, 1))[-3:] == [{}, {}, {1: 3.0}]


STEPS = st.lists(
    st.tuples(
        st.floats(0, GAP),
        st.dictionaries(st.integers(0, 3), st.sampled_from(["work", "load"])),
        st.sets(st.integers(0, 3)),
    ),
    max_size=40,
)


@given(st.floats(1, 40), STEPS)
def test_hung_is_who_was_watched_without_a_word_for_as_long_as_is_borne(patience, steps):
    quiet, now = Quiet(), 0.0
    since: dict[int, float] = {}
    for passed, states, heard in steps:
        now += passed
        places = {place: frozenset(one for one, at in states.items() if at == place) for place in ("work", "load")}
        seen = Seen(now=now, working=places["work"], loading=places["load"], heard=frozenset(heard))
        hung, quiet = look(quiet, seen, patience)
        since = {worker: since.get(worker, now) if worker not in heard else now for worker in states}
        for worker, state in states.items():
            silent, bound = now - since[worker], patience if state == "work" else max(patience, LOADING)
            assert hung.get(worker, silent) == pytest.approx(silent)
            if abs(silent - bound) > 1e-6:
                assert (worker in hung) is (silent > bound)
        assert set(hung) <= set(states)
        assert look(quiet, seen, 0.0)[0] == {}


@given(st.floats(1, 40), STEPS, st.lists(st.floats(0, 1e9), min_size=40, max_size=40))
def test_a_clock_that_jumps_ends_nobody_sooner_than_looks_of_the_longest_gap(patience, steps, jumps):
    even, uneven, now, jumped = Quiet(), Quiet(), 0.0, 0.0
    for (_, states, heard), jump in zip(steps, jumps, strict=False):
        now, jumped = now + GAP, jumped + jump
        workers = frozenset(states)
        first, even = look(even, working(now, *workers, heard=heard), patience)
        second, uneven = look(uneven, working(jumped, *workers, heard=heard), patience)
        assert set(second) <= set(first)
