"""Nodes of Ray as supply: as a child would tell of them, and on a real cluster."""

import contextlib
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from argosy.spec.errors import Conflict, InvalidArgument, NotFound, Unavailable
from argosy.spec.offer import Launch
from argosy.spec.provider import RayProvider
from argosy.spec.settings import RaySettings
from argosy.supply.ray import NodeState, RayNodes
from tests.batch import nodes

SETTINGS = RayProvider(prices={"accelerator_type:L4": 0.8, "*": 0.1})


class Acted(RayNodes):
    """A cluster in memory."""

    def __init__(self, *nodes: NodeState) -> None:
        super().__init__("ray", SETTINGS, RaySettings(address="10.0.0.1:6379"))
        self.there = {each.address: each for each in nodes}

    def _act(self, what, launch="", node="") -> Sequence[NodeState]:
        for address, each in self.there.items():
            if what == "claim" and address == node and not each.claims:
                self.there[address] = replace(each, claims=(launch,))
            elif what == "end" and launch in each.claims:
                self.there[address] = replace(each, claims=())
        return list(self.there.values())


def test_a_node_is_claimed_once_and_given_back():
    gpu = NodeState(address="10.0.0.2", resources={"CPU": 8.0, "GPU": 1.0, "memory": 2**30, "accelerator_type:L4": 1.0})
    provider = Acted(gpu, NodeState(address="10.0.0.3", resources={"CPU": 4.0}))
    offer, plain = provider.offers()
    assert (offer.instance, offer.price, offer.gpu, offer.count, offer.cpus) == ("10.0.0.2", 0.8, "L4", 1, 8.0)
    assert (plain.price, plain.gpu) == (0.1, "")
    launch = Launch(id="argosy-1-a", offer=offer, asked=1.0)
    ready = provider.launch(launch)
    assert (ready.state, ready.machine, ready.price) == ("ready", "10.0.0.2#argosy-1-a", 0.8)
    assert provider.launch(launch) == ready
    assert provider.quota(offer) == 0
    with pytest.raises(Conflict, match="is claimed by the launch 'argosy-1-a'"):
        provider.launch(replace(launch, id="argosy-2-b"))
    (listed,) = provider.list()
    assert (listed.id, listed.address, listed.offer) == ("argosy-1-a", "10.0.0.2", offer)
    provider.end(replace(listed, id=""))
    assert (provider.list(), provider.quota(offer)) == ([], 1)
    with pytest.raises(NotFound, match=r"has no node '10\.0\.0\.9'"):
        provider.launch(replace(launch, offer=replace(offer, instance="10.0.0.9")))


def test_without_a_cluster_the_setting_is_named():
    with pytest.raises(InvalidArgument, match=r"set ray\.address"):
        RayNodes("ray", SETTINGS, RaySettings())


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_claims_on_a_real_cluster(tmp_path):
    with nodes.running(1, log=tmp_path / "log") as cluster:
        provider = RayNodes("ray", SETTINGS, RaySettings(address=cluster.address))
        with contextlib.closing(provider):
            (offer,) = provider.offers()
            launch = Launch(id="argosy-1-a", offer=offer, asked=1.0)
            assert provider.launch(launch).state == "ready"
            assert [each.id for each in provider.list()] == [launch.id]
            with pytest.raises(Conflict, match="is claimed by the launch 'argosy-1-a'"):
                provider.launch(replace(launch, id="argosy-2-b"))
            provider.end(launch)
            provider.end(launch)
            assert provider.list() == []
    with contextlib.closing(provider), pytest.raises(Unavailable, match="no Ray cluster answers"):
        provider.list()
