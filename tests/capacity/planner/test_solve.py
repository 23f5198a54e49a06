import itertools

import msgspec
import numpy as np
import pytest

from argosy.capacity.planner.parts import parts
from argosy.capacity.planner.problem import Demand, Problem, Profile, Supply
from argosy.capacity.planner.route import route
from argosy.capacity.planner.solve import Planner, bound, deal, solve
from prove.plancheck import check

pytest.importorskip("highspy", reason="the extra `place` is not installed")

RTT = {"home": {"near": 0.01, "far": 0.1}, "away": {"near": 0.1, "far": 0.01}}


def supply(name, region="near", **fields):
    given = {"provider": "p", "gpu": "L4", "price": 1.0, "quota": 6}
    return Supply(id=name, region=region, **given | fields)


def problem(*supplies, rate=2.5, demand=None, profiles=None, **fields):
    demands = (Demand(model="m", area="home", rate=rate, **demand or {}),)
    made = profiles or (Profile(model="m", gpu="L4", rates={"": 1.0}, start=60.0),)
    return Problem(supplies=supplies, profiles=made, rtt=RTT, **{"demands": demands, **fields})


def drawn(seed):
    """A small problem in which all that is asked of the planner occurs."""
    random = np.random.default_rng(seed)
    supplies = tuple(
        supply(
            f"{region}-{gpu}-{market}",
            region,
            gpu=gpu,
            market=market,
            price=round(float(random.uniform(0.5, 3) * (0.5 if market == "spot" else 1)), 2),
            quota=int(random.integers(1, 3)),
            trusted=bool(random.random() < 0.9),
        )
        for region, gpu, market in (("near", "L4", "on_demand"), ("near", "H100", "on_demand"), ("far", "L4", "spot"))
    )
    demands = tuple(
        Demand(
            model=model,
            area=area,
            bucket=bucket,
            rate=round(float(random.uniform(0.2, 1.5)), 2),
            slo=float(random.choice([0.05, 1.0])),
            regions=("near",) if random.random() < 0.2 else (),
            untrusted=bool(random.random() < 0.5),
            penalty=0.001,
            sent=1e6,
        )
        for model, area, bucket in itertools.product("ab", RTT, ("short", "long"))
    )
    profiles = tuple(
        Profile(model=model, gpu=gpu, rates={"short": fast, "long": fast / 3}, start=60.0, weights=1e9)
        for model in "ab"
        for gpu, fast in (
            ("L4", round(float(random.uniform(1, 2)), 2)),
            ("H100", round(float(random.uniform(2, 6)), 2)),
        )
    )
    return Problem(
        supplies=supplies,
        demands=demands,
        profiles=profiles,
        rtt=RTT,
        egress={"near": 0.1},
        transfer={"far": 0.5},
        loss_floor=0.5,
        spot_share=0.5,
        running={("a", "", "near-L4-on_demand"): 1},
    )


def best(asked):
    """The least cost, by trying everything."""
    quota = {at: each.gpus for at, each in enumerate(asked.supplies)}
    found = []
    for part in parts(asked):
        ranges = [range(int(most) + 1) for most in part.most]
        found.append(
            [
                (dict(zip(part.supply.tolist(), some, strict=True)), route(part, np.array(some, float)).cost)
                for some in itertools.product(*ranges)
            ]
        )
    return min(
        sum(cost for _, cost in some)
        for some in itertools.product(*found)
        if all(sum(used.get(at, 0) for used, _ in some) <= most for at, most in quota.items())
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_bound_is_never_above_the_best_and_a_plan_is_near_it(seed):
    asked = drawn(seed)
    plan, least = solve(asked, seconds=30.0), best(asked)
    assert check(asked, plan) == []
    assert plan.bound <= least + 1e-6
    assert bound(asked) <= least + 1e-6
    assert least - 1e-6 <= plan.cost <= least * 1.05 + 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_models_that_are_too_many_for_one_program_are_dealt_out(seed, monkeypatch):
    monkeypatch.setattr("argosy.capacity.planner.solve.OPTIONS", 1)
    asked = drawn(seed)
    assert [len(hand) for _, hand in deal(parts(asked))] == [1, 1]
    plan, least = solve(asked, seconds=30.0), best(asked)
    assert check(asked, plan) == []
    assert plan.bound <= least + 1e-6
    assert least - 1e-6 <= plan.cost <= least * 1.05 + 1e-6


def test_what_there_is_not_enough_of_is_not_overdrawn():
    asked = problem(supply("a", quota=2))
    plan = solve(asked)
    assert check(asked, plan) == []
    assert plan.replicas == {("m", "", "a"): 2}
    assert plan.unserved == {0: pytest.approx(0.5)}


def test_the_cheaper_place_is_taken_unless_it_is_too_far_or_not_allowed():
    near, far = supply("a"), supply("b", "far", price=0.5)
    assert solve(problem(near, far)).replicas == {("m", "", "b"): 3}
    assert solve(problem(near, far, demand={"slo": 0.05})).replicas == {("m", "", "a"): 3}
    assert solve(problem(near, far, demand={"regions": ("near",)})).replicas == {("m", "", "a"): 3}


def test_strangers_get_only_what_says_so():
    stranger, own = supply("a", price=0.5, trusted=False), supply("b")
    assert solve(problem(stranger, own)).replicas == {("m", "", "b"): 3}
    assert solve(problem(stranger, own, demand={"untrusted": True})).replicas == {("m", "", "a"): 3}


def test_enough_is_left_after_any_loss():
    asked = problem(supply("a"), supply("b", "far", price=2.0), loss_floor=1.0)
    plan = solve(asked)
    assert check(asked, plan) == []
    assert plan.replicas == {("m", "", "a"): 3, ("m", "", "b"): 3}
    assert plan.costs.reserve == 0.0


def test_spot_has_its_share_at_most():
    plan = solve(problem(supply("a"), supply("b", market="spot", price=0.1), rate=4.0, spot_share=0.5))
    assert plan.replicas == {("m", "", "a"): 2, ("m", "", "b"): 2}


def test_headroom_is_planned_for():
    assert solve(problem(supply("a"), headroom=0.5)).replicas == {("m", "", "a"): 4}


def test_what_runs_stays_unless_a_move_pays_for_itself():
    slow = (Profile(model="m", gpu="L4", rates={"": 1.0}, start=3600.0),)
    asked = problem(supply("a"), supply("b", price=0.99), profiles=slow, horizon=1.0)
    assert solve(asked, running={("m", "", "a"): 3}).replicas == {("m", "", "a"): 3}
    assert solve(asked).replicas == {("m", "", "b"): 3}


def test_a_demand_nobody_can_serve_is_not_served():
    asked = problem(supply("a", gpu="V100"))
    plan = solve(asked)
    assert (plan.replicas, plan.unserved) == ({}, {0: 2.5})
    assert check(asked, plan) == []


def two(rate=2.5, quota=8):
    demands = (Demand(model="m", area="home", rate=rate), Demand(model="n", area="home", rate=2.0))
    profiles = tuple(Profile(model=model, gpu="L4", rates={"": 1.0}) for model in "mn")
    return problem(supply("a", quota=quota), supply("b", price=1.5), demands=demands, profiles=profiles)


def test_a_plan_anew_touches_what_changed():
    planner = Planner()
    first = planner.solve(two(), 60.0)
    again = planner.replan(msgspec.structs.replace(two(), running=first.replicas))
    assert again.replicas == first.replicas
    more = msgspec.structs.replace(two(rate=4.5), running=first.replicas)
    third = planner.replan(more, 60.0)
    assert third.replicas == {("m", "", "a"): 5, ("n", "", "a"): 2}
    assert check(more, third) == []


def test_models_for_which_nothing_changed_are_taken_again():
    first = two()
    made = {part.model: part for part in parts(first)}
    running = {("m", "", "a"): 2}
    more = msgspec.structs.replace(two(rate=4.5), running=running)
    again = {part.model: part for part in parts(more, first, made)}
    assert (again["n"].cells is made["n"].cells, again["m"].cells is made["m"].cells) == (True, False)
    assert again["m"].rate.tolist() == [4.5]
    moved = {part.model: part for part in parts(msgspec.structs.replace(first, running=running), first, made)}
    assert moved["m"].running.tolist() == [2.0, 0.0]
    dearer = msgspec.structs.replace(first, supplies=(supply("a", price=9.0), supply("b")))
    assert [part.cost.tolist() for part in parts(dearer, first, made)] == [part.cost.tolist() for part in parts(dearer)]


def test_a_plan_anew_leaves_what_is_lost():
    planner = Planner()
    first = planner.solve(two(), 60.0)
    less = msgspec.structs.replace(two(quota=1), running=first.replicas)
    plan = planner.replan(less, 60.0)
    assert check(less, plan) == []
    assert plan.unserved == {}
    assert plan.bound <= plan.cost


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"replicas": {("m", "", "a"): 9}}, "no room for 9"),
        ({"replicas": {("m", "", "a"): 1}}, "is sent what takes"),
        ({"replicas": {("m", "", "x"): 1}}, "names no supply"),
        ({"flows": {}}, "are served"),
        ({"flows": {(0, "", "c"): 2.5}}, "may not serve it"),
        ({"unserved": {0: 1.0}}, "are not"),
        ({"bound": 99.0}, "is above the cost"),
    ],
)
def test_a_plan_that_is_wrong_is_found(fields, fault):
    asked = problem(supply("a"), supply("c", "far"), demand={"slo": 0.05})
    plan = solve(asked)
    assert check(asked, plan) == []
    assert any(fault in each for each in check(asked, msgspec.structs.replace(plan, **fields)))
