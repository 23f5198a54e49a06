"""Who has hung, by a clock that only the test moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.batch.scheduler import GAP, LOADING, Liveness, check


def checks(patience, *given):
    """The workers that each check finds."""
    before, found = Liveness(), []
    for one in given:
        hung, before = check(before, patience=patience, **one)
        found.append(dict(hung))
    return found


def working(now, *workers, heard=()):
    return {"now": now, "working": frozenset(workers), "heard": frozenset(heard)}


def test_who_holds_work_and_tells_nothing_has_hung():
    assert checks(3, working(0, 1), working(2, 1), working(3, 1)) == [{}, {}, {1: 3.0}]


def test_a_word_begins_it_anew_and_only_for_who_said_it():
    found = checks(3, working(0, 1, 2), working(2, 1, 2, heard=[1]), working(4, 1, 2), working(5, 1))
    assert found == [{}, {}, {2: 4.0}, {1: 3.0}]


def test_who_has_nothing_to_do_may_be_silent_and_begins_anew_with_work():
    assert checks(3, working(0, 1), working(2), working(8), working(9, 1), working(11, 1), working(12, 1)) == [
        {},
        {},
        {},
        {},
        {},
        {1: 3.0},
    ]


def test_time_in_which_the_driver_did_not_look_does_not_count():
    assert checks(2 * GAP, working(0, 1), working(1e6, 1), working(1e6 + 1, 1)) == [{}] * 3


@pytest.mark.parametrize(("patience", "limit"), [(5.0, LOADING), (2 * LOADING, 2 * LOADING), (0.0, None)])
def test_a_model_has_its_own_time_to_be_loaded(patience, limit):
    steps = [{"now": now * GAP, "loading": frozenset([1])} for now in range(int(3 * LOADING / GAP))]
    found = [step["now"] for step, hung in zip(steps, checks(patience, *steps), strict=True) if hung]
    assert found[:1] == ([] if limit is None else [limit])


def test_loading_is_not_held_against_the_first_call():
    loads = [{"now": now, "loading": frozenset([1])} for now in range(0, 100, 5)]
    ready = working(100, 1, heard=[1])
    assert checks(3, *loads, ready, working(102, 1), working(103, 1))[-3:] == [{}, {}, {1: 3.0}]


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
    before, now = Liveness(), 0.0
    since: dict[int, float] = {}
    for passed, states, heard in steps:
        now += passed
        places = {place: frozenset(one for one, at in states.items() if at == place) for place in ("work", "load")}
        given = {"now": now, "working": places["work"], "loading": places["load"], "heard": frozenset(heard)}
        hung, before = check(before, patience=patience, **given)
        since = {worker: since.get(worker, now) if worker not in heard else now for worker in states}
        for worker, state in states.items():
            silent, bound = now - since[worker], patience if state == "work" else max(patience, LOADING)
            assert hung.get(worker, silent) == pytest.approx(silent)
            if abs(silent - bound) > 1e-6:
                assert (worker in hung) is (silent > bound)
        assert set(hung) <= set(states)
        assert check(before, patience=0.0, **given)[0] == {}


@given(st.floats(1, 40), STEPS, st.lists(st.floats(0, 1e9), min_size=40, max_size=40))
def test_a_clock_that_jumps_ends_nobody_sooner_than_checks_of_the_longest_gap(patience, steps, jumps):
    even, uneven, now, jumped = Liveness(), Liveness(), 0.0, 0.0
    for (_, states, heard), jump in zip(steps, jumps, strict=False):
        now, jumped = now + GAP, jumped + jump
        workers = frozenset(states)
        first, even = check(even, patience=patience, **working(now, *workers, heard=heard))
        second, uneven = check(uneven, patience=patience, **working(jumped, *workers, heard=heard))
        assert set(second) <= set(first)
