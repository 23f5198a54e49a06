"""The nodes of a Ray cluster as supply. To launch one is to claim it.

The claim is a detached placement group with the launch's name, which takes most of the resource that stands for the
node, and none of its processors. So a node has room for one, Ray loses it with its node, and every platform sees it.
What speaks to Ray is a child process, which is replaced once it fails: one that is joined to a cluster may hang, or be
ended by Ray.
"""

import os
import threading
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from argosy.batch.cluster import last_line, reach
from argosy.process.child import Child
from argosy.spec.errors import Conflict, InvalidArgument, NotFound, Unavailable, require
from argosy.spec.offer import Launch, Offer
from argosy.spec.provider import RayProvider
from argosy.spec.settings import RaySettings
from argosy.supply.provider import Event
from argosy.supply.sweep import PREFIX

NEED = "a provider of the kind ray"
SECONDS = 60.0
SPACE = "argosy"
SHARE = 0.9
"""Of the resource that stands for a node: there is no room for two claims."""
NODE = "node:"
TYPE = "accelerator_type:"
"""What Ray names a resource that tells which GPU a node has."""


class NodeAsk(msgspec.Struct, frozen=True, kw_only=True):
    """What a child does: `look`, `claim` a node for a launch, or give it back (`end`)."""

    address: str
    what: Literal["look", "claim", "end"]
    launch: str = ""
    node: str = ""


class NodeState(msgspec.Struct, frozen=True, kw_only=True):
    """A node by its address, with the launches whose claims it has."""

    address: str
    resources: dict[str, float]
    claims: tuple[str, ...] = ()


def act(job: NodeAsk) -> list[NodeState]:
    """In a child: do it; the nodes that are alive, as they are then. A node that has a claim gets no other."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray: Any = require("ray", "ray", NEED)
    reach(job.address, "ray.address")
    try:
        if not ray.is_initialized():
            ray.init(address=job.address, namespace=SPACE, log_to_driver=False)
        found = {each.address: each for each in _look(ray)}
        if job.what == "claim" and job.node in found and not found[job.node].claims:
            made = ray.util.placement_group([{f"{NODE}{job.node}": SHARE}], name=job.launch, lifetime="detached")
            if not made.wait(timeout_seconds=SECONDS / 2):
                ray.util.remove_placement_group(made)
        elif job.what == "end" and any(job.launch in each.claims for each in found.values()):
            ray.util.remove_placement_group(ray.util.get_placement_group(job.launch))
        return _look(ray)
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError) as error:
        raise Unavailable(f"the Ray cluster at {job.address} cannot be worked with: {last_line(error)}") from None


def _look(ray: Any) -> list[NodeState]:
    held: dict[str, list[str]] = {}
    groups: dict[str, Any] = ray.util.placement_group_table()
    for each in groups.values():
        if each["state"] == "CREATED" and each["name"].startswith(PREFIX):
            for resource in (one for bundle in each["bundles"].values() for one in bundle):
                held.setdefault(resource.removeprefix(NODE), []).append(each["name"])
    alive = {each["NodeManagerAddress"]: each["Resources"] for each in ray.nodes() if each["Alive"]}
    return [
        NodeState(address=address, resources=resources, claims=tuple(sorted(held.get(address, ()))))
        for address, resources in alive.items()
    ]


class RayNodes:
    """Nodes of the cluster of the settings. The instance of an offer is the address of its node."""

    def __init__(self, name: str, settings: RayProvider, cluster: RaySettings) -> None:
        if not cluster.address:
            raise InvalidArgument(f"supply.providers.{name}: set ray.address, the cluster whose nodes these are")
        self.name = name
        self._prices, self._address = settings.prices, cluster.address
        self._child = Child(f"the provider {name}", timeout=SECONDS, failure=Unavailable)
        self._turn = threading.Lock()

    def close(self) -> None:
        """Leave the cluster; the next question joins it again."""
        with self._turn:
            self._child.close()

    def offers(self) -> Sequence[Offer]:
        return [self._offer(each) for each in self._act("look") if not each.claims]

    def quota(self, offer: Offer) -> int | None:
        return sum(each.address == offer.instance and not each.claims for each in self._act("look"))

    def launch(self, launch: Launch) -> Launch:
        node = launch.offer.instance
        there = next((each for each in self._act("claim", launch.id, node) if each.address == node), None)
        if there is None:
            raise NotFound(f"{self.name} has no node '{node[:63]}'")
        if launch.id not in there.claims:
            if not there.claims:
                raise Unavailable(f"the claim of {node} takes Ray long")
            raise Conflict(f"the node {node} is claimed by the launch '{there.claims[0][:63]}'")
        return self._launch(launch.id, there, launch)

    def list(self) -> Sequence[Launch]:
        blank = Launch(id="", offer=Offer(provider=self.name, region="", instance="", price=0.0), asked=0.0)
        return [self._launch(claim, node, blank) for node in self._act("look") for claim in node.claims]

    def end(self, launch: Launch) -> None:
        self._act("end", launch.id or launch.machine.partition("#")[2])

    def events(self) -> Sequence[Event]:
        return ()

    def _act(self, what: Literal["look", "claim", "end"], launch: str = "", node: str = "") -> Sequence[NodeState]:
        job = NodeAsk(address=self._address, what=what, launch=launch, node=node)
        with self._turn:
            return self._child.run("argosy.supply.ray:act", job, tuple[NodeState, ...])

    def _offer(self, node: NodeState) -> Offer:
        has = node.resources
        gpu = next((each.removeprefix(TYPE) for each in has if each.startswith(TYPE)), "")
        kind = next((each for each in self._prices if each in has), "*")
        return Offer(
            provider=self.name,
            region="",
            instance=node.address,
            price=self._prices.get(kind, 0.0),
            gpu=gpu,
            count=int(has.get("GPU", 0)),
            cpus=has.get("CPU", 0.0),
            memory=int(has.get("memory", 0)),
            source="live",
        )

    def _launch(self, name: str, node: NodeState, launch: Launch) -> Launch:
        offer, machine = launch.offer if launch.id else self._offer(node), f"{node.address}#{name}"
        news = {"id": name, "offer": offer, "machine": machine, "address": node.address, "state": "ready"}
        return msgspec.structs.replace(launch, price=self._offer(node).price, **news)
