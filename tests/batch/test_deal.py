"""Dealing fragments to workers that die: everything is done once, and only a fragment that kills is blamed."""

from hypothesis import given
from hypothesis import strategies as st

from argosy.batch import deal
from argosy.batch.deal import LIVES


def test_what_came_back_goes_first():
    hand = deal.dealt([4, 5, 6])
    first, hand = deal.give(hand, 1)
    _, hand = deal.died(deal.reached(hand, 1, 0), 1)
    again, hand = deal.give(hand, 2)
    assert (first, again, hand.waiting) == (4, 4, 2)


def test_three_deaths_at_one_row_in_a_row_blame_the_fragment():
    hand, blamed = deal.dealt([0]), None
    for worker in range(LIVES):
        assert blamed is None
        _, hand = deal.give(hand, worker)
        blamed, hand = deal.died(deal.reached(hand, worker, 7), worker)
    assert blamed == 0


def test_a_fragment_that_gets_further_is_not_blamed():
    hand = deal.dealt([0])
    for worker in range(20):
        _, hand = deal.give(hand, worker)
        blamed, hand = deal.died(deal.reached(hand, worker, worker), worker)
        assert blamed is None


def test_who_dies_before_it_has_begun_blames_nothing():
    hand = deal.dealt([0])
    for worker in range(20):
        _, hand = deal.give(hand, worker)
        blamed, hand = deal.died(hand, worker)
        assert blamed is None
    assert deal.give(hand, 99)[0] == 0


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
            _, hand = deal.died(hand, worker)
            names[slot] = next(fresh)
    while not hand.done:
        _, hand = deal.give(hand, 0) if 0 not in hand.held else (None, hand)
        for worker, held in list(hand.held.items()):
            done.append(held.number)
            hand = deal.finished(hand, worker)
    assert sorted(done) == list(range(count))
