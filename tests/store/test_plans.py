"""Plans that are kept: one is current, one may be proposed, and what replaces them says so in one transaction."""

import pytest

from argosy.spec.errors import Conflict, NotFound
from argosy.spec.placement import DeclaredDemand, DeclaredModel, DeclaredProfile, DeclaredSupply, PlacementFile
from argosy.spec.plan import KeptPlan, MadePlan
from argosy.store import ledger, plans
from argosy.store.ledger import Cause
from argosy.store.plans import Plans
from argosy.store.regions import RegionStore

FILE = PlacementFile(
    models={"m": DeclaredModel(profiles=(DeclaredProfile(gpu="L4", rates=1.0),))},
    demand=(DeclaredDemand(model="m", area="a", rate=1.0),),
    rtt={"a": {"r": 0.1}},
    supply=(DeclaredSupply(provider="p", region="r", gpu="L4", price=1.0, quota=1),),
)
MADE = MadePlan(
    cost=1.0,
    bound=1.0,
    gap=0.0,
    seconds=0.0,
    kept=False,
    costs={},
    placements=(),
    unserved=(),
    reasons=(),
    rates=(1.0,),
    prices={},
    regions=("r",),
)


def kept(store: Plans, state, replicas: int) -> KeptPlan:
    plan = KeptPlan(number=0, made=5.0, state=state, why="w", plan=MADE, numbers={"r": {"m": replicas}})
    return store.keep(FILE, plan, Cause(actor="ann"))


def test_a_plan_is_current_until_another_one_is(database):
    store, regions = Plans(database), RegionStore(database)
    assert store.open() == (None, None)
    first = kept(store, "current", 1)
    assert (first.number, first.actor, first.applied) == (1, "ann", first.made)
    assert kept(store, "proposed", 2).applied is None
    assert regions.placements() == {("m", "r"): 1}
    third = kept(store, "proposed", 3)
    assert store.open() == (first, third)
    assert store.get(2).state == "past"
    store.apply(3, Cause())
    assert regions.placements() == {("m", "r"): 3}
    assert [each.state for each in store.every()] == ["current", "past", "past"]
    assert store.declared(3) == FILE
    with pytest.raises(Conflict, match="plan 1 is current no more"):
        store.keep(FILE, first, Cause(), instead=1)
    kept(store, "proposed", 4)
    store.end(Cause(), proposed=True)
    assert [each and each.number for each in store.open()] == [3, None]
    store.end(Cause())
    assert store.open() == (None, None)
    with database.read() as connection:
        told = [each.event for each in ledger.entries(connection, "plan/3")]
    assert told == ["propose", "apply", "end"]


def test_old_plans_go_but_not_what_is_current(database, monkeypatch):
    monkeypatch.setattr(plans, "MOST", 3)
    store = Plans(database)
    kept(store, "current", 1)
    for count in range(5):
        kept(store, "proposed", count)
    assert [each.number for each in store.every()] == [6, 5, 4, 1]
    with pytest.raises(NotFound, match="no plan 2"):
        store.declared(2)
