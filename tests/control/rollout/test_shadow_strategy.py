"""A shadow before every strategy, in the world of `test_strategy.py`, which holds its invariants."""

import msgspec
import pytest

from argosy.spec.guard import Advice
from argosy.spec.rollout import Rollout
from tests.control.rollout.test_strategy import CANARY, order, serving, shadowed

WAIT, WELL = Advice(reason="3 of 100 answers compared"), Advice(verdict="advance", reason="99.9% agree")
STRATEGIES = (Rollout(), CANARY, Rollout(strategy="blue-green"), Rollout(strategy="recreate"))


@pytest.mark.parametrize("policy", STRATEGIES)
def test_a_shadow_comes_before_every_strategy_and_no_caller_sees_it(policy: Rollout):
    world, b = serving(shadowed(policy))
    world.comparison = WAIT
    world.run(b, 10)
    assert world.state.rollout
    assert (world.state.rollout.phase, world.state.rollout.reason) == ("shadowing", WAIT.reason)
    assert (world.weights, world.shadow, world.ready) == ((("a", 100),), "b", {"a": 2, "b": 2})
    world.comparison = WELL
    world.step(b)
    assert world.shadow == ""
    assert dict(world.weights)["b"] == (5 if policy is CANARY else 100)
    world.run(b, 30)
    assert (world.weights, world.ready) == ((("b", 100),), {"b": 2})


@pytest.mark.parametrize("which", ["comparison", "guard"])
def test_a_shadow_that_answers_otherwise_or_does_harm_is_rolled_back(which: str):
    world, b = serving(shadowed(CANARY), guarded=True)
    world.run(b, 5)
    setattr(world, which, Advice(verdict="rollback", reason="it is bad"))
    world.step(b)
    assert world.state.rollout
    assert (world.state.rollout.phase, world.state.rollout.reason) == ("rolled-back", "it is bad")
    assert (world.weights, world.shadow, world.state.rollout.exposed) == ((("a", 100),), "", 0)
    world.run(b, 3)
    assert world.ready == {"a": 2}


def test_orders_in_the_shadow():
    world, b = serving(shadowed(CANARY))
    world.run(b, 4)
    assert order(world, "pause")
    world.comparison = WELL
    world.run(b, 5)
    assert world.state.rollout
    assert (world.state.rollout.phase, world.state.rollout.reason, world.shadow) == (
        "shadowing",
        "paused on demand",
        "b",
    )
    assert order(world, "resume")
    world.step(b)
    assert world.weights == (("a", 95), ("b", 5))

    world, b = serving(shadowed(CANARY))
    world.run(b, 4)
    assert order(world, "promote")
    world.comparison = Advice(verdict="rollback")
    world.step(b)
    assert (world.weights, world.shadow) == ((("b", 100),), "")

    world, b = serving(shadowed(CANARY))
    world.run(b, 4)
    assert order(world, "abort")
    world.step(b)
    assert (world.weights, world.shadow) == ((("a", 100),), "")


def test_where_the_stable_one_is_gone_a_shadow_still_answers_nobody():
    world, b = serving(shadowed(CANARY))
    world.run(b, 4)
    world.ready["a"] = 0
    world.comparison = WAIT
    world.step(b)
    assert world.weights == (("a", 100),)


def test_a_shadow_waits_for_a_stable_one_that_is_down_and_promotion_does_not():
    world, b = serving(shadowed(CANARY))
    world.ready["a"] = 0
    for _ in range(4):
        world.step(b)
        world.ready["b"] = 2
    assert world.state.rollout
    assert world.state.rollout.phase == "starting"
    assert "promote skips it" in world.state.rollout.reason
    assert order(world, "promote")
    world.step(b)
    assert world.weights == (("b", 100),)


def test_a_declaration_without_the_shadow_ends_it():
    world, b = serving(shadowed(CANARY))
    world.run(b, 4)
    assert world.shadow == "b"
    world.run(msgspec.structs.replace(b, policy=CANARY, generation=3), 1)
    assert world.weights == (("a", 95), ("b", 5))
