"""The nodes of a Ray cluster as supply. To launch one is to claim it.

The claim is a detached placement group with the launch's name, which takes a thousandth of the resource that stands for
the node, and none of its processors. Ray keeps one group of a name, loses it with its node, and every platform sees it.
What speaks to Ray is a child process: one that is joined to a cluster may hang, or be ended by Ray.
"""

import os
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

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
SHARE = 0.001
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
    """In a child: do it; the nodes that are alive, as they are then."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray: Any = require("ray", "ray", NEED)
    util: Any = ray.util
    try:
        ray.init(address=job.address, namespace=SPACE, log_to_driver=False)
        if job.what == "claim":
            made = util.placement_group([{f"{NODE}{job.node}": SHARE}], name=job.launch, lifetime="detached")
            ray.get(made.ready(), timeout=SECONDS / 2)
        elif job.what == "end":
            util.remove_placement_group(util.get_placement_group(job.launch))
        held: dict[str, list[str]] = {}
        groups: dict[str, Any] = util.placement_group_table()
        for each in groups.values():
            if each["state"] == "CREATED" and each["name"].startswith(PREFIX):
                for resource in (one for bundle in each["bundles"].values() for one in bundle):
                    held.setdefault(resource.removeprefix(NODE), []).append(each["name"])
        alive = [each for each in ray.nodes() if each["Alive"]]
    except ValueError as error:
        if job.what == "end" and "Failed to look up" in str(error):
            return []
        raise Unavailable(f"the Ray cluster at {job.address} refuses: {error}") from None
    except (ray.exceptions.RayError, ConnectionError, RuntimeError) as error:
        raise Unavailable(f"the Ray cluster at {job.address} cannot be worked with: {error}") from None
    return [
        NodeState(
            address=each["NodeManagerAddress"],
            resources=each["Resources"],
            claims=tuple(sorted(held.get(each["NodeManagerAddress"], ()))),
        )
        for each in alive
    ]


class RayNodes:
    """Nodes of the cluster of the settings. The instance of an offer is the address of its node."""

    def __init__(self, name: str, settings: RayProvider, cluster: RaySettings) -> None:
        if not cluster.address:
            raise InvalidArgument(f"supply.providers.{name}: set ray.address, the cluster whose nodes these are")
        self.name = name
        self._prices, self._address = settings.prices, cluster.address

    def offers(self) -> Sequence[Offer]:
        return [self._offer(each) for each in self._act("look") if not each.claims]

    def quota(self, offer: Offer) -> int | None:
        return sum(each.address == offer.instance and not each.claims for each in self._act("look"))

    def launch(self, launch: Launch) -> Launch:
        node = launch.offer.instance
        there = next((each for each in self._act("look") if each.address == node), None)
        if there is None:
            raise NotFound(f"{self.name} has no node '{node[:63]}'")
        if others := [each for each in there.claims if each != launch.id]:
            raise Conflict(f"the node {node} is claimed by the launch '{others[0][:63]}'")
        if not there.claims:
            self._act("claim", launch.id, node)
        return self._launch(launch.id, there, launch)

    def list(self) -> Sequence[Launch]:
        blank = Launch(id="", offer=Offer(provider=self.name, region="", instance="", price=0.0), asked=0.0)
        return [self._launch(claim, node, blank) for node in self._act("look") for claim in node.claims]

    def end(self, launch: Launch) -> None:
        self._act("end", launch.id or launch.machine.partition("#")[2])

    def events(self) -> Sequence[Event]:
        return ()

    def _act(self, what: Literal["look", "claim", "end"], launch: str = "", node: str = "") -> Sequence[NodeState]:
        with Child(f"the provider {self.name}", timeout=SECONDS, failure=Unavailable) as child:
            job = NodeAsk(address=self._address, what=what, launch=launch, node=node)
            return child.run("argosy.supply.ray:act", job, tuple[NodeState, ...])

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
