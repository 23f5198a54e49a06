"""Nodes of Kubernetes as supply: with nodes that are acted, and claims at a real API server."""

import time
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from argosy.spec.errors import Conflict, NotFound
from argosy.spec.offer import Launch
from argosy.spec.provider import KubernetesProvider
from argosy.spec.settings import KubernetesSettings
from argosy.supply.kubernetes import LAUNCH, KubernetesNodes, quantity
from tests.kubernetes.plane import Plane

SETTINGS = KubernetesProvider(selector="pool=gpu", prices={"g5.xlarge": 1.0, "*": 0.2})
LABELS = {
    "pool": "gpu",
    "node.kubernetes.io/instance-type": "g5.xlarge",
    "topology.kubernetes.io/region": "eu-west-1",
    "topology.kubernetes.io/zone": "eu-west-1a",
    "nvidia.com/gpu.product": "NVIDIA-A10G",
    "nvidia.com/gpu.memory": "23028",
    "eks.amazonaws.com/capacityType": "SPOT",
}
STATUS = {
    "allocatable": {"cpu": "3920m", "memory": "15Gi", "nvidia.com/gpu": "1"},
    "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.7"}],
    "conditions": [{"type": "Ready", "status": "True"}],
}


def node(name: str = "n1", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"u-{name}", "labels": LABELS}, "status": STATUS, **more}


class Acted(KubernetesNodes):
    """Nodes in memory, with the rules of server-side apply that matter."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        super().__init__("k8s", SETTINGS, KubernetesSettings())
        self.there = {each["metadata"]["name"]: each for each in nodes}
        self.managers: dict[str, str] = {}

    def _nodes(self):
        return list(self.there.values())

    def _apply(self, node, manager, annotations):
        found = self.there[node["metadata"]["name"]]["metadata"]
        if annotations and self.managers.setdefault(found["name"], manager) != manager:
            raise Conflict("another manager has it")
        if not annotations and self.managers.pop(found["name"], "") == manager:
            found.pop("annotations")
        elif annotations:
            found["annotations"] = annotations
        return self.there[found["name"]]


def test_an_offer_is_what_a_node_says_of_itself():
    (offer,) = Acted(node()).offers()
    assert (offer.region, offer.zone, offer.instance, offer.price) == ("eu-west-1", "eu-west-1a", "n1", 1.0)
    assert (offer.gpu, offer.count, offer.gpu_memory, offer.market) == ("A10G", 1, 23028 * 2**20, "spot")
    assert (offer.cpus, offer.memory) == (3.92, 15 * 2**30)


def test_nodes_that_take_nothing_offer_nothing():
    away = {**STATUS, "conditions": [{"type": "Ready", "status": "Unknown"}]}
    bare = {"metadata": {"name": "n3", "uid": "u"}}
    provider = Acted(node("n1", spec={"unschedulable": True}), node("n2", status=away), bare)
    assert provider.offers() == []


def test_a_node_is_claimed_once_and_given_back():
    provider = Acted(node())
    (offer,) = provider.offers()
    launch = Launch(id="argosy-1-a", offer=offer, asked=1.0)
    ready = provider.launch(launch)
    assert (ready.state, ready.machine, ready.address, ready.price) == ("ready", "n1#argosy-1-a", "10.0.0.7", 1.0)
    assert provider.launch(launch) == ready
    assert (provider.offers(), provider.quota(offer)) == ([], 0)
    other = replace(launch, id="argosy-2-b")
    with pytest.raises(Conflict, match="n1 is claimed by the launch 'argosy-1-a'"):
        provider.launch(other)
    provider.end(other)
    (listed,) = provider.list()
    assert (listed.id, listed.started) == ("argosy-1-a", ready.started)
    provider.there["n1"]["status"] = {}
    assert provider.list()[0].state == "starting"
    provider.end(replace(listed, id=""))
    assert (provider.list(), provider.quota(offer)) == ([], 1)
    with pytest.raises(NotFound, match="has no node 'n9'"):
        provider.launch(replace(launch, offer=replace(offer, instance="n9")))


def test_a_node_that_will_be_taken_gives_notice():
    provider = Acted(node("n1"), node("n2"))
    launch = Launch(id="argosy-1-a", offer=provider.offers()[0], asked=1.0)
    provider.launch(launch)
    assert provider.events() == []
    for each in provider.there.values():
        each["spec"] = {"taints": [{"key": "other"}, {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]}
    (event,) = provider.events()
    assert (event.launch, event.kind, event.deadline) == ("argosy-1-a", "notice", None)


@pytest.mark.parametrize(
    ("text", "number"),
    [("4", 4.0), ("3920m", 3.92), ("16Gi", 16 * 2**30), ("128Ki", 131072.0), ("many", 0.0), ("", 0.0)],
)
def test_quantities(text, number):
    assert quantity(text) == number


@pytest.mark.slow
def test_claims_at_a_real_api_server(kubernetes: Plane):
    pool = kubernetes.namespace()
    client = kubernetes.client()
    _make(client, pool)
    settings = KubernetesSettings(kubeconfig=str(kubernetes.kubeconfig()), namespace=pool)
    provider = KubernetesNodes("k8s", KubernetesProvider(selector=f"pool={pool}", prices={"*": 2.0}), settings)
    try:
        (found,) = provider._nodes()
        offer = provider._offer(found)
        assert offer.price == 2.0
        launch = Launch(id="argosy-1-a", offer=offer, asked=time.time())
        begun = provider.launch(launch)
        assert provider.launch(launch).started == begun.started
        with pytest.raises(Conflict, match=LAUNCH.replace(".", r"\.")):
            provider._apply(found, "argosy-2-b", {LAUNCH: "argosy-2-b@1"})
        assert [each.id for each in provider.list()] == [launch.id]
        provider.end(launch)
        assert provider.list() == []
        client.delete(f"/api/v1/nodes/{pool}").raise_for_status()
        with pytest.raises(Conflict):
            provider._apply(found, launch.id, {LAUNCH: "argosy-1-a@1"})
        assert provider._nodes() == []
    finally:
        client.delete(f"/api/v1/nodes/{pool}")


def _make(client: httpx.Client, pool: str) -> None:
    body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": pool, "labels": {"pool": pool}}}
    client.post("/api/v1/nodes", json=body).raise_for_status()
