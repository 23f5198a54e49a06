import pytest

from argosy.capacity.planner import reasons
from argosy.capacity.planner.problem import Demand, Problem, Profile, Supply
from argosy.capacity.planner.reasons import conflict, explain, find, nowhere, settled
from argosy.capacity.planner.whole import solve
from prove.plancheck import check

pytest.importorskip("highspy")

L4, A10G = (
    Supply(id="l4", provider="a", region="r", gpu="L4", price=0.8, quota=4),
    Supply(id="a10g", provider="a", region="r", gpu="A10G", price=1.1, quota=4),
)
PROFILES = (
    Profile(model="m", gpu="L4", rates={"": 2.0}),
    Profile(model="m", gpu="A10G", rates={"": 2.0}),
    Profile(model="n", gpu="L4", rates={"": 2.0}),
)


def problem(*demands, supplies=(L4, A10G), **more):
    return Problem(supplies=supplies, demands=demands, profiles=PROFILES, rtt={"x": {"r": 0.05}}, **more)


def demand(rate, model="m", **more):
    return Demand(model=model, area="x", rate=rate, **more)


@pytest.mark.parametrize("whole", [0, 100], ids=["by search", "as one program"])
def test_a_choice_is_worth_what_the_next_best_costs_more(whole, monkeypatch):
    monkeypatch.setattr(reasons, "WHOLE", whole)
    asked = problem(demand(4.0))
    plan = find(asked, seconds=60)
    assert check(asked, plan) == []
    (reason,) = explain(asked, plan)
    assert (reason.place, reason.replicas) == (("m", "", "l4"), 2)
    assert reason.instead == ((("m", "", "a10g"), 2),)
    assert reason.dearer == pytest.approx(2 * 0.3 * 24)


def test_a_large_plan_is_explained_model_by_model(monkeypatch):
    """The other model's replicas stay: there is one L4 less to move to."""
    monkeypatch.setattr(reasons, "WHOLE", 0)
    asked = problem(demand(6.0), demand(2.0, "n"))
    found = explain(asked, solve(asked))
    assert [(each.place, each.replicas) for each in found] == [(("m", "", "l4"), 3), (("n", "", "l4"), 1)]
    assert found[0].dearer == pytest.approx(3 * 0.3 * 24)
    assert found[1].unserved == 2.0


def test_a_choice_without_which_nothing_else_serves():
    asked = problem(demand(2.0, "n"))
    (reason,) = explain(asked, solve(asked))
    assert reason.unserved == 2.0


def test_choices_that_there_was_no_time_to_weigh():
    asked = problem(demand(4.0))
    (reason,) = explain(asked, solve(asked), seconds=0)
    assert reason.dearer is None


def test_the_demands_that_are_in_each_others_way():
    """Each alone can be served; the first needs all of both kinds, the second is in the way, the third is not."""
    profiles = (*PROFILES, Profile(model="o", gpu="T4", rates={"": 2.0}))
    t4 = Supply(id="t4", provider="a", region="r", gpu="T4", price=0.3, quota=1)
    asked = problem(demand(16.0), demand(1.0, "n"), demand(1.0, "o"), supplies=(L4, A10G, t4))
    asked = Problem(supplies=asked.supplies, demands=asked.demands, profiles=profiles, rtt=asked.rtt)
    assert conflict(asked) == (0, 1)
    assert conflict(problem(demand(8.0), demand(1.0, "n"))) == ()


def test_one_that_cannot_be_served_at_all_stands_alone():
    asked = problem(demand(1.0), demand(1.0, slo=0.01))
    assert conflict(asked) == (1,)
    assert nowhere(asked, 1) == ["r answers in 0.05 s"]
    assert nowhere(asked, 0) == []
    assert conflict(problem(demand(1.0), demand(99.0))) == (1,)


def test_the_rules_count_as_demand_does():
    assert conflict(problem(demand(4.0), loss_floor=0.5)) == (0,)


def test_what_runs_is_kept_where_a_plan_saves_too_little():
    asked = problem(demand(4.0), running={("m", "", "a10g"): 2})
    plan = solve(asked)
    assert settled(asked, plan, 0.3).replicas == {("m", "", "a10g"): 2}
    assert settled(asked, plan, 0.2).replicas == {("m", "", "l4"): 2}
    few = problem(demand(6.0), running={("m", "", "a10g"): 2})
    assert settled(few, solve(few), 0.9).replicas == solve(few).replicas
