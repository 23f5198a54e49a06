"""Dealing fragments to workers that die: everything is done once, and only a fragment that kills is blamed."""

from hypothesis import given
from hypothesis import strategies as st

from argosy.batch import deal
from argosy.batch.deal import KILLED, LIVES


def test_what_came_back_goes_first():
    hand = deal.dealt([4, 5, 6])
    first, hand = deal.give(hand, 1)
    _, hand = deal.died(deal.reached(hand, 1, 0), 1, killed=False)
    again, hand = deal.give(hand, 2)
    assert (first, again, hand.waiting) == (4, 4, 2)


def deaths(*kinds, rows=lambda worker: 7):
    """The blame after each death of a worker that holds fragment 0: `c` crashed, `k` was killed."""
    hand = deal.dealt([0])
    found = []
    for worker, kind in enumerate(kinds):
        _, hand = deal.give(hand, worker)
        if (at := rows(worker)) is not None:
            hand = deal.reached(hand, worker, at)
        blamed, hand = deal.died(hand, worker, killed=kind == "k")
        found.append(blamed)
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


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["work", "die", "finish"]))))
def test_every_fragment_is_done_once_whoever_dies(count, events):
    hand, done, place = deal.dealt(range(count)), [], dict.fromkeys(range(4), 0)
    fresh = iter(range(4, 10_000))
    names = {slot: slot for slot in range(4)}
    for slot, what in [*events, *[(0, "finish")] * (count + 1), *[(slot, "finish") for slot in (1, 2, 3)] * 2]:
        worker = names[slot]
        if worker not in hand.held:
            _, hand = deal.give(hand, worker)
        if worker not in hand.held:
            continue
        place[slot] += 1
        if what == "work":
            hand = deal.reached(hand, worker, place[slot])
        elif what == "finish":
            done.append(hand.held[worker].number)
            hand = deal.finished(hand, worker)
        else:
            _, hand = deal.died(hand, worker, killed=False)
            names[slot] = next(fresh)
    while not hand.done:
        _, hand = deal.give(hand, 0) if 0 not in hand.held else (None, hand)
        for worker, held in list(hand.held.items()):
            done.append(held.number)
            hand = deal.finished(hand, worker)
    assert sorted(done) == list(range(count))
