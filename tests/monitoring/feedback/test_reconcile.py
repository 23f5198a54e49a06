import random

import msgspec

from argosy.monitoring.feedback.reconcile import Chunk, Reconciled, Rule, reconcile


def chunks(count, truth, estimated=0.9, seed=1, size=500, **more):
    chance = random.Random(seed)
    return [
        Chunk(
            name=f"{seed}-{n}",
            estimated=estimated,
            right=sum(chance.random() < truth for _ in range(size)),
            labelled=size,
            **more,
        )
        for n in range(count)
    ]


def test_an_estimate_that_holds_is_no_alarm():
    assert all(reconcile(Rule(chunks=100), chunks(100, 0.89, seed=s), Reconciled()).alarms == () for s in range(20))


def test_a_change_of_what_is_true_is_one():
    state = reconcile(Rule(), chunks(20, 0.9), Reconciled())
    state = reconcile(Rule(), chunks(3, 0.8, seed=2), state)
    assert state.alarms
    assert msgspec.json.decode(msgspec.json.encode(state), type=Reconciled) == state


def test_only_what_is_mature_counts_and_only_once():
    young = chunks(5, 0.1, maturity=0.5)
    assert reconcile(Rule(), young, Reconciled()) == Reconciled()
    once = reconcile(Rule(), chunks(1, 0.87), Reconciled())
    assert reconcile(Rule(), chunks(1, 0.87), once) == once


def test_differences():
    chunk = Chunk(name="a", estimated=0.9, right=8, labelled=10)
    assert chunk.difference is not None
    assert round(chunk.difference, 9) == -0.1
    assert Chunk(name="b", estimated=0.9, right=0, labelled=0).difference is None
