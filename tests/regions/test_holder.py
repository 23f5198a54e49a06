"""The holder of a plan, its regions stand-ins."""

import asyncio
import hashlib
import threading
from collections.abc import Iterable

import msgspec
import pytest

from argosy.regions.holder import Holder, RegionState
from argosy.regions.peers import peer_at
from argosy.regions.shares import LEASE
from argosy.regions.wire import PlacedEndpoint, RegionEndpoint, RegionOrder, RegionReport
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.spec.language import TokenLimits
from argosy.store.database import Database
from argosy.store.keys import KeyRecord
from argosy.store.ledger import Cause
from argosy.store.regions import Region, RegionStore

NOW = 1_800_000_000.0
LIMITED = KeyRecord(
    id="k1",
    name="n",
    scopes=("*",),
    created="",
    hash=hashlib.sha256(b"k").hexdigest(),
    limits=TokenLimits(tokens_per_month=900),
)


class StandIn:
    """A region that does at once what it is told."""

    def __init__(self, name: str) -> None:
        self.name, self.cut = name, False
        self.order_ = RegionOrder(holder="", term=0, region=name)
        self.sent: list[str] = []

    def report(self) -> RegionReport:
        if self.cut:
            raise Unavailable(f"nothing answers at {self.name}")
        endpoints = {
            each.endpoint.name: RegionEndpoint(
                placed=each, state="ready", settled=True, replicas=each.endpoint.replicas, ready=each.endpoint.replicas
            )
            for each in self.order_.endpoints
            if each.ref in self.sent
        }
        missing = {each.ref: each.packages[each.ref] for each in self.order_.endpoints if each.ref not in self.sent}
        return RegionReport(
            region=self.name,
            version="0",
            now=NOW,
            holder=self.order_.holder,
            gateway="http://127.0.0.1:1",
            endpoints=endpoints,
            missing=missing,
        )

    def order(self, order: RegionOrder) -> RegionReport:
        if not self.cut:
            self.order_ = order
        return self.report()

    def send(self, ref: str, digest: str) -> None:
        self.sent.append(ref)

    def leave(self, holder: str) -> None:
        self.order_ = RegionOrder(holder="", term=0, region=self.name)

    @property
    def tokens(self) -> int | None:
        """The share of the month that it was told."""
        return next((each.limits.tokens_per_month for each in self.order_.keys if each.limits), None)


class Here:
    """The holder's own platform, where nothing is declared to run."""

    def __init__(self) -> None:
        self.endpoints: list[PlacedEndpoint] = []

    def declare(self, name: str, *regions: str, number: int = 1) -> None:
        ref = f"{name}:{number}"
        endpoint = Endpoint(name=name, model=ref, regions=regions)
        self.endpoints = [each for each in self.endpoints if each.endpoint.name != name]
        self.endpoints.append(PlacedEndpoint(endpoint=endpoint, packages={ref: "sha256:" + "0" * 64}))

    def declared(self):
        return [(each, 1) for each in self.endpoints]

    def keys(self):
        return [LIMITED]

    def spent(self, keys: Iterable[str]):
        return {}

    def status(self):
        return {}

    def gateway(self) -> str:
        return ""

    def hourly(self):
        return {}


class Bed:
    """A holder with two regions and a clock that is set."""

    def __init__(self, database: Database) -> None:
        self.now, self.here, self.store = NOW, Here(), RegionStore(database)
        self.regions = {name: StandIn(name) for name in ("east", "west")}
        for number, name in enumerate(self.regions, start=2):
            self.store.add(Region(name=name, url=f"https://127.0.0.{number}", token=name), Cause())
        self.holder = self.begin()

    def begin(self, term: int = 1) -> Holder:
        made = Holder(
            self.store,
            self.here,
            lambda region: self.regions[region.name],
            own="",
            token="",
            holder="h",
            term=term,
            clock=lambda: self.now,
        )
        made.load()
        made.budgets.load()
        return made

    def passes(self, count: int) -> None:
        for _ in range(count):
            asyncio.run(self.holder.step())
            self.now += 2

    def has(self, name: str) -> dict[str, str]:
        return {each.endpoint.name: each.ref for each in self.regions[name].order_.endpoints}


@pytest.fixture
def bed(tmp_path, monkeypatch):
    monkeypatch.setattr("argosy.regions.holder.EVERY", 60.0)
    database = Database(tmp_path / "db")
    yield Bed(database)
    database.close()


def test_packages_are_sent_and_a_change_goes_from_region_to_region(bed):
    bed.here.declare("a", "west", "east")
    bed.passes(2)
    assert (bed.has("west"), bed.has("east")) == ({"a": "a:1"}, {})
    bed.passes(4)
    assert bed.has("east") == {"a": "a:1"}
    assert bed.regions["east"].sent == ["a:1"]
    bed.here.declare("a", "west", "east", number=2)
    bed.regions["west"].cut = True
    bed.passes(3)
    assert bed.has("east") == {"a": "a:1"}, "nobody has judged the new one"
    bed.regions["west"].cut = False
    bed.passes(5)
    assert (bed.has("west"), bed.has("east")) == ({"a": "a:2"}, {"a": "a:2"})


def test_a_region_on_a_machine_that_will_go_is_drained(bed):
    bed.here.declare("a", "west", "east")
    bed.passes(6)
    assert asyncio.run(bed.holder.vacate({"127.0.0.3", "127.0.0.9"})) == {"127.0.0.3": 1, "127.0.0.9": 0}
    bed.passes(6)
    assert bed.store.every()[1].draining
    assert not bed.store.every()[0].draining
    assert asyncio.run(bed.holder.vacate({"127.0.0.3"})) == {"127.0.0.3": 0}
    (placed,) = bed.regions["west"].order_.endpoints
    assert placed.endpoint.replicas == 0


def test_peers_are_in_the_order_of_what_a_replica_costs_there(bed):
    def hears(name: str, ready: int, hourly: float) -> None:
        at = RegionEndpoint(placed=bed.here.endpoints[0], ready=ready, hourly=hourly)
        report = RegionReport(region=name, version="1", now=NOW, gateway="http://127.0.0.1:80", endpoints={"a": at})
        bed.holder.states[name] = RegionState(heard=NOW, report=report)

    def ranks() -> dict[str, float]:
        return {name: peer.rank for name, peer in bed.holder.gateways(bed.here.endpoints).items()}

    bed.here.declare("a", "west", "east")
    hears("west", 4, 2.0)
    hears("east", 1, 0.75)
    assert ranks() == {"west": 0.5, "east": 0.75}
    hears("east", 0, 0.0)
    assert ranks()["east"] == 0.75, "what has no replica now is not cheap"


def test_a_package_that_cannot_be_sent_is_tried_again_a_minute_later_and_orders_go_on(bed):
    bed.here.declare("a", "west")
    west = bed.regions["west"]
    tries: list[float] = []

    def refuse(ref: str, digest: str) -> None:
        tries.append(bed.now)
        raise Unavailable("no space left")

    west.send = refuse
    bed.passes(10)
    assert (len(tries), bed.holder.states["west"].unsent, bed.holder.states["west"].problem) == (
        1,
        {"a:1": "no space left"},
        "",
    )
    bed.here.declare("b", "west")
    bed.passes(2)
    assert set(bed.has("west")) == {"a", "b"}
    bed.now += 60
    bed.passes(1)
    assert len(tries) > 1


async def test_a_region_that_is_slow_delays_no_other(bed, monkeypatch):
    monkeypatch.setattr("argosy.regions.holder.EVERY", 0.05)
    answer = threading.Event()
    bed.regions["west"].report, west = lambda: answer.wait(60) and west(), bed.regions["west"].report
    bed.here.declare("a", "east")
    try:
        async with asyncio.timeout(60):
            while bed.has("east") != {"a": "a:1"}:
                await bed.holder.step()
        assert bed.holder.states["west"].report is None
    finally:
        answer.set()
    async with asyncio.timeout(60):
        while bed.holder.states["west"].report is None:
            await bed.holder.step()


def test_a_region_that_is_not_heard_for_a_minute_is_an_incident_of_its_endpoints(bed):
    told: list[tuple[str, str, list[str]]] = []
    bed.holder.tell = lambda source, name, found: told.append((source, name, [each.title for each in found]))
    bed.here.declare("a", "west")
    bed.passes(4)
    bed.regions["west"].cut = True
    bed.passes(20)
    assert told == [("regions", "a", [])]
    bed.passes(20)
    assert told[1:] == [("regions", "a", ["region west is not heard"])]
    bed.regions["west"].cut = False
    bed.passes(2)
    assert told[2:] == [("regions", "a", [])]


def test_what_is_declared_no_more_goes_where_it_is_heard(bed):
    bed.here.declare("a", "west", "east")
    bed.passes(6)
    bed.here.endpoints = []
    bed.regions["west"].cut = True
    bed.passes(2)
    assert (bed.has("west"), bed.has("east")) == ({"a": "a:1"}, {})
    bed.regions["west"].cut = False
    bed.passes(1)
    assert bed.has("west") == {}


def test_shares_are_never_more_than_the_limit_over_a_partition_and_a_new_holder(bed):
    bed.here.declare("a", "west", "east")
    for name in bed.regions:
        bed.regions[name].sent = ["a:1"]
    bed.passes(8)

    def shares():
        own = bed.holder.budgets.of("", [LIMITED])[0].limits.tokens_per_month
        return [own, bed.regions["east"].tokens, bed.regions["west"].tokens]

    assert shares() == [300, 300, 300]
    bed.regions["west"].cut = True
    bed.holder = bed.begin(term=2)
    assert sum(shares()) <= 900, "before its first pass"
    bed.passes(8)
    assert shares() == [300, 300, 300], "west may be spending its share"
    bed.now += LEASE
    bed.passes(2)
    assert shares()[2] == 300
    bed.now += 40 * 86400
    bed.passes(6)
    assert sum(shares()[:2]) == 900, "its lease is over, and so is the month"


def test_a_region_that_is_removed_leaves_its_share_to_the_others_in_the_next_period(bed):
    bed.here.declare("a", "west", "east")
    for name in bed.regions:
        bed.regions[name].sent = ["a:1"]
    bed.passes(8)
    bed.store.remove("west", Cause())
    bed.passes(8)
    assert bed.holder.budgets.of("", [LIMITED])[0].limits.tokens_per_month + bed.regions["east"].tokens <= 600
    bed.now += 40 * 86400
    bed.passes(8)
    assert bed.holder.budgets.of("", [LIMITED])[0].limits.tokens_per_month + bed.regions["east"].tokens == 900


def test_a_region_of_another_holder_or_name_is_not_taken(bed):
    region = Region(name="east", url="https://east", token="")
    bed.regions["east"].order_ = msgspec.structs.replace(bed.regions["east"].order_, holder="other")
    with pytest.raises(InvalidArgument, match="another platform"):
        asyncio.run(bed.holder.greet(region))
    bed.regions["east"].name = "north"
    with pytest.raises(InvalidArgument, match="calls itself 'north'"):
        asyncio.run(bed.holder.greet(region))


def test_endpoints_name_regions_that_there_are(bed):
    with pytest.raises(InvalidArgument, match="no region 'mars'; there are east, west"):
        bed.holder.check(Endpoint(name="a", model="a:1", regions=("east", "mars")))


@pytest.mark.parametrize(
    ("gateway", "control", "host"),
    [
        ("http://0.0.0.0:8080", "https://192.0.2.7:7070", "192.0.2.7"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:7070", "127.0.0.1"),
        ("https://192.0.2.9", "https://192.0.2.7:7070", "192.0.2.9"),
    ],
)
def test_a_gateway_that_says_no_address_is_where_its_control_api_is(gateway, control, host):
    found = peer_at("west", gateway, control, ())
    assert (found.host, found.port) == (host, 443 if gateway.startswith("https") else 8080)
