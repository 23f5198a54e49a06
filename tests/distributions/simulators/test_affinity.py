import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy_simulators.routing.affinity import PATIENCE, Affinity, Candidate, Known, PrefixIndex, Ticket, chain, pick

RATE = 1000.0


def replica(
    affinity: float = 0.0, prefill: float = 0.0, waiting: int = 0, streams: int = 0, **more: float
) -> Candidate:
    about = {"since": 0.0, "rate": RATE, "churn": 0.0, **more}
    return Candidate(affinity, prefill, waiting, about["since"], about["rate"], streams, about["churn"])


def chosen(*candidates: Candidate, size: float = 1000.0) -> set[int]:
    names = {str(at): each for at, each in enumerate(candidates)}
    return {int(pick(names, size, random.Random(seed))) for seed in range(20)}


def test_a_warm_replica_is_kept_until_the_others_are_free_so_much_sooner_that_computing_again_pays() -> None:
    recompute = PATIENCE * 0.9 * 1000
    assert chosen(replica(0.9, prefill=recompute - 1, waiting=1), replica()) == {0}
    assert chosen(replica(0.9, prefill=recompute + 100, waiting=1), replica()) == {1}


def test_those_that_wait_at_the_cold_replica_are_counted_as_well() -> None:
    busy = replica(0.9, prefill=PATIENCE * 900 + 200, waiting=1)
    assert chosen(busy, replica(prefill=100, waiting=1)) == {0}


def test_a_hot_warm_replica_does_not_cancel_affinity_for_another_warm_one() -> None:
    assert chosen(replica(0.9, prefill=1e6, waiting=9), replica(0.85), replica()) == {1}


def test_half_of_the_best_match_is_not_warm_and_nearly_all_of_it_is() -> None:
    assert chosen(replica(0.5), replica(0.25), replica(0.25)) == {0}
    assert chosen(replica(0.5, prefill=900, waiting=1), replica(0.45)) == {1}


def test_equal_ones_are_chosen_by_chance() -> None:
    assert chosen(replica(), replica(), replica()) == {0, 1, 2}


def test_fewest_streams_where_prefill_tells_nothing() -> None:
    assert chosen(replica(streams=9), replica(streams=8), replica(streams=9, prefill=100.0, waiting=1)) == {1}


def test_a_replica_with_more_streams_than_chance_gives_it_takes_no_more() -> None:
    assert chosen(replica(1.0, streams=30), replica(streams=10), replica(streams=11)) == {1}


def test_faster_ones_answer_first() -> None:
    assert chosen(replica(rate=400.0), replica(rate=1000.0)) == {1}


def test_one_that_has_not_answered_for_long_is_saturated() -> None:
    assert chosen(replica(0.9, prefill=1, waiting=1, since=60.0), replica()) == {1}


def test_room_in_a_cache_counts() -> None:
    assert chosen(replica(prefill=100.0, waiting=1), replica()) == {0, 1}
    assert chosen(replica(prefill=100.0, waiting=1, churn=1.0), replica()) == {1}


def test_chain_tells_prompts_with_the_same_beginning_from_others() -> None:
    one, other = chain([1, 2, 3]), chain([1, 2, 4])
    assert one[:2] == other[:2]
    assert one[2] != other[2]
    assert chain([9, 2, 3])[1:] != one[1:]
    assert chain([3], one[1]) == one[2:]


def test_the_index_forgets_the_least_recent_and_the_deepest_first() -> None:
    index = PrefixIndex(4)
    old, new = chain([1, 2, 3]), chain([7, 8, 9])
    index.insert(old, 1.0)
    assert index.age(5.0) == math.inf
    index.insert(new, 2.0)
    assert (index.matched(old), index.matched(new), len(index.blocks)) == (1, 3, 4)
    assert index.age(5.0) == 4.0
    index.insert(chain(range(9)), 3.0)
    assert index.matched(chain(range(9))) == 4


def test_the_speed_of_a_replica_is_learned_from_prefills_that_nothing_held_up() -> None:
    policy = Affinity()
    policy.keep({"a": 100})
    for at in range(20):
        ticket = policy.route(chain([at, 1]), 1000, ["a"], now=at * 10.0)
        held_up = policy.route(chain([at, 2]), 1000, ["a"], now=at * 10.0)
        policy.first(ticket, at * 10.0 + (2.0 if at % 2 else 4.0))
        policy.first(held_up, at * 10.0 + 0.001)
        for each in (ticket, held_up):
            policy.end(each, at * 10.0 + 5)
    assert policy.replicas["a"].rate == 500.0


def test_no_replica() -> None:
    policy = Affinity()
    policy.keep({"a": 10})
    with pytest.raises(LookupError, match="no replica takes requests"):
        policy.route([], 1.0, ["gone"], 0.0)


STEPS = st.lists(
    st.tuples(st.sampled_from(["route", "retry", "first", "end", "gone", "back"]), st.integers(0, 30)), max_size=80
)


def consistent(known: Known, tickets: list[Ticket]) -> None:
    """The ledger of a replica is the sum of what is in flight in it."""
    mine = [each for each in tickets if each.known is known and not each.ended]
    waiting = [each for each in mine if each.answered is None]
    assert known.streams == len(mine)
    assert len(known.waiting) == len(waiting)
    assert known.prefill >= 0
    assert known.prefill == pytest.approx(sum(each.charge for each in waiting), abs=1e-6)
    assert len(known.index.blocks) <= known.index.capacity
    assert len(known.rates) <= 64


@settings(max_examples=120, deadline=None)
@given(STEPS)
def test_whatever_happens_what_was_charged_is_released_once(steps: list[tuple[str, int]]) -> None:
    policy, tickets, now = Affinity(1), list[Ticket](), 0.0
    capacities = {"a": 8, "b": 8, "c": 3}
    policy.keep(capacities)
    for what, number in steps:
        now += 0.25
        if what in ("first", "end", "retry") and tickets:
            ticket = tickets[number % len(tickets)]
            if what == "first":
                policy.first(ticket, now)
            else:
                policy.end(ticket, now)
        if what == "route" or (what == "retry" and tickets):
            tickets.append(policy.route(chain([number % 5, number % 3, number]), 100.3 * number, policy.replicas, now))
        if what == "gone":
            policy.keep({name: size for name, size in capacities.items() if name != "abc"[number % 3]})
        if what == "back":
            policy.keep(capacities)
        for known in {id(each.known): each.known for each in tickets}.values():
            consistent(known, tickets)
    for ticket in tickets * 2:
        policy.end(ticket, now)
        policy.first(ticket, now)
    for ticket in tickets:
        assert (ticket.known.prefill, ticket.known.streams, ticket.known.waiting) == (0.0, 0, {})
