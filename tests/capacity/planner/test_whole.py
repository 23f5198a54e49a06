from random import Random

import pytest

from argosy.capacity.planner.problem import Demand, Problem, Profile, Rented, Supply
from argosy.capacity.planner.solve import solve as search
from argosy.capacity.planner.whole import solve
from prove.plancheck import check

pytest.importorskip("highspy")

NEAR = {"west": {"oregon": 0.02, "ireland": 0.14}}


def supply(name, *, region="oregon", price=1.0, quota=10, **more):
    return Supply(id=name, provider=name, region=region, gpu="L4", price=price, quota=quota, **more)


def problem(*supplies, rate=25.0, gpus=1, running=None, demand=None, **more):
    profile = Profile(model="m", gpu="L4", gpus=gpus, rates={"": 10.0}, latency={"": 0.1}, start=360.0)
    demands = (Demand(model="m", area="west", rate=rate, **(demand or {})),)
    return Problem(
        supplies=supplies, demands=demands, profiles=(profile,), rtt=NEAR, running=running or {}, horizon=10.0, **more
    )


def test_the_cheapest_place_is_filled_first():
    plan = solve(problem(supply("dear", price=2.0), supply("cheap", quota=2)))
    assert plan.replicas == {("m", "", "cheap"): 2, ("m", "", "dear"): 1}
    assert plan.costs.machines == 4.0
    assert plan.costs.starts == pytest.approx(0.04)
    assert plan.bound == pytest.approx(plan.cost, rel=0.002)


def test_what_may_take_too_long_is_no_place():
    plan = solve(problem(supply("near", price=5.0), supply("far", region="ireland"), demand={"slo": 0.2}))
    assert plan.replicas == {("m", "", "near"): 3}


def test_residency_and_strangers():
    supplies = supply("near", region="ireland"), supply("stranger", price=0.1, trusted=False)
    assert solve(problem(*supplies)).replicas == {("m", "", "near"): 3}
    assert solve(problem(*supplies, demand={"untrusted": True})).replicas == {("m", "", "stranger"): 3}
    plan = solve(problem(*supplies, demand={"regions": ("oregon",)}))
    assert plan.unserved == {0: 25.0}
    assert plan.costs.unserved == pytest.approx(25 * 3600 * 0.01)


def test_a_machine_has_to_have_the_gpus_of_a_replica():
    plan = solve(problem(supply("small", price=0.1), supply("large", price=8.0, count=4), gpus=2))
    assert plan.replicas == {("m", "", "large"): 3}
    assert plan.costs.machines == 16.0
    assert plan.rented["large"] == Rented(count=2, hourly=16.0, unused=4.0)
    plan = solve(problem(supply("large", price=8.0, count=4, unit="gpu"), gpus=2))
    assert plan.costs.machines == 12.0


def test_what_is_left_after_a_loss_and_without_spot():
    plan = solve(problem(supply("one"), supply("two", price=2.0), loss_floor=0.8))
    assert plan.replicas == {("m", "", "one"): 2, ("m", "", "two"): 2}
    plan = solve(problem(supply("spot", price=0.1, market="spot"), supply("two", price=2.0), spot_share=0.5))
    assert plan.replicas == {("m", "", "spot"): 1, ("m", "", "two"): 2}


@pytest.mark.parametrize("seed", range(4))
def test_a_plan_is_what_the_check_and_the_search_say(seed):
    random = Random(seed)
    supplies = tuple(
        supply(f"{region}-{at}", region=region, price=random.uniform(1, 3), quota=random.randint(1, 4), count=at)
        for region in ("oregon", "ireland")
        for at in (1, 2)
    )
    asked = problem(*supplies, rate=random.uniform(5, 60), loss_floor=0.5, demand={"slo": 0.5, "penalty": 0.1})
    plan = solve(asked)
    assert check(asked, plan) == []
    assert plan.cost == pytest.approx(search(asked, seconds=60).cost, rel=0.01)


def test_what_runs_goes_on_where_a_move_does_not_pay():
    supplies = supply("old", price=1.005), supply("new", price=1.0)
    assert solve(problem(*supplies)).replicas == {("m", "", "new"): 3}
    assert solve(problem(*supplies, running={("m", "", "old"): 3})).replicas == {("m", "", "old"): 3}
