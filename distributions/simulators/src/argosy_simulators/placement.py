"""Plans of placement, replayed: what ways to plan pay over time for demand that moves, and what they leave unserved.

A log says how many requests a second came by time, model, area and bucket. At each time a policy plans with the demand
of the time before, which is all that is known; what comes is served by that plan as well as it can be.
"""

import csv
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from argosy.capacity.planner.problem import Placement, Problem
from argosy.capacity.planner.reasons import settled
from argosy.capacity.planner.rent import rent
from argosy.capacity.planner.whole import Option, options, solve, why_not
from argosy.spec.errors import InvalidArgument

Rates = tuple[float, ...]
"""By demand of the problem."""
Replicas = Mapping[Placement, int]
Policy = Callable[[Problem], Replicas]
"""What to run; the problem has the demand to plan for, and what runs."""
MOST = 100_000
HOUR = 3600.0


class DemandLog(msgspec.Struct, frozen=True):
    """Rates at times, each `hours` long."""

    hours: float
    rates: tuple[Rates, ...]


class PlacementRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy came to: money for machines and for starts, the share of the requests that was not served, how
    many replicas were started and stopped, and at how many times its plan broke the rules of loss or of spot."""

    policy: str
    cost: float
    starts: float
    unserved: float
    changes: int
    broken: int


def read(path: Path, problem: Problem) -> DemandLog:
    """A CSV of `time,model,area,rate` and perhaps `bucket`; times are seconds, evenly spaced. What the log does not
    have at a time is 0. Raises InvalidArgument."""
    places = {(each.model, each.area, each.bucket): at for at, each in enumerate(problem.demands)}
    found: dict[float, list[float]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                at, rate = float(row["time"]), float(row["rate"])
                key = row["model"], row["area"], row.get("bucket") or ""
            except (KeyError, TypeError, ValueError):
                raise InvalidArgument(f"{path}, line {number}: needs time,model,area,rate and perhaps bucket") from None
            if not (math.isfinite(at) and 0 <= rate < math.inf):
                raise InvalidArgument(f"{path}, line {number}: time and rate must be finite, and the rate at least 0")
            if key not in places:
                raise InvalidArgument(f"{path}, line {number}: the plan has no demand for {' '.join(key).strip()}")
            found.setdefault(at, [0.0] * len(places))[places[key]] += rate
            if len(found) > MOST:
                raise InvalidArgument(f"{path} has more than {MOST} times")
    times = sorted(found)
    steps = {round(later - time, 6) for time, later in itertools.pairwise(times)}
    if len(steps) != 1:
        raise InvalidArgument(f"{path}: needs two or more times, evenly spaced")
    return DemandLog(steps.pop() / HOUR, tuple(tuple(found[time]) for time in times))


def asked(problem: Problem, rates: Sequence[float], running: Replicas) -> Problem:
    demands = tuple(msgspec.structs.replace(each, rate=rate) for each, rate in zip(problem.demands, rates, strict=True))
    return msgspec.structs.replace(problem, demands=demands, running=running)


def ours(least_gain: float) -> Policy:
    """As `argosy place` does: what runs counts, and stays where a plan saves too little."""

    def policy(problem: Problem) -> Replicas:
        return settled(problem, solve(problem, seconds=5), least_gain, seconds=5).replicas

    return policy


def anew(problem: Problem) -> Replicas:
    """The cheapest plan each time, whatever runs."""
    return solve(msgspec.structs.replace(problem, running={}), seconds=5).replicas


def greedy(problem: Problem) -> Replicas:
    """Demand after demand the place where a request costs least, as brokers of machines choose: no demand is planned
    together with another, and a place is left once its quota is used up."""
    left = {each.id: each.gpus for each in problem.supplies}
    load: dict[Placement, float] = {}
    for demand in problem.demands:
        wanted = demand.rate * (1 + problem.headroom)

        def price(option: Option, bucket: str = demand.bucket) -> float:
            return option.price / option.profile.rates[bucket]

        able = [
            each
            for each in options(problem)
            if each.profile.model == demand.model and not why_not(problem, demand, each.profile, each.supply)
        ]
        for option in sorted(able, key=price):
            rate, had = option.profile.rates[demand.bucket], load.get(option.place, 0.0)
            spare = math.ceil(had - 1e-9) - had + left[option.supply.id] // option.profile.takes(option.supply)
            taken = min(wanted, spare * rate)
            new = had + taken / rate
            more = math.ceil(new - 1e-9) - math.ceil(had - 1e-9)
            left[option.supply.id] -= more * option.profile.takes(option.supply)
            load[option.place], wanted = new, wanted - taken
            if wanted <= 1e-9:
                break
    return {place: math.ceil(each - 1e-9) for place, each in load.items() if each > 1e-9}


def replay(problem: Problem, log: DemandLog, policy: Policy, name: str) -> PlacementRun:
    """A policy on a log, from its second time on; what the first needs is there at the begin."""
    start = {each.place: each.start * problem.horizon for each in options(problem)}
    running = dict(policy(asked(problem, log.rates[0], {})))
    cost = starts = missed = total = 0.0
    changes = broken = 0
    for before, now in itertools.pairwise(log.rates):
        wanted = dict(policy(asked(problem, before, running)))
        for place in {*running, *wanted}:
            more = wanted.get(place, 0) - running.get(place, 0)
            changes += abs(more)
            starts += start[place] * max(0, more)
        running = wanted
        broken += solve(asked(problem, before, running), seconds=5, keep=True).costs.reserve > 1e-6
        cost += sum(each.hourly for each in rent(problem, running).values()) * log.hours
        real = msgspec.structs.replace(asked(problem, now, running), headroom=0.0, loss_floor=0.0, spot_share=1.0)
        missed += sum(solve(real, seconds=5, keep=True, goal="unserved").unserved.values())
        total += sum(now)
    return PlacementRun(
        policy=name, cost=cost, starts=starts, unserved=missed / total if total else 0.0, changes=changes, broken=broken
    )


def compare(problem: Problem, log: DemandLog, least_gain: float) -> list[PlacementRun]:
    """Our way to plan, and others."""
    peak = solve(asked(problem, [max(each) for each in zip(*log.rates, strict=True)], {}), seconds=20).replicas
    policies: dict[str, Policy] = {
        "argosy": ours(least_gain),
        "anew": anew,
        "greedy": greedy,
        "static peak": lambda _: peak,
    }
    return [replay(problem, log, policy, name) for name, policy in policies.items()]
