"""The planner's problem as one mixed integer program, for problems of the size of a declaration. Pure.

HiGHS solves it as a whole: exact where it ends in time, and beside every answer its bound. Large problems are for the
search that starts from prices; both have one problem and one plan.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from argosy.capacity.highs import IntegerProgram
from argosy.capacity.planner.problem import Costs, Demand, Placement, Plan, Problem, Profile, Supply
from argosy.capacity.planner.rent import NEED, rent
from argosy.capacity.slices import ways

HOUR = 3600.0
GB = 1e9
Goal = Literal["cost", "unserved"]


class Option(NamedTuple):
    """A replica of a profile on a supply, with the price per hour of what it takes there, and what it costs to
    start."""

    place: Placement
    profile: Profile
    supply: Supply
    price: float
    start: float


class Arc(NamedTuple):
    """A demand, by its index, served by an option, by its index; what a request per second costs per hour."""

    demand: int
    option: int
    cost: float


def options(problem: Problem, *, without: frozenset[Placement] = frozenset()) -> list[Option]:
    """Every replica that could run, and serves something."""
    wanted = {each.model for each in problem.demands}
    found = list[Option]()
    for profile in problem.profiles:
        for supply in problem.supplies if profile.model in wanted else ():
            place = profile.model, profile.variant, supply.id
            if supply.gpu == profile.gpu and profile.gpus <= min(supply.count, supply.gpus) and place not in without:
                price = supply.price * profile.part(supply)
                moved = problem.transfer.get(supply.region, 0.0) * profile.weights / GB
                found.append(
                    Option(place, profile, supply, price, (price * profile.start / HOUR + moved) / problem.horizon)
                )
    return found


def why_not(problem: Problem, demand: Demand, profile: Profile, supply: Supply) -> str:
    """Why a demand cannot be served there; empty where it can."""
    rtt = problem.rtt.get(demand.area, {}).get(supply.region)
    if demand.regions and supply.region not in demand.regions:
        return f"only {', '.join(demand.regions)} may serve it"
    if not supply.trusted and not demand.untrusted:
        return "machines of strangers may not serve it"
    if rtt is None:
        return f"no round trip from {demand.area} to {supply.region} is known"
    if demand.bucket not in profile.rates:
        return f"{profile.gpu} has no rate for '{demand.bucket}'"
    takes = rtt + profile.latency.get(demand.bucket, 0.0)
    return f"{supply.region} answers in {takes:.3g} s" if takes > demand.slo else ""


def groups(problem: Problem) -> Iterator[tuple[str, list[Demand]]]:
    """What the rules of loss and of spot are held for: each model as a whole, and each of its sets of regions."""
    for model in dict.fromkeys(each.model for each in problem.demands if each.rate > 0):
        own = [each for each in problem.demands if each.model == model and each.rate > 0]
        yield model, own
        scopes = dict.fromkeys(each.regions for each in own)
        for regions in scopes if len(scopes) > 1 else ():
            yield model, [each for each in own if each.regions == regions]


def gives(problem: Problem, demands: Sequence[Demand], option: Option) -> float:
    """Requests per second of the mix of those demands that a replica can serve."""
    rates = option.profile.rates
    able = [each for each in demands if not why_not(problem, each, option.profile, option.supply)]
    work = sum(each.rate / rates[each.bucket] for each in able)
    return sum(each.rate for each in able) / work if work else 0.0


def solve(
    problem: Problem,
    *,
    seconds: float = 10.0,
    without: frozenset[Placement] = frozenset(),
    goal: Goal = "cost",
    keep: bool = False,
) -> Plan:
    """The plan of least cost, or of the fewest requests that are not served, to 0.1 % or as near as the time allows.
    `without`: placements that are forbidden. `keep`: what runs stays as it is. Raises MissingExtra."""
    begun = time.monotonic()
    able = options(problem, without=without)
    weight = 0.0 if goal == "unserved" else 1.0
    rows = IntegerProgram(NEED)
    running = [problem.running.get(each.place, 0) for each in able]
    replicas = _replicas(able, running, rows, weight, keep=keep)
    _machines(able, replicas, rows, weight)
    arcs, loads = list[tuple[Arc, int]](), defaultdict[int, list[tuple[int, float]]](list)
    unserved = list[int]()
    for number, demand in enumerate(problem.demands):
        wanted = demand.rate * (1 + problem.headroom)
        unserved.append(rows.column(demand.penalty * HOUR if weight else 1.0, wanted))
        entries = [(unserved[-1], 1.0)]
        for at, option in enumerate(able):
            if option.profile.model != demand.model or why_not(problem, demand, option.profile, option.supply):
                continue
            sent = problem.egress.get(option.supply.region, 0.0) * demand.sent * HOUR / GB
            column = rows.column(weight * sent)
            arcs.append((Arc(number, at, sent), column))
            entries.append((column, 1.0))
            loads[at].append((column, 1.0 / option.profile.rates[demand.bucket]))
        rows.row(wanted, wanted, entries)
    for at, each in loads.items():
        rows.row(-np.inf, 0.0, [*each, (replicas[at], -1.0)])
    reserve = _reserve(problem, able, replicas, rows, weight)
    values, bound = rows.solve(seconds, 1e-3)
    if not len(values):
        values = np.zeros(len(rows.costs))
        values[unserved] = [rows.upper[column] for column in unserved]
    count = {able[at].place: round(values[column]) for at, column in enumerate(replicas) if values[column] > 0.5}
    flows = {
        (arc.demand, able[arc.option].place[1], able[arc.option].place[2]): float(values[column])
        for arc, column in arcs
        if values[column] > 1e-9
    }
    short = {number: float(values[column]) for number, column in enumerate(unserved) if values[column] > 1e-9}
    rented = rent(problem, count)
    costs = Costs(
        machines=sum(each.hourly for each in rented.values()),
        starts=sum(
            each.start * max(0, count.get(each.place, 0) - had) for each, had in zip(able, running, strict=True)
        ),
        network=sum(arc.cost * float(values[column]) for arc, column in arcs),
        unserved=sum(problem.demands[number].penalty * HOUR * rate for number, rate in short.items()),
        reserve=sum(rows.costs[column] * float(values[column]) for column in reserve),
    )
    return Plan(
        replicas=count, flows=flows, unserved=short, costs=costs, prices={}, rented=rented,
        bound=max(0.0, min(bound, costs.total)) if np.isfinite(bound) else 0.0, seconds=time.monotonic() - begun,
    )  # fmt: skip


def _reserve(
    problem: Problem, able: Sequence[Option], replicas: Sequence[int], rows: IntegerProgram, weight: float
) -> list[int]:
    """The rules of loss and of spot: the share that each may lack, at the penalty of what it is for."""
    found = list[int]()
    for model, demands in groups(problem):
        asked = sum(each.rate for each in demands) * (1 + problem.headroom)
        penalty = sum(each.rate * each.penalty for each in demands) * (1 + problem.headroom) * HOUR
        holds = [
            (column, gives(problem, demands, each), each.supply)
            for each, column in zip(able, replicas, strict=True)
            if each.profile.model == model
        ]
        every = [each for each in problem.demands if each.model == model and each.rate > 0]
        reached = dict.fromkeys(
            each.supply.fails for each in able if each.profile.model == model and gives(problem, every, each)
        )
        rules = [(problem.loss_floor, [(c, r) for c, r, s in holds if r and s.fails != lost]) for lost in reached]
        rules.append((1 - problem.spot_share, [(c, r) for c, r, s in holds if r and s.market != "spot"]))
        for floor, left in rules:
            if floor > 0:
                lacking = rows.column(floor * (penalty if weight else asked), 1.0)
                rows.row(floor * asked, np.inf, [(lacking, floor * asked), *left])
                found.append(lacking)
    return found


def _replicas(
    able: Sequence[Option], running: Sequence[int], rows: IntegerProgram, weight: float, *, keep: bool
) -> list[int]:
    """How many of each option, and those beyond what runs."""
    most = running if keep else [np.inf] * len(able)
    found = [
        rows.column(0.0, upper, lower=had if keep else 0, whole=True) for had, upper in zip(running, most, strict=True)
    ]
    for column, had, option in zip(found, running, able, strict=True):
        rows.row(-np.inf, had, [(column, 1.0), (rows.column(weight * option.start), -1.0)])
    return found


def _machines(able: Sequence[Option], replicas: Sequence[int], rows: IntegerProgram, weight: float) -> None:
    """What is rented, within the quotas, has room for all replicas; GPUs are cut in the ways that are possible."""
    there = defaultdict[str, list[tuple[int, Option]]](list)
    for column, option in zip(replicas, able, strict=True):
        there[option.supply.id].append((column, option))
    for own in there.values():
        supply = own[0][1].supply
        taken = [(column, float(each.profile.takes(supply))) for column, each in own if not each.profile.slice]
        sizes = tuple(sorted({each.profile.slice for _, each in own} - {""}))
        cut = [(rows.column(0.0, whole=True), way) for way in (ways(supply.gpu, sizes) if sizes else ())]
        for nth, size in enumerate(sizes):
            asked = [(column, 1.0) for column, each in own if each.profile.slice == size]
            rows.row(-np.inf, 0.0, [*asked, *((column, -float(way[nth])) for column, way in cut)])
        if supply.rented == 1 and not sizes:
            for column, each in own:
                rows.costs[column] = weight * each.price
            rows.row(-np.inf, float(supply.gpus), taken)
            continue
        price = supply.price * supply.rented / supply.count
        rented = rows.column(weight * price, float(supply.gpus // supply.rented), whole=True)
        rows.row(-np.inf, 0.0, [*taken, *((column, 1.0) for column, _ in cut), (rented, -float(supply.rented))])
