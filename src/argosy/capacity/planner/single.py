"""One model at given prices of the GPUs that all share: a bound on what it costs, and replicas that cost little."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from argosy.capacity.planner.linear import Block, Program, block
from argosy.capacity.planner.parts import Array, ModelPart


class Priced(NamedTuple):
    """A model whose replicas also pay `prices` (by supply) for the GPUs they take. No choice costs it less than
    `bound`, and one with a replica of an option at least `extra` (by option) more."""

    part: ModelPart
    made: Block
    cost: Array
    bound: float
    extra: Array


def priced(part: ModelPart, made: Block, prices: Array, duals: Array) -> Priced:
    """By weak duality: a bound whatever the `duals` of the model's rows are, a good one where they are good."""
    cost, options = _paid(part, made, prices), len(part.cost)
    worth = np.maximum(duals, 0.0)
    reduced = cost - np.bincount(made.column, made.value * worth[made.row], len(cost))
    bound = float(worth @ made.floor + np.minimum(reduced, 0.0) @ made.upper)
    extra = np.maximum(reduced[:options], 0.0)
    extra[made.kept] = np.minimum(extra[made.kept], np.maximum(reduced[options : options + len(made.kept)], 0.0))
    return Priced(part, made, cost, bound, extra)


def restrict(part: ModelPart, keep: Array) -> ModelPart:
    """With some of its options only."""
    groups = np.unique(part.group[keep])
    flows = np.isin(part.flow_group, groups)
    return msgspec.structs.replace(
        part,
        placement=[part.placement[at] for at in keep],
        supply=part.supply[keep],
        gpus=part.gpus[keep],
        cost=part.cost[keep],
        start=part.start[keep],
        running=part.running[keep],
        most=part.most[keep],
        kind=part.kind[keep],
        group=np.searchsorted(groups, part.group[keep]),
        groups=len(groups),
        flow_class=part.flow_class[flows],
        flow_group=np.searchsorted(groups, part.flow_group[flows]),
        load=part.load[flows],
        network=part.network[flows],
        cells=part.cells[:, keep],
    )


def choose(
    some: Sequence[Priced],
    keep: Sequence[Array],
    prices: Array,
    left: Array,
    held: Sequence[Array] | None,
    seconds: float,
    slack: float,
    nodes: int,
) -> list[Array] | None:
    """Replicas for some models, of the options `keep` of each, within the GPUs that are left, off by `slack` at most
    unless time or `nodes` are used up; the search begins at what is `held`. They pay `prices` for what they take."""
    small = [_within(restrict(one.part, kept), left) for one, kept in zip(some, keep, strict=True)]
    costs = [_paid(part, block(part), prices) for part in small]
    shared = left if len(some) > 1 else _shared(small[0], left)
    program = Program(small, shared, whole=True, costs=costs)
    if held is not None:
        program.begin([each[kept] for each, kept in zip(held, keep, strict=True)])
    found = program.solve(seconds, mip_abs_gap=slack, mip_max_nodes=nodes, mip_rel_gap=0.0)
    if not found.done:
        return None
    replicas = [np.zeros(len(one.part.cost)) for one in some]
    for chosen, kept, taken in zip(replicas, keep, program.replicas(found.values), strict=True):
        chosen[kept] = np.rint(taken)
    return replicas


def _within(part: ModelPart, left: Array) -> ModelPart:
    """With no more of an option than is left."""
    return msgspec.structs.replace(part, most=np.minimum(part.most, np.floor(left[part.supply] / part.gpus + 1e-6)))


def _shared(part: ModelPart, left: Array) -> Array | None:
    """The limits that one model can meet by itself: where it has several options, or what runs, on one supply."""
    return left if len(np.unique(part.supply)) < len(part.supply) or bool((part.running > 0).any()) else None


def _paid(part: ModelPart, made: Block, prices: Array) -> Array:
    """The cost of columns where GPUs have prices too."""
    fee, cost = part.gpus * prices[part.supply], made.cost.copy()
    cost[: len(fee)] += fee
    cost[len(fee) : len(fee) + len(made.kept)] += fee[made.kept]
    return cost


def likely(one: Priced, left: Array, count: int, held: Array) -> Array:
    """Options worth a look, and those that are `held`: of each variant on each kind of GPU the `count` with the least
    extra cost that are to be had; of what serves a class twice as many."""
    part = one.part
    free = np.floor(left[part.supply] / part.gpus + 1e-6) > 0
    order = np.argsort(one.extra + np.where(free, 0.0, np.inf), kind="stable")
    kind = part.kind[order]
    turn = np.zeros(len(order), int)
    for each in np.unique(kind):
        mine = kind == each
        turn[mine] = np.arange(int(mine.sum()))
    chosen = np.zeros(len(order), bool)
    chosen[order[turn < count]] = True
    serves = np.zeros((len(part.rate), part.groups), bool)
    serves[part.flow_class, part.flow_group] = True
    for able in serves[:, part.group[order]]:
        chosen[order[np.flatnonzero(able)[: 2 * count]]] = True
    return np.flatnonzero((chosen & free) | (held > 0))


def sharpened(one: Priced, prices: Array, within: float, seconds: float, nodes: int) -> float:
    """A better bound, by branching among the options with which a choice could cost less than `within` more."""
    small = restrict(one.part, np.flatnonzero(one.extra < within))
    cost = _paid(small, block(small), prices)
    found = Program([small], None, whole=True, costs=[cost]).solve(seconds, mip_max_nodes=nodes, mip_rel_gap=0.0)
    return min(max(found.bound, one.bound), one.bound + within) if np.isfinite(found.bound) else one.bound
