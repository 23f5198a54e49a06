"""From a plan's file to numbers of replicas, and to the file of a plan that is made again."""

import msgspec
import pytest

from argosy.regions.placing import NOWHERE, PlanJob, again, numbers, remade, supplied
from argosy.spec.errors import InvalidArgument
from argosy.spec.offer import Offer
from argosy.spec.placement import PlacementFile
from argosy.spec.plan import PlannedReplicas
from argosy.spec.strict import load_yaml

pytest.importorskip("highspy")

FILE = load_yaml(
    """
models: {chat: {endpoint: talk, profiles: [{gpu: L4, rates: 3, start: 180}]}}
demand:
  - {model: chat, area: us, rate: 9, slo: 0.5}
  - {model: chat, area: eu, rate: 1, slo: 0.5, regions: [ireland]}
rtt: {us: {oregon: 0.02, ireland: 0.14}, eu: {oregon: 0.14, ireland: 0.02}}
supply:
  - {provider: aws, region: oregon, gpu: L4, price: 0.8, quota: 8}
  - {provider: aws, region: ireland, gpu: L4, price: 1.0, quota: 8}
regions: {oregon: west, ireland: east}
""",
    PlacementFile,
    "plan",
)
BOTH = {"talk": ("west", "east")}


def planned(declared: PlacementFile):
    return remade(PlanJob(file=declared, seconds=5.0))


def test_numbers_are_by_region_of_argosy_and_within_what_endpoints_declare():
    plan = planned(FILE)
    assert numbers(FILE, plan, BOTH) == {"west": {"talk": 3}, "east": {"talk": 1}}
    with pytest.raises(InvalidArgument, match="no endpoint 'talk'"):
        numbers(FILE, plan, {})
    with pytest.raises(InvalidArgument, match="does not declare region 'east'"):
        numbers(FILE, plan, {"talk": ("west",)})
    for wrong in (msgspec.structs.replace(plan, regions=()), msgspec.structs.replace(plan, placements=PLACED)):
        with pytest.raises(InvalidArgument, match="which its file has not"):
            numbers(FILE, wrong, BOTH)


PLACED = (PlannedReplicas(model="dog", variant="", supply="s", region="west", replicas=1, hourly=1.0, share=1.0),)


def test_without_a_region_the_others_serve_what_may_leave_it():
    plan = planned(FILE)
    alone = again(FILE, FILE.supply, (9.0, 1.0), plan.placements, {"west"}, BOTH)
    made = planned(alone)
    assert numbers(FILE, made, BOTH) == {"east": {"talk": 4}}
    assert made.unserved == ()
    assert made.costs["starts"] > 0
    resident = again(FILE, FILE.supply, (9.0, 1.0), plan.placements, {"east"}, BOTH)
    assert resident.demand[1].regions == NOWHERE
    made = planned(resident)
    assert numbers(FILE, made, BOTH) == {"west": {"talk": 3}}
    assert [(each.model, each.rate) for each in made.unserved] == [("chat", 1.0)]


def test_nothing_is_served_where_its_endpoint_does_not_declare_the_region():
    made = planned(again(FILE, FILE.supply, (9.0, 1.0), (), (), {"talk": ("east",)}))
    assert numbers(FILE, made, {"talk": ("east",)}) == {"east": {"talk": 4}}
    assert planned(again(FILE, FILE.supply, (9.0, 1.0), (), (), {})).placements == ()


def test_supply_is_what_is_declared_and_offered():
    file = msgspec.structs.replace(FILE, quotas=({"quota": 2},))
    file = msgspec.convert(msgspec.to_builtins(file), PlacementFile)
    offer = Offer(provider="lam", region="oregon", instance="i", price=0.5, gpu="L4", count=1)
    far = msgspec.structs.replace(offer, region="mars")
    assert [each.id for each in supplied(file, [offer, far])] == ["aws/oregon/L4", "aws/ireland/L4", "lam/oregon/L4"]
