import pytest

from argosy.capacity.planner.problem import Costs, Demand, Plan, Problem, Profile, Supply
from argosy.spec.errors import InvalidArgument

SUPPLY = {"id": "a", "provider": "p", "region": "r", "gpu": "L4", "price": 1.0, "quota": 4}


def problem(**fields):
    given = {"supplies": (Supply(**SUPPLY),), "demands": (), "profiles": (), "rtt": {}}
    return Problem(**given | fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"supplies": (Supply(**SUPPLY), Supply(**SUPPLY))}, "one id"),
        ({"supplies": (Supply(**SUPPLY | {"price": -1.0}),)}, "a price"),
        ({"supplies": (Supply(**SUPPLY | {"price": float("nan")}),)}, "a price"),
        ({"supplies": (Supply(**SUPPLY | {"quota": -1}),)}, "a quota"),
        ({"supplies": (Supply(**SUPPLY, available=2.0),)}, "available"),
        ({"demands": (Demand(model="m", area="x", rate=float("nan")),)}, "a demand's rate"),
        ({"demands": (Demand(model="m", area="x", rate=1.0, slo=0.0),)}, "slo"),
        ({"profiles": (Profile(model="m", gpu="L4", rates={"": 0.0}),)}, "a profile's rates"),
        ({"profiles": (Profile(model="m", gpu="L4", rates={}),) * 2}, "two profiles"),
        ({"loss_floor": 1.5}, "loss_floor"),
        ({"horizon": 0.0}, "horizon"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, message):
    with pytest.raises(InvalidArgument, match=message):
        problem(**fields)


def test_what_can_be_had_is_whole_machines():
    assert Supply(**SUPPLY | {"quota": 5, "count": 8}, available=0.5).gpus == 16
    assert Supply(**SUPPLY).fails == "p/r"


def test_the_gap_is_a_share_of_the_cost():
    plan = Plan(
        replicas={}, flows={}, unserved={}, costs=Costs(machines=4.0), bound=3.0, prices={}, rented={}, seconds=0.0
    )
    assert (plan.cost, plan.gap) == (4.0, 0.25)
