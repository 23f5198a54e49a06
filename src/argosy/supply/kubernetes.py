"""The nodes of a Kubernetes cluster as supply. To launch one is to claim it.

The claim is an annotation that is applied with a field manager of the launch's own: of two that want one node the
second is refused by the API server. Needs the right to list and patch nodes, which a Role of a namespace cannot give.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from argosy.spec.errors import Conflict, NotFound
from argosy.spec.offer import Launch, Offer
from argosy.spec.provider import KubernetesProvider
from argosy.spec.settings import KubernetesSettings
from argosy.supply.provider import Event
from argosy.targets.kubernetes.client import Cluster
from argosy.targets.kubernetes.objects import Object

T = TypeVar("T")

LAUNCH = "argosy.dev/launch"
TYPE, REGION, ZONE = "node.kubernetes.io/instance-type", "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
GPUS, PRODUCT, GPU_MEMORY = "nvidia.com/gpu", "nvidia.com/gpu.product", "nvidia.com/gpu.memory"
SPOT = {
    "karpenter.sh/capacity-type": "spot",
    "eks.amazonaws.com/capacityType": "SPOT",
    "cloud.google.com/gke-spot": "true",
    "kubernetes.azure.com/scalesetpriority": "spot",
}
"""Labels by which clusters tell nodes that may be taken back."""
NOTICES = (
    *("aws-node-termination-handler/spot-itn", "aws-node-termination-handler/rebalance-recommendation"),
    *("cloud.google.com/impending-node-termination", "karpenter.sh/disrupted", "karpenter.sh/disruption"),
)
"""Taints of nodes that are taken back soon."""
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


class KubernetesNodes:
    """Nodes with the labels of the settings. The instance of an offer is the name of its node."""

    def __init__(self, name: str, settings: KubernetesProvider, cluster: KubernetesSettings) -> None:
        self.name = name
        self._settings, self._cluster = settings, cluster

    def offers(self) -> Sequence[Offer]:
        return [self._offer(each) for each in self._nodes() if _ready(each) and not _claim(each)]

    def quota(self, offer: Offer) -> int | None:
        return sum(_name(each) == offer.instance and not _claim(each) for each in self._nodes())

    def launch(self, launch: Launch) -> Launch:
        node = next((each for each in self._nodes() if _name(each) == launch.offer.instance), None)
        if node is None:
            raise NotFound(f"{self.name} has no node '{launch.offer.instance[:253]}'")
        held, _, _ = _claim(node).partition("@")
        if held and held != launch.id:
            raise Conflict(f"the node {launch.offer.instance} is claimed by the launch '{held[:63]}'")
        claim = {} if held else {LAUNCH: f"{launch.id}@{time.time():.0f}"}
        return self._launch(node if held else self._apply(node, launch.id, claim), launch)

    def list(self) -> Sequence[Launch]:
        return [
            self._launch(each, Launch(id="", offer=self._offer(each), asked=0.0))
            for each in self._nodes()
            if _claim(each)
        ]

    def end(self, launch: Launch) -> None:
        name = launch.id or launch.machine.partition("#")[2]
        for node in self._nodes():
            if _claim(node).partition("@")[0] == name:
                self._apply(node, name, {})  # what a manager of fields applies no more is taken away

    def events(self) -> Sequence[Event]:
        """A notice for each claimed node that says itself that it will be taken."""
        now = time.time()
        return [
            Event(launch=_claim(each).partition("@")[0], kind="notice", at=now)
            for each in self._nodes()
            if _claim(each) and _leaves(each)
        ]

    def _nodes(self) -> Sequence[Object]:
        return self._with(lambda cluster: cluster.list("v1", "Node", self._settings.selector))

    def _apply(self, node: Object, manager: str, annotations: dict[str, str]) -> Object:
        """With its uid, so that a node which is gone meanwhile is not made again."""
        metadata: Object = {"name": _name(node), "uid": node["metadata"]["uid"], "annotations": annotations}
        obj: Object = {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
        return self._with(lambda cluster: cluster.apply(obj, manager=manager))

    def _with(self, work: Callable[[Cluster], Awaitable[T]]) -> T:
        async def run() -> T:
            cluster = Cluster.of(self._cluster)
            try:
                return await work(cluster)
            finally:
                await cluster.close()

        return asyncio.run(run())

    def _offer(self, node: Object) -> Offer:
        labels, has = _of(node, "metadata", "labels"), _of(node, "status", "allocatable")
        prices, kind = self._settings.prices, labels.get(TYPE, "")
        spot = any(labels.get(label) == value for label, value in SPOT.items())
        return Offer(
            provider=self.name,
            region=labels.get(REGION, ""),
            zone=labels.get(ZONE, ""),
            instance=_name(node),
            price=prices.get(kind, prices.get("*", 0.0)),
            market="spot" if spot else "on_demand",
            gpu=labels.get(PRODUCT, "").removeprefix("NVIDIA-"),
            count=int(has.get(GPUS, 0)),
            gpu_memory=int(quantity(labels.get(GPU_MEMORY, "0"))) * 2**20,
            cpus=quantity(has.get("cpu", "0")),
            memory=int(quantity(has.get("memory", "0"))),
            source="live",
        )

    def _launch(self, node: Object, launch: Launch) -> Launch:
        name, _, at = _claim(node).partition("@")
        addresses: list[dict[str, Any]] = _of(node, "status").get("addresses") or []
        address = next((each["address"] for each in addresses if each.get("type") == "InternalIP"), "")
        since, ready = float(at) if at.isdecimal() else None, _ready(node)
        return Launch(
            id=name,
            offer=launch.offer,
            asked=launch.asked,
            state="ready" if ready else "starting",
            machine=f"{_name(node)}#{name}",
            address=address,
            price=self._offer(node).price,
            started=since,
            ready=since if ready else None,
        )


def quantity(text: str) -> float:
    """A number as Kubernetes writes it: `4`, `3920m`, `16Gi`; 0 for what is none."""
    unit = next((each for each in UNITS if text.endswith(each)), "m" if text.endswith("m") else "")
    try:
        return float(text.removesuffix(unit)) * UNITS.get(unit, 0.001 if unit else 1.0)
    except ValueError:
        return 0.0


def _name(node: Object) -> str:
    return str(node["metadata"]["name"])


def _claim(node: Object) -> str:
    """LAUNCH@SECONDS, empty where nobody has the node."""
    return str(_of(node, "metadata", "annotations").get(LAUNCH, ""))


def _of(node: Object, *path: str) -> Object:
    """An object in a node; empty where there is none."""
    found: Any = node
    for each in path:
        found = found.get(each) or {}
    return found


def _leaves(node: Object) -> bool:
    taints: list[dict[str, Any]] = _of(node, "spec").get("taints") or []
    return any(each.get("key") in NOTICES for each in taints)


def _ready(node: Object) -> bool:
    conditions: list[dict[str, Any]] = _of(node, "status").get("conditions") or []
    serves = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    return serves and not _of(node, "spec").get("unschedulable")
