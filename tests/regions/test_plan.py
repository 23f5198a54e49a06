"""What each region is to have."""

import hashlib

import msgspec
import pytest

from argosy.regions import plan
from argosy.regions.wire import PlacedEndpoint, RegionEndpoint
from argosy.spec.endpoint import Endpoint
from argosy.spec.region import Peer
from argosy.spec.scaling import Scaling
from argosy.store.keys import KeyRecord

ALL = ("east", "west", "south")


def wanted(number: int = 1, regions: tuple[str, ...] = ALL, **more: object) -> PlacedEndpoint:
    ref = f"digits:{number}"
    endpoint = Endpoint(name="digits", model=ref, regions=regions, **{"replicas": 2} | more)
    return PlacedEndpoint(endpoint=endpoint, packages={ref: f"sha256:{number}"})


def at(placed: PlacedEndpoint, replicas: int = 2, **more: object) -> dict[str, RegionEndpoint]:
    """A region that serves this."""
    placed = msgspec.structs.replace(placed, endpoint=msgspec.structs.replace(placed.endpoint, replicas=replicas))
    found = RegionEndpoint(placed=placed, state="ready", replicas=replicas, ready=replicas, settled=True)
    return {"digits": msgspec.structs.replace(found, **more)}


def test_the_first_region_gets_a_change_at_once_and_the_others_once_it_serves_there():
    old, new = wanted(1), wanted(2)
    before = dict.fromkeys(ALL, at(old))

    def gets(reports):
        return {each: plan.placed(new, each, "east", {}, (), reports).ref for each in ALL}

    assert gets(before) == {"east": "digits:2", "west": "digits:1", "south": "digits:1"}
    for lead in (at(new, settled=False), at(new, ready=1), at(new, state="failed"), at(new, problem="refused")):
        assert gets(before | {"east": lead}) == gets(before)
    assert set(gets(before | {"east": at(new)}).values()) == {"digits:2"}


def test_a_new_endpoint_begins_in_one_region():
    assert plan.placed(wanted(), "west", "east", {}, (), {}) is None
    assert plan.placed(wanted(), "east", "east", {}, (), {}) is not None
    assert plan.placed(wanted(), "west", "east", {}, (), {"east": at(wanted())}) is not None
    assert plan.placed(wanted(regions=("east",)), "west", "east", {}, (), {}) is None


@pytest.mark.parametrize(
    ("own", "draining", "begins"),
    [("east", (), "east"), ("", (), "east"), ("south", (), "south"), ("east", ("east",), "west")],
)
def test_a_change_begins_at_the_holder_or_at_the_first_that_does_not_drain(own, draining, begins):
    assert plan.first(ALL, own, draining) == begins


def test_replicas_alone_wait_for_nobody_and_those_of_the_plan_come_first():
    reports = dict.fromkeys(ALL, at(wanted()))
    more = wanted(replicas=5)
    assert plan.placed(more, "west", "east", {}, (), reports).endpoint.replicas == 5
    assert plan.placed(more, "west", "east", {("digits", "west"): 0}, (), reports).endpoint.replicas == 0


def test_a_region_that_drains_gives_up_once_the_others_have_its_part():
    draining = {"west"}

    def many(reports):
        return {each: plan.placed(wanted(), each, "east", {}, draining, reports).endpoint.replicas for each in ALL}

    before = dict.fromkeys(ALL, at(wanted()))
    assert many(before) == {"east": 3, "west": 2, "south": 3}
    told = before | {"east": at(wanted(), 3), "south": at(wanted(), 3, ready=2)}
    assert many(told)["west"] == 2
    assert many(told | {"south": at(wanted(), 3)})["west"] == 0
    assert many(told | {"west": at(wanted(), 0)})["west"] == 0, "what it has given up it does not take back"


def test_a_region_that_drains_goes_on_where_there_is_no_other():
    alone = wanted(regions=("west",))
    assert plan.placed(alone, "west", "east", {}, {"west"}, {"west": at(alone)}).endpoint.replicas == 2


def test_bounds_grow_by_the_part_of_a_region_that_drains():
    scaled = wanted(replicas=Scaling(min=1, max=5), regions=("east", "west"))
    assert plan.replicas(scaled.endpoint, "east", {}, {"west"}) == Scaling(min=2, max=10)


def key(*scopes: str, **more: str) -> KeyRecord:
    return KeyRecord(id="1", name="n", scopes=scopes, created="", hash=hashlib.sha256(b"k").hexdigest(), **more)


def test_keys_open_what_is_placed_and_nothing_else():
    found = plan.keys([key("*"), key("digits:test", "other"), key("other"), key("*", revoked="now")], {"digits", "b"})
    assert [each.scopes for each in found] == [("b", "digits"), ("digits:test",)]


def test_two_regions_have_one_secret_and_every_pair_another():
    gateways = {each: Peer(region=each, host="127.0.0.1", port=1) for each in ALL}
    tokens = {each: each * 9 for each in ALL}
    found = {each: {peer.region: peer.token for peer in plan.peers(gateways, tokens, each)} for each in ALL}
    assert [sorted(each) for each in found.values()] == [["south", "west"], ["east", "south"], ["east", "west"]]
    assert all(found[one][two] == found[two][one] for one in ALL for two in found[one])
    assert len({token for each in found.values() for token in each.values()}) == 3
