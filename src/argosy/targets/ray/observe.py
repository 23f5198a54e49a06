"""What a user is told of places that wait. Pure."""

from collections.abc import Collection, Mapping

from argosy.spec.endpoint import Resources
from argosy.targets.ray.wire import Node, Report, Room

CORES = 1.0
"""Those of a replica that declares none."""
_GIB = 1024**3


def takes(resources: Resources) -> dict[str, float]:
    """What Ray is asked for, by its names."""
    wanted = {"CPU": resources.cpu or CORES, "GPU": float(resources.gpu), "memory": float(resources.memory)}
    return {name: amount for name, amount in wanted.items() if amount}


def pending(places: Collection[Report], room: Room | None, lost: str) -> str:
    """Why replicas that are wanted are not there, by the places that have no process; `lost`: what keeps the controller
    from Ray."""
    if lost:
        return lost
    if waiting := [each for each in places if each.phase == "waiting"]:
        return _no_room(takes(waiting[0].spec.revision.resources), room)
    if preparing := [each for each in places if each.phase == "preparing"]:
        return f"its package is fetched on the node {preparing[0].host}"
    return ""


def _no_room(wanted: Mapping[str, float], room: Room | None) -> str:
    if room is None:
        return "Ray looks for a node"
    if not any(_fits(wanted, node) for node in room.nodes):
        most = {name: max((node.total.get(name, 0.0) for node in room.nodes), default=0.0) for name in wanted}
        return f"no node of the Ray cluster is large enough: a replica takes {_said(wanted)}, nodes have {_said(most)}"
    left = {name: room.free.get(name, 0.0) for name in wanted}
    return (
        f"no node of the Ray cluster has room: a replica takes {_said(wanted)}, {_said(left)} are free on all nodes "
        "together"
    )


def _fits(wanted: Mapping[str, float], node: Node) -> bool:
    return all(node.total.get(name, 0.0) >= amount for name, amount in wanted.items())


def _said(amounts: Mapping[str, float]) -> str:
    return ", ".join(
        f"{amount / _GIB:.1f} GiB of memory" if name == "memory" else f"{amount:g} {name}"
        for name, amount in amounts.items()
    )
