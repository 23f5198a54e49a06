"""Rollouts of language models wait for warm caches, for a bounded time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.spec.errors import InvalidArgument
from argosy.spec.guard import Advice
from argosy.spec.rollout import Rollout, Step, WarmCaches
from tests.control.rollout.test_strategy import serving

WARM = WarmCaches(share=0.8, seconds=30.0)
WAITING = [
    Rollout(warm_caches=WARM),
    Rollout(strategy="canary", steps=(Step(weight=5), Step(weight=50)), warm_caches=WARM),
]


@pytest.mark.parametrize("policy", WAITING, ids=["rolling", "canary"])
@pytest.mark.parametrize("guarded", [False, True], ids=["free", "guarded"])
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 5)), min_size=1, max_size=40))
def test_cold_caches_hold_a_rollout_and_for_a_bounded_time(policy, guarded, looks):
    world, b = serving(policy, guarded)
    world.guard = Advice(verdict="advance")
    world.cached = (0.0, 1.0)
    world.run(b, 4)
    steps = len(policy.path) or 1
    for mine, theirs, seconds in looks:
        before = world.state.rollout
        world.cached = (mine, theirs)
        world.step(b, seconds=seconds)
        after = world.state.rollout
        assert before
        assert after
        moved = (after.phase, after.step) != (before.phase, before.step) or after.weight > before.weight
        if before.phase == "shifting" and moved:
            assert mine >= 0.8 * theirs or before.spent + seconds >= 30.0
            assert after.step <= before.step + 1
        if after.phase == "shifting":
            assert world.ready["a"] == 2, "nobody goes before the caches are warm"
    world.cached = (0.0, 1.0)
    for _ in range(steps * 32):
        world.step(b)
    assert (world.weights, world.ready) == ((("b", 100),), {"b": 2})


def test_whose_caches_are_waited_for_is_said():
    world, b = serving(WAITING[1])
    world.cached = (0.1, 0.5)
    world.run(b, 10)
    assert world.state.rollout
    assert world.state.rollout.reason.startswith(
        "waits for warm caches: 10% of the candidate's prompts are found in its caches, 50% of the stable's; at most 2"
    )
    world.cached = None
    world.run(b, 6)
    assert world.weights == (("b", 100),), "no language model has caches to wait for"
    for strategy in ("recreate", "blue-green"):
        with pytest.raises(InvalidArgument, match="has no share of the traffic"):
            Rollout(strategy=strategy, warm_caches=WARM)
