"""Where requests go, once it is known what runs: one small linear program for a model."""

from typing import NamedTuple

import msgspec
import numpy as np

from argosy.capacity.planner.linear import Program, block
from argosy.capacity.planner.parts import Array, ModelPart
from argosy.capacity.planner.problem import Costs


class Routed(NamedTuple):
    """Of one model, as in a plan."""

    flows: dict[tuple[int, str, str], float]
    unserved: dict[int, float]
    costs: Costs
    cost: float


def route(part: ModelPart, replicas: Array) -> Routed:
    """The cheapest way to serve a model with these replicas. Groups share what they are sent by what their supplies can
    do, and demands of one class what is sent there by their rates."""
    started = np.maximum(replicas - part.running, 0.0)
    machines, starts = float(part.cost @ replicas), float(part.start @ started)
    capacity = np.bincount(part.group, replicas, part.groups)
    share, missed = _flows(part, capacity)
    flows, unserved = dict[tuple[int, str, str], float](), dict[int, float]()
    by_group: dict[int, list[int]] = {}
    for at in np.flatnonzero(replicas > 0):
        by_group.setdefault(int(part.group[at]), []).append(int(at))
    for at in np.flatnonzero(share > 1e-9):
        group, asked = int(part.flow_group[at]), int(part.flow_class[at])
        for option in by_group[group]:
            part_of = share[at] * replicas[option] / capacity[group]
            _, variant, supply = part.placement[option]
            for demand, rate in zip(part.demands[asked], part.rates[asked], strict=True):
                flows[demand, variant, supply] = flows.get((demand, variant, supply), 0.0) + float(part_of * rate)
    for at in np.flatnonzero(missed > 1e-9).tolist():
        unserved |= {d: float(r * missed[at]) for d, r in zip(part.demands[at], part.rates[at], strict=True)}
    short = np.clip(1.0 - part.rules @ (part.cells @ replicas), 0.0, 1.0)
    costs = Costs(
        machines=machines,
        starts=starts,
        network=float(part.network @ share),
        unserved=float(part.lost @ missed),
        reserve=float(part.short @ short),
    )
    return Routed(flows, unserved, costs, costs.total)


def again(part: ModelPart, replicas: Array, routed: Routed) -> Routed:
    """The same way to serve a model, of which the same replicas are running or not."""
    starts = float(part.start @ np.maximum(replicas - part.running, 0.0))
    costs = msgspec.structs.replace(routed.costs, starts=starts)
    return Routed(routed.flows, routed.unserved, costs, costs.total)


def _flows(part: ModelPart, capacity: Array) -> tuple[Array, Array]:
    """By flow the share of its class, and by class what is not served."""
    share, missed = np.zeros(len(part.load)), np.ones(len(part.rate))
    useful = np.flatnonzero(capacity[part.flow_group] > 0)
    if not len(useful):
        return share, missed
    groups = np.unique(part.flow_group[useful])
    bare = np.zeros(0)
    small = msgspec.structs.replace(
        part,
        placement=[],
        supply=np.arange(len(groups)),
        gpus=np.ones(len(groups)),
        cost=np.zeros(len(groups)),
        start=np.zeros(len(groups)),
        running=np.zeros(len(groups)),
        most=capacity[groups],
        kind=np.arange(len(groups)),
        group=np.arange(len(groups)),
        groups=len(groups),
        flow_class=part.flow_class[useful],
        flow_group=np.searchsorted(groups, part.flow_group[useful]),
        load=part.load[useful],
        network=part.network[useful],
        cells=np.zeros((0, len(groups))),
        rules=np.zeros((0, 0)),
        short=bare,
    )
    solved = Program([small], None).solve(10.0)
    if not solved.done:
        return share, missed
    values, made = solved.values[0], block(small)
    at = len(groups) + len(made.kept)
    share[useful] = np.clip(values[at : at + len(useful)], 0.0, 1.0)
    total = np.bincount(part.flow_class, share, len(part.rate))
    share /= np.maximum(total, 1.0)[part.flow_class]
    work = np.bincount(part.flow_group, share * part.load, part.groups)
    share *= np.minimum(1.0, capacity / np.maximum(work, 1e-12))[part.flow_group]
    return share, np.maximum(1.0 - np.bincount(part.flow_class, share, len(part.rate)), 0.0)
