"""A problem as arrays, model by model: what one model asks for, in as few columns as serve.

Demands that can be served by the same replicas are one, in shares of their rate; supplies that can serve the same
demands are one group, whose replicas share what is sent to it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from argosy.capacity.planner.problem import Demand, Placement, Problem, Profile, Supply
from argosy.capacity.slices import ways

Array = np.ndarray[Any, np.dtype[Any]]
COMMON = ("supplies", "rtt", "egress", "transfer", "loss_floor", "spot_share", "headroom", "horizon")
"""What of a problem every model meets."""
Class = tuple[tuple[str, ...], float, float, str, bytes]


class ModelPart(msgspec.Struct, frozen=True, kw_only=True):
    """One model. `demands`: which of the problem's are one class, with their `rates`; `rate` is the sum, `lost` what it
    costs an hour if none of it is served.

    By option (a variant on a supply): `placement`, `supply` (index), `gpus`, `cost` and `start` of one replica, how
    many are `running`, how many can be had (`most`), its `kind` (variant on a GPU) and its `group`. By flow: its class,
    its group, the replicas it takes and what it costs, if all of the class is sent there. A cell is what is lost at
    once, for a set of allowed regions: the share of its demand that a replica of an option gives there (`cells` by
    option). By rule for losses: what is left of the cells over what must be (`rules` by cell), and what it costs
    (`short`) if nothing is left.
    """

    model: str
    demands: list[list[int]]
    rates: list[list[float]]
    rate: Array
    lost: Array
    placement: list[Placement]
    supply: Array
    gpus: Array
    cost: Array
    start: Array
    running: Array
    most: Array
    kind: Array
    group: Array
    groups: int
    flow_class: Array
    flow_group: Array
    load: Array
    network: Array
    cells: Array
    rules: Array
    short: Array


def parts(
    problem: Problem, last: Problem | None = None, before: Mapping[str, ModelPart] | None = None
) -> list[ModelPart]:
    """By model, in the order of their names. Those `before`, of the problem that was `last`, are taken again where
    nothing but what runs is different."""
    asked, known = _by_model(problem), {} if last is None or before is None else _by_model(last)
    if last is None or any(getattr(last, name) != getattr(problem, name) for name in COMMON):
        known.clear()
    sites = Sites(problem)
    made = list[ModelPart]()
    for model, (demands, profiles) in sorted(asked.items()):
        if before is not None and model in known and known[model] == (demands, profiles):
            made.append(msgspec.structs.replace(before[model], running=_running(problem, before[model].placement)))
        else:
            made.append(_part(sites, model, list(demands), profiles))
    return made


def _by_model(problem: Problem) -> dict[str, tuple[dict[int, Demand], list[Profile]]]:
    """Demands by index, and profiles, of models that are asked for."""
    made = dict[str, tuple[dict[int, Demand], list[Profile]]]()
    for at, demand in enumerate(problem.demands):
        if demand.rate > 0:
            made.setdefault(demand.model, ({}, []))[0][at] = demand
    for profile in problem.profiles:
        if profile.model in made:
            made[profile.model][1].append(profile)
    return made


def _running(problem: Problem, placements: Sequence[Placement]) -> Array:
    return np.array([float(problem.running.get(each, 0)) for each in placements])


class Sites:
    """What every model meets: supplies by index. Of their `gpus` the `quota` is placed: a GPU is cut into slices of
    one size, and with several sizes the last one of each may not be full."""

    def __init__(self, problem: Problem) -> None:
        self.problem, supplies = problem, problem.supplies
        self.regions = sorted({each.region for each in supplies})
        place = {region: at for at, region in enumerate(self.regions)}
        self.region = np.array([place[each.region] for each in supplies], int)
        self.trusted = np.array([each.trusted for each in supplies], bool)
        self.gpus = np.array([each.gpus for each in supplies], float)
        slices = defaultdict[str, set[str]](set)
        for each in problem.profiles:
            slices[each.gpu] |= {each.slice} - {""}
        self.quota = np.maximum(self.gpus - [max(0, len(slices[each.gpu]) - 1) for each in supplies], 0.0)
        self.by_gpu = defaultdict[str, list[int]](list)
        for at, each in enumerate(supplies):
            self.by_gpu[each.gpu].append(at)
        self.domain = np.unique([each.fails for each in supplies], return_inverse=True)[1] if supplies else np.zeros(0)
        self.spot = np.array([each.market == "spot" for each in supplies], bool)
        self.egress = np.array([problem.egress.get(each, 0.0) for each in self.regions])
        self._slack = dict[tuple[str, float, tuple[str, ...], bool], Array]()

    def slack(self, demand: Demand) -> Array:
        """By supply: the seconds left of the SLO after the round trip; -1 where it may not be served."""
        key = (demand.area, demand.slo, demand.regions, demand.untrusted)
        if key not in self._slack:
            rtt = self.problem.rtt.get(demand.area, {})
            left = np.array([demand.slo - rtt.get(each, np.inf) for each in self.regions])
            left[np.isnan(left)] = -1.0
            if demand.regions:
                left[[each not in demand.regions for each in self.regions]] = -1.0
            self._slack[key] = np.where(self.trusted | demand.untrusted, left[self.region], -1.0)
        return self._slack[key]


def _part(sites: Sites, model: str, demands: Sequence[int], profiles: Sequence[Profile]) -> ModelPart:
    problem = sites.problem
    offers, members, reach = _reach(sites, demands, profiles)
    wanted = [problem.demands[each] for each in demands]
    first = [wanted[each[0]] for each in members]
    rate = np.array([sum(wanted[row].rate for row in each) for each in members]) * (1 + problem.headroom)
    at: Array = np.array([each for _, each in offers], int)
    sent = any(each.sent > 0 for each in first)
    keys = dict[Any, int]()
    group = np.array(
        [
            keys.setdefault((id(each), sent and sites.egress[sites.region[at[o]]], reach[:, o].tobytes()), len(keys))
            for o, (each, _) in enumerate(offers)
        ],
        int,
    )
    leader = np.unique(group, return_index=True)[1] if len(group) else np.zeros(0, int)
    flow_class, flow_group = np.nonzero(reach[:, leader])
    speed = np.array([[offers[o][0].rates.get(each.bucket, 0.0) for o in _ints(leader)] for each in first]).reshape(
        len(first), len(leader)
    )
    egress = sites.egress[sites.region[at[leader]]]
    each_sent = np.array([each.sent for each in first])
    supplies = [problem.supplies[each] for each in _ints(at)]
    price = np.array([s.price * p.part(s) for (p, _), s in zip(offers, supplies, strict=True)])
    weights = np.array(
        [p.weights / 1e9 * problem.transfer.get(s.region, 0.0) for (p, _), s in zip(offers, supplies, strict=True)]
    )
    waits = np.array([profile.start / 3600 for profile, _ in offers])
    placement = [(model, p.variant, s.id) for (p, _), s in zip(offers, supplies, strict=True)]
    gpus = np.array([_gpus(p, s) for (p, _), s in zip(offers, supplies, strict=True)])
    load = rate[flow_class] / speed[flow_class, flow_group]
    cells, rules, short = _rules(sites, first, rate, reach[:, leader] * speed, group, at)
    return ModelPart(
        model=model,
        demands=[[demands[row] for row in each] for each in members],
        rates=[[wanted[row].rate * (1 + problem.headroom) for row in each] for each in members],
        rate=rate,
        lost=rate * np.array([each.penalty for each in first]) * 3600,
        placement=placement,
        supply=at,
        gpus=gpus,
        cost=price,
        start=(price * waits + weights) / problem.horizon,
        running=_running(problem, placement),
        most=np.floor(sites.quota[at] / gpus + 1e-9) if len(gpus) else gpus,
        kind=np.unique([f"{p.variant}/{p.gpu}" for p, _ in offers], return_inverse=True)[1] if offers else at,
        group=group,
        groups=len(leader),
        flow_class=flow_class,
        flow_group=flow_group,
        load=load,
        network=(rate * each_sent * 3600 / 1e9)[flow_class] * egress[flow_group],
        cells=cells,
        rules=rules,
        short=short,
    )


def _gpus(profile: Profile, supply: Supply) -> float:
    """What a replica takes of a supply's GPUs: of one that is cut, an equal part."""
    if not profile.slice:
        return float(profile.takes(supply))
    ((slices,),) = ways(profile.gpu, (profile.slice,))
    return 1 / slices


def _reach(
    sites: Sites, demands: Sequence[int], profiles: Sequence[Profile]
) -> tuple[list[tuple[Profile, int]], list[list[int]], Array]:
    """The options of a model that are of use, its classes (places in `demands`), and which option can serve which."""
    problem = sites.problem
    offers = [
        (profile, at)
        for profile in profiles
        for at in sites.by_gpu[profile.gpu]
        if profile.gpus <= problem.supplies[at].count
    ]
    at: Array = np.array([each for _, each in offers], int)
    wanted = [problem.demands[each] for each in demands]
    reach = np.zeros((len(wanted), len(offers)), bool)
    latency = {
        bucket: np.array([each.latency.get(bucket, 0.0) if bucket in each.rates else np.inf for each, _ in offers])
        for bucket in {each.bucket for each in wanted}
    }
    for row, demand in enumerate(wanted):
        reach[row] = latency[demand.bucket] <= sites.slack(demand)[at]
    classes = defaultdict[Class, list[int]](list)
    for row, demand in enumerate(wanted):
        classes[demand.regions, demand.penalty, demand.sent, demand.bucket, reach[row].tobytes()].append(row)
    members = list(classes.values())
    reach = reach[[each[0] for each in members]] if members else np.zeros((0, len(offers)), bool)
    used = np.flatnonzero(reach.any(axis=0))
    return [offers[each] for each in _ints(used)], members, reach[:, used]


def _ints(values: Array) -> list[int]:
    return [int(each) for each in values]


def _rules(
    sites: Sites, demands: Sequence[Demand], rate: Array, speed: Array, group: Array, at: Array
) -> tuple[Array, Array, Array]:
    """Cells, and what is to be left of them after each loss. What a replica can serve is taken at the mix of sizes that
    reach it."""
    problem, short = sites.problem, list[float]()
    cells, rules = list[Array](), list[tuple[int, Array]]()
    bound = [each.regions for each in demands]
    domain, spot = sites.domain[at], sites.spot[at]
    kinds, kind = np.unique(np.stack([domain, spot]), axis=1, return_inverse=True)
    losses = [(kinds[0] == each, problem.loss_floor) for each in np.unique(domain)]
    losses = [(gone, floor) for gone, floor in [*losses, (kinds[1] == 1, 1 - problem.spot_share)] if floor > 0]
    scopes = [np.ones(len(demands), bool), *(np.array([each == one for each in bound]) for one in sorted(set(bound)))]
    for scope in scopes if len(set(bound)) > 1 else scopes[:1]:
        asked = np.where(scope, rate, 0.0)[:, None]
        able = asked * (speed > 0)
        work = (able / np.where(speed > 0, speed, 1.0)).sum(axis=0)
        gives = (able.sum(axis=0) / np.where(work > 0, work, 1.0))[group]
        total = float(asked.sum())
        missed = float((asked[:, 0] * [each.penalty for each in demands]).sum()) * 3600
        if total > 0 and losses:
            rules += [(len(cells), np.where(gone, 0.0, 1 / floor)) for gone, floor in losses]
            short += [missed * floor for _, floor in losses]
            cells += [np.where(kind == each, gives / total, 0.0) for each in range(kinds.shape[1])]
    left = np.zeros((len(rules), len(cells)))
    for row, (first, shares) in enumerate(rules):
        left[row, first : first + len(shares)] = shares
    return np.array(cells).reshape(len(cells), len(at)), left, np.array(short)
