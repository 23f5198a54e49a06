"""The plan is made again: two regions as stand-ins, a clock that is set, and the real planner in this process."""

import asyncio

import msgspec
import pytest

from argosy.capacity.planner.declared import problem
from argosy.regions.placing import make, numbers, remade
from argosy.regions.replan import LOOK, PRICES, Replanner, Seen, absent
from argosy.spec.offer import Offer
from argosy.spec.placement import PlacementFile, Replan
from argosy.spec.plan import KeptPlan
from argosy.spec.strict import load_yaml
from argosy.store.ledger import Cause
from argosy.store.plans import Plans, plans_table
from argosy.store.regions import Region
from tests.regions.test_holder import Bed as Regions
from tests.regions.test_holder import StandIn
from tests.regions.test_holder import bed as regions

pytest.importorskip("highspy")
__all__ = ["regions"]

FILE = load_yaml(
    """
models: {a: {profiles: [{gpu: L4, rates: 3, start: 180}]}}
demand:
  - {model: a, area: us, rate: 9}
  - {model: a, area: eu, rate: 1, regions: [ireland]}
rtt: {us: {oregon: 0.02, ireland: 0.14}, eu: {oregon: 0.14, ireland: 0.02}}
supply:
  - {provider: aws, region: oregon, gpu: L4, price: 0.8, quota: 8}
  - {provider: aws, region: ireland, gpu: L4, price: 1.0, quota: 8}
regions: {oregon: west, ireland: east}
replan: {apply: true, settle: 60}
""",
    PlacementFile,
    "plan",
)
BOTH = {"west": {"a": 3}, "east": {"a": 1}}


class Platform:
    """What the holder's platform knows; `solved` counts the plans that were made."""

    def __init__(self) -> None:
        self.solved, self.rate, self.offered, self.declares = 0, 0.0, list[Offer](), ("west", "east")

    def endpoints(self):
        return {"a": self.declares}

    def rates(self, endpoint):
        return self.rate, 0.0

    def offers(self):
        return self.offered

    def solve(self, job):
        self.solved += 1
        return remade(job)

    def close(self):
        raise AssertionError


class Bed:
    """A holder whose current plan has been applied."""

    def __init__(self, regions: Regions) -> None:
        self.regions, self.holder, self.here = regions, regions.holder, Platform()
        self.store = Plans(regions.store.database)
        self.told: list[tuple[str, str]] = []
        self.holder.tell = lambda source, endpoint, found: self.told.extend((endpoint, each.title) for each in found)
        regions.here.declare("a", "west", "east")
        self.begin()
        self.passes(10)

    def begin(self) -> None:
        self.replanner = Replanner(self.store, self.holder, self.here, clock=lambda: self.regions.now)

    def apply(self, file: PlacementFile = FILE) -> None:
        plan = make(file, problem(file, self.here.offered), seconds=5.0, explained=False)
        given = numbers(file, plan, self.here.endpoints())
        kept = KeptPlan(number=0, made=self.regions.now, state="current", why="asked", plan=plan, numbers=given)
        self.store.keep(file, kept, Cause(actor="ann"))

    def passes(self, seconds: float) -> None:
        """The holder hears its regions, and the plan is looked at."""
        until = self.regions.now + seconds
        while self.regions.now < until:
            self.regions.passes(1)
            asyncio.run(self.replanner.step())

    @property
    def placed(self):
        found: dict[str, dict[str, object]] = {}
        for (endpoint, region), replicas in self.regions.store.placements().items():
            found.setdefault(region, {})[endpoint] = replicas
        return found

    @property
    def whys(self) -> list[str]:
        return [each.why for each in reversed(self.store.every())]


@pytest.fixture
def bed(regions):
    return Bed(regions)


def test_the_demand_of_a_lost_region_is_served_elsewhere_until_it_is_back_for_long_enough(bed):
    bed.apply()
    assert bed.placed == BOTH
    bed.regions.regions["west"].cut = True
    bed.passes(50)
    assert bed.placed == BOTH
    bed.passes(20)
    assert bed.placed == {"west": {"a": 3}, "east": {"a": 4}}, "it may serve on, and keeps its number"
    current, proposed = bed.store.open()
    assert (current.why, current.without, proposed) == ("without west", ("west",), None)
    assert [(each.region, each.replicas) for each in current.left] == [("west", 3)]
    assert [each.replicas for each in current.plan.placements] == [4]
    shares = [each.tokens or 0 for each in bed.regions.regions.values()]
    assert min(shares) > 0
    assert sum(shares) <= 900, "both sides go on, and spend nothing twice"
    assert current.plan.reasons[0].unserved == pytest.approx(10.0), "nothing else could serve it"
    bed.regions.regions["west"].cut = False
    bed.passes(110)
    assert bed.placed["east"] == {"a": 4}
    bed.passes(20)
    assert bed.placed == BOTH
    assert bed.whys == ["asked", "without west", "west is back"]
    assert bed.here.solved == 2


@pytest.mark.slow
def test_a_region_that_flaps_moves_nothing_and_one_that_was_lost_often_returns_late(bed):
    bed.apply()
    for _ in range(5):
        bed.regions.regions["west"].cut = True
        bed.passes(40)
        bed.regions.regions["west"].cut = False
        bed.passes(10)
    assert bed.here.solved == 0
    for doublings in (1, 2):
        bed.regions.regions["west"].cut = True
        bed.passes(70)
        assert bed.placed["east"] == {"a": 4}
        bed.regions.regions["west"].cut = False
        bed.passes(60 * 2**doublings - 10)
        assert bed.placed["east"] == {"a": 4}
        bed.passes(20)
        assert bed.placed == BOTH


def test_residency_is_never_crossed_and_what_cannot_be_served_is_told(bed):
    bed.apply()
    bed.regions.regions["east"].cut = True
    bed.passes(80)
    assert bed.placed == BOTH
    current, _ = bed.store.open()
    assert [(each.demand, each.rate) for each in current.plan.unserved] == [("a from eu, 1/s", 1.0)]
    assert ("a", "the plan leaves requests unserved") in bed.told


def test_nothing_goes_where_its_endpoint_does_not_declare_the_region(bed):
    bed.apply()
    bed.here.declares = ("west",)
    bed.regions.regions["east"].cut = True
    bed.passes(80)
    assert bed.store.open()[0].numbers == {"west": {"a": 3}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("replan", "note"),
    [
        (Replan(), "does not set replan.apply"),
        (Replan(apply=True, budget=3.9), "it costs 4.0"),
        (Replan(apply=True, budget=4.1), ""),
    ],
    ids=["no consent", "over the budget", "within the budget"],
)
def test_what_is_not_agreed_to_is_only_proposed_and_withdrawn_when_it_is_over(bed, replan, note):
    bed.apply(msgspec.structs.replace(FILE, replan=replan))
    bed.regions.regions["west"].cut = True
    bed.passes(70)
    current, proposed = bed.store.open()
    if not note:
        assert (current.number, proposed) == (2, None)
        return
    assert (current.number, proposed.number, proposed.numbers) == (1, 2, {"east": {"a": 4}})
    assert note in proposed.note
    assert bed.placed == BOTH
    bed.passes(100)
    assert bed.here.solved == 1
    assert ("a", "another plan waits to be applied") in bed.told
    bed.regions.regions["west"].cut = False
    bed.passes(130)
    assert bed.store.open() == (current, None)


@pytest.mark.slow
def test_a_region_that_drains_gets_0_once_it_has_given_up_its_replicas(bed):
    bed.apply()
    bed.regions.store.drain("west", True, Cause())
    bed.passes(80)
    assert bed.store.open()[0].without == ("west",)
    assert bed.placed == {"west": {"a": 0}, "east": {"a": 4}}
    bed.regions.store.drain("west", False, Cause())
    bed.passes(130)
    assert bed.placed == BOTH


@pytest.mark.slow
def test_demand_and_prices_that_change_for_long_enough_make_another_plan(bed):
    demand = tuple(msgspec.structs.replace(each, rate=None, share=0.5) for each in FILE.demand)
    quotas = [{"quota": 8}]
    built = msgspec.to_builtins(FILE) | {"supply": [], "offers": "platform", "quotas": quotas}
    file = msgspec.structs.replace(msgspec.convert(built, PlacementFile), demand=demand)
    offer = Offer(provider="aws", region="oregon", instance="i", price=0.8, gpu="L4", count=1)
    bed.here.offered = [offer, msgspec.structs.replace(offer, region="ireland", price=1.0)]
    bed.here.rate = 6.0
    bed.apply(msgspec.structs.replace(file, demand=tuple(msgspec.structs.replace(each, rate=3.0) for each in demand)))
    with bed.store.database.begin() as connection:
        connection.execute(plans_table.update().values(declared=msgspec.json.encode(file).decode()))
    assert bed.placed == {"west": {"a": 1}, "east": {"a": 1}}
    bed.passes(2 * LOOK)
    assert bed.here.solved == 0
    bed.here.rate = 24.0
    bed.passes(3 * LOOK)
    assert bed.placed == {"west": {"a": 4}, "east": {"a": 4}}
    bed.here.offered[0] = msgspec.structs.replace(offer, price=2.0)
    bed.passes(PRICES + 2 * LOOK)
    assert bed.placed == {"west": {"a": 0}, "east": {"a": 8}}
    assert bed.whys[1:] == ["demand or prices have changed"] * 2
    solved = bed.here.solved
    bed.here.offered[1] = msgspec.structs.replace(bed.here.offered[1], price=1.3)
    bed.passes(PRICES + 5 * LOOK)
    assert bed.here.solved == solved + 1, "what is kept is not weighed again and again"
    bed.begin()
    bed.passes(3 * LOOK)
    assert len(bed.whys) == 3


@pytest.mark.slow
def test_where_most_regions_are_silent_at_once_the_holder_is_rather_cut_off(bed):
    bed.regions.regions["south"] = StandIn("south")
    bed.regions.store.add(Region(name="south", url="https://127.0.0.2", token="south"), Cause())
    bed.here.declares = ("west", "east", "south")
    bed.regions.here.declare("a", *bed.here.declares)
    built = msgspec.to_builtins(FILE)
    built["supply"] = [*built["supply"], built["supply"][0] | {"region": "south", "price": 0.9}]
    built["rtt"]["us"]["south"] = 0.02
    bed.apply(msgspec.convert(built, PlacementFile))
    bed.passes(10)
    for name in ("west", "south"):
        bed.regions.regions[name].cut = True
    bed.passes(80)
    current, proposed = bed.store.open()
    assert (current.number, proposed.without) == (1, ("south", "west"))
    assert "2 of 3 regions are silent: rather this platform is cut off" in proposed.note
    bed.regions.regions["south"].cut = False
    bed.passes(130)
    current, proposed = bed.store.open()
    assert (current.without, proposed) == (("west",), None)
    assert bed.placed["south"] == {"a": 3}


def test_a_region_leaves_and_returns_when_it_has_been_so_for_long_enough():
    seen = {name: Seen(True, 0.0) for name in ("a", "b", "c")}
    assert absent("abc", ("a",), {**seen, "b": Seen(False, 0.0)}, 59.0, 60.0, {}) == ("a",)
    assert absent("abc", ("a",), {**seen, "b": Seen(False, 0.0)}, 60.0, 60.0, {}) == ("a", "b")
    assert absent("abc", ("a",), seen, 120.0, 60.0, {"a": 1}) == ()
    assert absent("abc", ("a",), seen, 239.0, 60.0, {"a": 2}) == ("a",)
    assert absent("abc", ("a",), {}, 1e9, 60.0, {}) == ("a",)
