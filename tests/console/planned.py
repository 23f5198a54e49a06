"""Plans for the pages: one before, one that is current without a region, one that is proposed."""

import msgspec

from argosy.spec.placement import DeclaredDemand, DeclaredModel, DeclaredProfile, DeclaredSupply, PlacementFile
from argosy.spec.plan import Alternative, KeptPlan, MadePlan, PlannedReplicas, RentedSupply, Unserved
from argosy.store.database import Database
from argosy.store.ledger import Cause
from argosy.store.plans import Plans

FILE = PlacementFile(
    models={"fraud": DeclaredModel(profiles=(DeclaredProfile(gpu="L4", rates=3.0),))},
    demand=(DeclaredDemand(model="fraud", area="us", rate=9.0),),
    rtt={"us": {"oregon": 0.02}},
    supply=(DeclaredSupply(provider="aws", region="oregon", gpu="L4", price=0.8, quota=8),),
)


def planned(database: Database, now: float, hostile: str) -> Plans:
    """What the pages read."""
    store = Plans(database)
    l4, a10, h100 = (
        ("fraud", "", "aws/oregon/L4"),
        ("fraud", "", "aws/oregon/A10G"),
        ("fraud", hostile, "neb/no/H100/spot"),
    )
    reasons = (
        Alternative(place=l4, replicas=3, dearer=31.2, instead=((a10, 3),)),
        Alternative(place=h100, replicas=1, dearer=0.0, unserved=4.5),
    )
    placements = (
        PlannedReplicas(model="fraud", variant="", supply=l4[2], region="west", replicas=3, hourly=2.4, share=0.75),
        PlannedReplicas(
            model="fraud", variant=hostile, supply=h100[2], region="east", replicas=1, hourly=1.25, share=0.25
        ),
    )
    made = MadePlan(
        cost=3.65,
        bound=3.6,
        gap=0.0137,
        seconds=0.4,
        kept=False,
        costs={"machines": 3.65, "starts": 0.0, "network": 0.0, "unserved": 0.0, "reserve": 0.0},
        placements=placements,
        unserved=(Unserved(demand=f"{hostile} from us, 2/s", model="fraud", rate=2.0),),
        reasons=reasons,
        rates=(9.0,),
        prices={"aws/oregon/L4": 0.8},
        regions=("west", "east"),
        rented=(
            RentedSupply(supply=l4[2], unit="gpu", count=3, hourly=2.4, unused=0.0),
            RentedSupply(
                supply=h100[2], unit="machine", count=1, hourly=2.5, unused=1.25, cuts=((("3g.40gb", hostile), 1),)
            ),
        ),
    )
    plan = KeptPlan(number=0, made=now - 3600, state="current", why="argosy place", plan=made, numbers={})
    store.keep(FILE, plan, Cause(actor="ann"))
    left = (msgspec.structs.replace(placements[0], region="south"),)
    plan = msgspec.structs.replace(plan, made=now - 60, why="without south", without=("south",), left=left)
    store.keep(FILE, plan, Cause(actor="the platform"))
    plan = msgspec.structs.replace(
        plan, made=now, state="proposed", without=(), left=(), why="south is back", note=hostile
    )
    store.keep(FILE, plan, Cause(actor="the platform"))
    return store
