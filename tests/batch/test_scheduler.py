"""Dealing fragments to workers that die: everything is done once, and only a fragment that kills is blamed."""

from hypothesis import given
from hypothesis import strategies as st

from argosy.batch import scheduler
from argosy.batch.scheduler import KILLED, LIVES


def test_what_came_back_goes_first():
    hand = scheduler.dealt([4, 5, 6])
    first, hand = scheduler.give(hand, 1)
    _, hand = scheduler.died(scheduler.reached(hand, 1, 4, 0), 1, killed=False)
    again, hand = scheduler.give(hand, 2)
    assert (first, again, hand.waiting) == (4, 4, 2)


def deaths(*kinds, rows=lambda worker: 7):
    """The blame after each death of a worker that holds fragment 0: `c` crashed, `k` was killed."""
    hand = scheduler.dealt([0])
    found = []
    for worker, kind in enumerate(kinds):
        _, hand = scheduler.give(hand, worker)
        if (at := rows(worker)) is not None:
            hand = scheduler.reached(hand, worker, 0, at)
        blamed, hand = scheduler.died(hand, worker, killed=kind == "k")
        found.append(blamed and blamed.number)
    return found


def test_crashes_at_one_row_in_a_row_blame_the_fragment():
    assert deaths(*"c" * LIVES) == [None] * (LIVES - 1) + [0]


def test_kills_speak_less_than_crashes():
    assert deaths(*"k" * KILLED) == [None] * (KILLED - 1) + [0]
    assert deaths(*"ckckc")[-1] == 0
    assert deaths(*"ckckk")[-1] is None


def test_a_fragment_that_gets_further_is_not_blamed():
    assert deaths(*"c" * 20, rows=lambda worker: worker) == [None] * 20


def test_who_dies_before_it_has_begun_blames_nothing():
    assert deaths(*"c" * 20, rows=lambda worker: None) == [None] * 20


def test_who_hung_has_crashed_although_it_was_killed():
    hand = scheduler.dealt([0])
    for worker in range(LIVES):
        _, hand = scheduler.give(hand, worker)
        blamed, hand = scheduler.died(scheduler.reached(hand, worker, 0, 7), worker, hung=True)
        assert (blamed is not None) is (worker == LIVES - 1)


def test_who_hangs_before_it_has_begun_blames_what_it_was_to_begin():
    hand, found = scheduler.dealt([0]), []
    for worker in range(LIVES):
        _, hand = scheduler.give(hand, worker)
        blamed, hand = scheduler.died(hand, worker, hung=True)
        found.append(blamed and blamed.number)
    assert found == [None] * (LIVES - 1) + [0]


def test_who_hangs_while_a_fragment_is_written_does_not_blame_the_one_it_was_given_further():
    _, hand = scheduler.give(scheduler.dealt([0, 1]), 1)
    _, hand = scheduler.give(scheduler.answered(scheduler.reached(hand, 1, 0, 7), 1, 0), 1)
    _, hand = scheduler.died(hand, 1, hung=True)
    assert (dict(hand.deaths), hand.again) == ({0: scheduler.Death(7, crashed=1)}, (0, 1))


def test_who_has_answered_a_fragment_gets_another_before_its_entry_is_there():
    _, hand = scheduler.give(scheduler.dealt([4, 5, 6]), 1)
    assert not scheduler.free(hand, 1)
    hand = scheduler.answered(hand, 1, 4)
    assert scheduler.free(hand, 1)
    _, hand = scheduler.give(hand, 1)
    assert not scheduler.free(hand, 1)
    hand = scheduler.finished(hand, 1, 4)
    assert [one.number for one in hand.held[1]] == [5]
    _, hand = scheduler.died(scheduler.reached(scheduler.answered(hand, 1, 5), 1, 5, 0), 1, killed=True)
    assert scheduler.give(hand, 2)[0] == 5


def crash(hand, worker, *, at):
    """A worker answers a fragment, is given a further one if it may be, gets to row `at` of it, and dies."""
    first, hand = scheduler.give(hand, worker)
    hand = scheduler.answered(scheduler.reached(hand, worker, first, 9), worker, first)
    if scheduler.free(hand, worker):
        second, hand = scheduler.give(hand, worker)
        if second is not None:
            hand = scheduler.reached(hand, worker, second, at)
    return scheduler.died(hand, worker, killed=False)


def test_a_fragment_that_kills_when_it_is_written_is_told_from_the_one_after_it():
    hand, found = scheduler.dealt([0, 1]), []
    for worker in range(10):
        if hand.again[:1] == (1,):
            _, hand = scheduler.give(hand, worker)
            hand = scheduler.finished(scheduler.reached(hand, worker, 1, 9), worker, 1)
        blamed, hand = crash(hand, worker, at=worker)
        found.append(blamed and blamed.number)
    assert found[:LIVES] == [None] * (LIVES - 1) + [0]


def test_a_fragment_that_somebody_died_at_is_done_alone():
    _, hand = crash(scheduler.dealt([0, 1, 2]), 1, at=3)
    number, hand = scheduler.give(hand, 2)
    hand = scheduler.answered(hand, 2, number)
    assert number == 0
    assert not scheduler.free(hand, 2)
    assert scheduler.free(scheduler.finished(hand, 2, 0), 2)


EVENTS = st.tuples(st.integers(0, 3), st.sampled_from(["work", "die", "answer", "finish"]))


@given(st.integers(1, 12), st.lists(EVENTS))
def test_every_fragment_is_done_once_whoever_dies(count, events):
    hand, done, place = scheduler.dealt(range(count)), [], dict.fromkeys(range(4), 0)
    fresh = iter(range(4, 10_000))
    names = {slot: slot for slot in range(4)}
    ends = [(0, "finish")] * (count + 8) + [(slot, "finish") for slot in (1, 2, 3)] * 12
    for slot, what in [*events, *ends, *ends[:count]]:
        worker = names[slot]
        if scheduler.free(hand, worker):
            _, hand = scheduler.give(hand, worker)
        held = hand.held.get(worker, ())
        if not held:
            continue
        place[slot] += 1
        if what == "work":
            hand = scheduler.reached(hand, worker, held[-1].number, place[slot])
        elif what == "answer":
            hand = scheduler.answered(hand, worker, held[-1].number)
        elif what == "finish":
            done.append(held[0].number)
            hand = scheduler.finished(hand, worker, held[0].number)
        else:
            _, hand = scheduler.died(hand, worker, killed=False)
            names[slot] = next(fresh)
    while not hand.done:
        _, hand = scheduler.give(hand, 0) if scheduler.free(hand, 0) else (None, hand)
        for worker, held in list(hand.held.items()):
            for one in held:
                done.append(one.number)
                hand = scheduler.finished(hand, worker, one.number)
    assert sorted(done) == list(range(count))
