"""From a plan's file to a plan that can be kept, to the numbers of replicas that regions are given. Pure."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping

import msgspec

from argosy.capacity.planner import declared as file_of
from argosy.capacity.planner.problem import Plan, Problem
from argosy.capacity.planner.reasons import conflict, explain, find, nowhere, settled
from argosy.capacity.planner.whole import solve
from argosy.spec.errors import InvalidArgument
from argosy.spec.offer import Offer
from argosy.spec.placement import DeclaredSupply, PlacementFile, Running
from argosy.spec.plan import Alternative, MadePlan, Numbers, PlannedReplicas, RentedSupply, Unserved

NOWHERE = ("",)
"""No region has this name: to a planner, none at all would mean all of them."""


class PlanJob(msgspec.Struct, frozen=True, kw_only=True):
    """Make a plan of a file whose supply is declared, searching for so many seconds."""

    file: PlacementFile
    seconds: float


def remade(job: PlanJob) -> MadePlan:
    """A plan with its alternatives; where not all demand can be served, as much as can be. For a child process."""
    return make(job.file, file_of.problem(job.file), seconds=job.seconds, explained=True)


def make(
    declared: PlacementFile, problem: Problem, *, seconds: float, explained: bool, strict: bool = False
) -> MadePlan:
    """The plan of a file's problem. With `strict` raises InvalidArgument where not all demand can be served."""
    found = find(problem, seconds=seconds)
    if strict and (found.unserved or found.costs.reserve > 1e-6):
        _refuse_conflict(declared, problem)
    plan = settled(problem, found, declared.rules.least_gain, seconds=seconds)
    reasons = explain(problem, plan, seconds=3 * seconds) if explained else []
    demand = declared.demand
    return MadePlan(
        cost=plan.cost,
        bound=plan.bound,
        gap=plan.gap,
        seconds=plan.seconds,
        kept=plan is not found,
        costs=msgspec.to_builtins(plan.costs),
        placements=tuple(_placements(declared, problem, plan)),
        unserved=tuple(
            Unserved(demand=demand[at].title, model=demand[at].model, rate=rate) for at, rate in plan.unserved.items()
        ),
        reasons=tuple(reasons),
        rates=tuple(each.rate or 0.0 for each in demand),
        prices={each.id: each.price for each in problem.supplies},
        regions=tuple(sorted({region_of(declared, each.region) for each in problem.supplies})),
        rented=tuple(
            RentedSupply(supply=each.id, unit=each.unit, **msgspec.structs.asdict(plan.rented[each.id]))
            for each in problem.supplies
            if each.id in plan.rented
        ),
    )


def region_of(declared: PlacementFile, region: str) -> str:
    """The region of Argosy that stands for one of a provider."""
    return declared.regions.get(region, region)


def endpoint_of(declared: PlacementFile, model: str) -> str:
    """The endpoint that serves a model."""
    return declared.models[model].endpoint or model


def supplied(declared: PlacementFile, offers: Iterable[Offer]) -> tuple[DeclaredSupply, ...]:
    """What is declared and offered, as supply that is declared; not what is offered too far away to serve anything."""
    names, near = DeclaredSupply.__struct_fields__, {region for row in declared.rtt.values() for region in row}
    found = file_of.problem(msgspec.structs.replace(declared, running=()), offers).supplies
    return tuple(
        DeclaredSupply(**{name: getattr(each, name) for name in names}) for each in found if each.region in near
    )


def numbers(declared: PlacementFile, plan: MadePlan, allowed: Mapping[str, Collection[str]]) -> Numbers:
    """What each region that the plan could use is to have; 0 where the plan has none. `allowed`: the regions that each
    endpoint declares; beyond them nothing is placed. Raises InvalidArgument where the plan has replicas there."""
    names = {endpoint_of(declared, each.model) for each in declared.demand}
    given = {region: dict.fromkeys(sorted(names), 0) for region in plan.regions}
    for each in plan.placements:
        if each.model not in declared.models or each.region not in given:
            raise InvalidArgument(f"the plan has '{each.model[:80]}' in '{each.region[:80]}', which its file has not")
        given[each.region][endpoint_of(declared, each.model)] += each.replicas
    for region, replicas in given.items():
        for name, count in list(replicas.items()):
            if count and name not in allowed:
                raise InvalidArgument(f"there is no endpoint '{name}': declare it first, with its regions")
            if region not in allowed.get(name, ()):
                if count:
                    raise InvalidArgument(f"endpoint '{name}' does not declare region '{region}'; nothing was changed")
                del replicas[name]
    return {region: replicas for region, replicas in given.items() if replicas}


def again(
    declared: PlacementFile,
    supply: Iterable[DeclaredSupply],
    rates: Iterable[float],
    running: Iterable[PlannedReplicas],
    without: Collection[str],
    allowed: Mapping[str, Collection[str]],
) -> PlacementFile:
    """The file of a plan that is made again: other rates and supply, from what runs, less the regions that are left
    out. Nothing may be served where its endpoint does not declare the region."""
    left = tuple(each for each in supply if region_of(declared, each.region) not in without)
    there, known = dict.fromkeys(each.region for each in left), {each.id for each in left}
    demand = tuple(
        msgspec.structs.replace(
            each,
            rate=rate if (may := allowed.get(endpoint_of(declared, each.model))) else 0.0,
            regions=tuple(
                name
                for name in there
                if region_of(declared, name) in (may or ()) and (not each.regions or name in each.regions)
            )
            or NOWHERE,
        )
        for each, rate in zip(declared.demand, rates, strict=True)
    )
    counts = defaultdict[tuple[str, str, str], int](int)
    for each in running:
        counts[each.model, each.supply, each.variant] += each.replicas if each.supply in known else 0
    runs = tuple(
        Running(model=model, supply=name, variant=variant, replicas=count)
        for (model, name, variant), count in counts.items()
        if count
    )
    return msgspec.structs.replace(declared, demand=demand, supply=left, offers="", quotas=(), running=runs)


def renting(each: RentedSupply) -> str:
    """What is rented and not used, and how GPUs are cut; empty where neither is."""
    found = [f"{count} into {_cut(slices)}" for slices, count in each.cuts]
    told = [f"GPUs are cut: {', '.join(found)}"] if found else []
    if each.unused * 100 >= 1:
        what = "machine" if each.unit == "machine" else "GPU"
        told.append(f"of {each.count} {what}{'s' if each.count != 1 else ''}, {each.unused:,.2f} $/h is not used")
    return f"{each.supply}: {'; '.join(told)}" if told else ""


def _cut(slices: tuple[str, ...]) -> str:
    return " + ".join(f"{count} x {name}" for name, count in Counter(slices).items())


def sentence(each: Alternative) -> str:
    """What a choice saves, in money."""
    what = f"{each.replicas} x {_place(each.place)}"
    if each.dearer is None:
        return f"{what}: not weighed, the time was up"
    if each.unserved:
        return f"{what}: without it {each.unserved:.3g} requests a second of it would not be served"
    if each.needed:
        return f"{what}: without it the rules of loss and of spot cannot be kept"
    if each.dearer * 100 < 1:
        return f"{what}: {instead(each)} would cost no more"
    return f"{what}: {instead(each)} would cost {each.dearer:,.2f} $/day more"


def instead(each: Alternative) -> str:
    """What would run instead of a choice."""
    return ", ".join(f"{count} x {_place(place)}" for place, count in each.instead) or "what is there"


def _place(place: tuple[str, str, str]) -> str:
    model, variant, supply = place
    return f"{model}{f' ({variant})' if variant else ''} on {supply}"


def _refuse_conflict(declared: PlacementFile, problem: Problem) -> None:
    """Raise InvalidArgument where not all demand can be served; what is merely dearer than its penalty can."""
    found = list(conflict(problem))
    if not found:
        return
    titles = [declared.demand[at].title for at in found]
    if len(found) > 1:
        raise InvalidArgument(
            "not all demand can be served; without any one of these the others could be: " + "; ".join(titles)
        )
    because = nowhere(problem, found[0])
    reason = "; ".join(because[:5]) if because else f"{_missing(problem, found[0])} of it is more than the quotas allow"
    raise InvalidArgument(f"{titles[0]} cannot be served: {reason}")


def _missing(problem: Problem, number: int) -> str:
    alone = msgspec.structs.replace(problem, demands=(problem.demands[number],))
    missing = sum(solve(alone, goal="unserved").unserved.values())
    return f"{missing:.3g}/s" if missing > 1e-6 else "what the rules of loss and of spot keep in reserve"


def _placements(declared: PlacementFile, problem: Problem, plan: Plan) -> Iterable[PlannedReplicas]:
    supplies = {each.id: each for each in problem.supplies}
    profiles = {(each.model, each.variant, each.gpu): each for each in problem.profiles}
    rates, totals = defaultdict[tuple[str, str, str], float](float), defaultdict[str, float](float)
    for (demand, variant, supply), rate in plan.flows.items():
        model = problem.demands[demand].model
        rates[model, variant, supply] += rate
        totals[model] += rate
    for (model, variant, supply), replicas in sorted(plan.replicas.items()):
        there = supplies[supply]
        yield PlannedReplicas(
            model=model,
            variant=variant,
            supply=supply,
            region=region_of(declared, there.region),
            replicas=replicas,
            hourly=there.price * profiles[model, variant, there.gpu].part(there) * replicas,
            share=rates[model, variant, supply] / totals[model] if totals[model] else 0.0,
        )
