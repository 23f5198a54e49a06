"""A plan, and why it is as it is: what each choice saves, in money, and which demands are in each other's way. Pure."""

import time
from collections.abc import Mapping, Sequence

import msgspec

from argosy.capacity.planner import solve as search
from argosy.capacity.planner.problem import Placement, Plan, Problem, Rented, Supply
from argosy.capacity.planner.rent import rent
from argosy.capacity.planner.whole import options, solve, why_not
from argosy.spec.plan import Alternative

DAY = 24.0
TINY = 1e-6
NEAR = 0.01
"""The gap above which a small problem is searched as well."""
WHOLE = 250
"""Placements up to which a problem is solved as one program; beyond, by search."""


def find(problem: Problem, *, seconds: float = 10.0) -> Plan:
    """The plan of least cost, or as near as the time allows. Raises MissingExtra."""
    if len(options(problem)) > WHOLE:
        return search.solve(problem, seconds=seconds)
    plan = solve(problem, seconds=0.6 * seconds)
    if plan.gap <= NEAR:
        return plan
    other = search.solve(problem, seconds=0.4 * seconds)
    cut = any(each.slice for each in problem.profiles)
    return msgspec.structs.replace(
        min(plan, other, key=lambda each: each.cost),
        bound=plan.bound if cut else max(plan.bound, other.bound),
        seconds=plan.seconds + other.seconds,
    )


def explain(problem: Problem, plan: Plan, *, seconds: float = 20.0) -> list[Alternative]:
    """What each placement saves, the largest first: the plan is made again without it; where it is large, the part of
    its model, and the others stay where they are."""
    until = time.monotonic() + seconds
    large = len(options(problem)) > WHOLE
    parts = dict[str, tuple[Problem, Plan]]()
    supplies = {each.id: each for each in problem.supplies}
    profiles = {(each.model, each.variant, each.gpu): each for each in problem.profiles}

    def spent(place: Placement) -> float:
        supply = supplies[place[2]]
        return plan.replicas[place] * supply.price * profiles[place[0], place[1], supply.gpu].part(supply)

    found = list[Alternative]()
    order = sorted(plan.replicas, key=lambda each: (-spent(each), each))
    for number, place in enumerate(order):
        left = until - time.monotonic()
        if left <= 0:
            found.append(Alternative(place=place, replicas=plan.replicas[place]))
            continue
        share = max(0.2, 2 * left / (len(order) - number))
        if large and place[0] not in parts:
            alone = _alone(problem, plan, place[0])
            parts[place[0]] = alone, solve(alone, seconds=share)
        asked, now = parts[place[0]] if large else (problem, plan)
        other = solve(asked, seconds=share, without=frozenset((place,)))
        short = sum(other.unserved.values()) - sum(now.unserved.values())
        paid = _paid(other) - _paid(now)
        more = {each: count - plan.replicas.get(each, 0) for each, count in other.replicas.items()}
        found.append(
            Alternative(
                place=place,
                replicas=plan.replicas[place],
                dearer=max(0.0, paid) * DAY,
                unserved=short if short > TINY else 0.0,
                needed=other.costs.reserve > now.costs.reserve + TINY,
                instead=tuple(sorted((each, count) for each, count in more.items() if count > 0)),
            )
        )
    return found


def _alone(problem: Problem, plan: Plan, model: str) -> Problem:
    """One model, with what the others leave of the supplies."""
    others = rent(problem, {place: count for place, count in plan.replicas.items() if place[0] != model})
    return msgspec.structs.replace(
        problem,
        demands=tuple(each for each in problem.demands if each.model == model),
        profiles=tuple(each for each in problem.profiles if each.model == model),
        supplies=tuple(
            msgspec.structs.replace(each, quota=(each.gpus - _used(others, each)) // each.count, available=None)
            for each in problem.supplies
        ),
    )


def _used(rented: Mapping[str, Rented], supply: Supply) -> int:
    """GPUs."""
    return rented[supply.id].count * supply.rented if supply.id in rented else 0


def _paid(plan: Plan) -> float:
    return plan.cost - plan.costs.unserved - plan.costs.reserve


def settled(problem: Problem, plan: Plan, least_gain: float, *, seconds: float = 10.0) -> Plan:
    """What runs, where it keeps all rules and serves as much, and the plan saves less than `least_gain` of it; else the
    plan."""
    if not problem.running:
        return plan
    able = {each.place for each in options(problem)}
    kept = solve(problem, seconds=seconds, keep=True)
    worse = kept.costs.unserved + kept.costs.reserve > plan.costs.unserved + plan.costs.reserve + TINY
    if worse or not able.issuperset(each for each, count in problem.running.items() if count):
        return plan
    return kept if kept.cost - plan.cost < least_gain * kept.cost else plan


def conflict(problem: Problem, *, seconds: float = 20.0) -> tuple[int, ...]:
    """A set of demands, by index, that cannot all be served, and of which none can be taken away without that the
    others can; empty where all can be served. A single demand that cannot be served at all comes first; else demands
    are taken away one by one, the least first."""
    until = time.monotonic() + seconds

    def short(numbers: Sequence[int]) -> bool:
        left = max(0.1, until - time.monotonic())
        some = msgspec.structs.replace(problem, demands=tuple(problem.demands[number] for number in numbers))
        found = solve(some, seconds=left, goal="unserved")
        return sum(found.unserved.values()) + found.costs.reserve > TINY

    kept = [number for number, each in enumerate(problem.demands) if each.rate > 0]
    if not short(kept):
        return ()
    for number in kept:
        if nowhere(problem, number) or short([number]):
            return (number,)
    for number in sorted(kept, key=lambda at: problem.demands[at].rate):
        without = [each for each in kept if each != number]
        if time.monotonic() < until and short(without):
            kept = without
    return tuple(kept)


def nowhere(problem: Problem, number: int) -> list[str]:
    """Why a demand cannot be served anywhere, each reason once; empty where it can."""
    demand = problem.demands[number]
    profiles = [each for each in problem.profiles if each.model == demand.model]
    reasons = dict[str, None]()
    for profile in profiles:
        able = [each for each in problem.supplies if each.gpu == profile.gpu]
        for supply in able:
            if profile.gpus > min(supply.count, supply.gpus):
                reason = f"{supply.id} has {min(supply.count, supply.gpus)} of {profile.gpus} GPUs that a replica needs"
            else:
                reason = why_not(problem, demand, profile, supply)
            if not reason:
                return []
            reasons[reason] = None
        if not able:
            reasons[f"there is no {profile.gpu}"] = None
    return list(reasons) or [f"'{demand.model}' has no profile"]
