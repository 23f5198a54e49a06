"""Hosts that are evicted: what is told to targets, whose machine goes, what is offered no more."""

import pytest

from argosy.spec.errors import NotFound
from argosy.spec.supply import SupplySettings
from argosy.store import hosts
from argosy.supply import offers
from argosy.supply.evictions import Evictions
from tests.supply.conftest import OFFER, scene

__all__ = ["scene"]


class Target:
    """Has replicas on hosts; `told` are the hosts that it was last told of."""

    def __init__(self):
        self.there, self.told = {}, None

    async def vacate(self, names):
        self.told = {*names}
        return {name: self.there.get(name, 0) for name in names}


@pytest.fixture
def target():
    return Target()


async def test_an_evicted_host_is_emptied_then_its_machine_goes_and_is_offered_no_more(scene, target):
    it = scene()
    launch = it.launcher.request(OFFER, token="one")
    it.rounds(20)
    host = it.stands(launch).machine
    it.launches.move(launch.id, ("ready",), address="10.0.0.1")
    made = Evictions(it.launcher, [target.vacate], lambda each: False, it.clock)
    await made.turn()
    assert target.told == set(), "what an earlier platform said is taken back"
    found = made.evict(host, "it lies")
    assert made.evict(host, "again") == found
    assert {host, "10.0.0.1"} == {*found.names}
    target.there = {"10.0.0.1": 2}
    await made.turn()
    assert it.stands(launch).state == "ready", "its replicas have not moved"
    target.there = {}
    await made.turn()
    assert (it.stands(launch).state, it.stands(launch).reason) == ("ending", "evicted: it lies")
    assert await made.vacate(["other"]) == {"other": 0, host: 0, "10.0.0.1": 0}, "groups ask through it"

    made.evict(OFFER.instance, "by hand")
    assert offers.every(it.database, SupplySettings(), [it.cloud]) == []
    hosts.allow(it.database, OFFER.instance, None)
    assert offers.every(it.database, SupplySettings(), [it.cloud])
    hosts.allow(it.database, host, None)
    await made.vacate([])
    await made.turn()
    assert target.told == set()
    with pytest.raises(NotFound, match="no host"):
        hosts.allow(it.database, host, None)


async def test_a_machine_of_a_group_leaves_as_its_group_has_it(scene, target):
    it = scene()
    launch = it.launcher.request(OFFER, token="one")
    it.rounds(20)
    made = Evictions(it.launcher, [target.vacate], lambda each: each.id == launch.id, it.clock)
    made.evict(it.stands(launch).machine, "it lies")
    await made.turn()
    await made.turn()
    assert (it.stands(launch).state, it.stands(launch).reason) == ("ready", "evicted: it lies")
