"""`argosy place`."""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.deployments import why
from argosy.cli.here import control, endpoint_path, reason_option
from argosy.cli.output import emit, table
from argosy.cli.regions import path as region_path
from argosy.spec.errors import InvalidArgument

if TYPE_CHECKING:
    from argosy.capacity.planner.problem import Placement, Plan, Problem
    from argosy.capacity.planner.reasons import Reason
    from argosy.spec.offer import Offer
    from argosy.spec.placement import PlacementFile

MAX_BYTES = 16 * 1024 * 1024
DAY = 24


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--explain", "explained", is_flag=True, help="Say what each choice saves, in money.")
@click.option("--apply", "applied", is_flag=True, help="Have the endpoints run like that in their regions.")
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=10.0, show_default=True, help="Search so long.")
@reason_option
@json_option
def place(file: Path, explained: bool, applied: bool, seconds: float, reason: str, as_json: bool) -> None:
    """What to run where, so that all demand is served at the least cost.

    FILE declares models with what a replica of them does, demand by area, and supply (docs: placement). Costs are US
    dollars an hour. No plan costs less than the bound. Where not all demand can be served, the demands that are
    in each other's way are named, and nothing is applied. JSON: {cost, bound, gap, seconds, kept, costs, placements:
    [{model, variant, supply, replicas, hourly, share}], unserved: [{demand, rate}], reasons, applied}.

    \b
    Example:
      argosy place plan.yaml --explain
      argosy place plan.yaml --apply -m "cheaper L4 in eu-north"
    """
    from argosy.capacity.planner.reasons import explain, find, settled

    declared, problem = read_problem(file)
    found = find(problem, seconds=seconds)
    if found.unserved or found.costs.reserve > 1e-6:
        _refuse_conflict(declared, problem)
    plan = settled(problem, found, declared.rules.least_gain, seconds=seconds)
    reasons = explain(problem, plan, seconds=3 * seconds) if explained else []
    given = _apply(declared, problem, plan, reason) if applied else {}
    shown = {
        "cost": plan.cost,
        "bound": plan.bound,
        "gap": plan.gap,
        "seconds": plan.seconds,
        "kept": plan is not found,
        "costs": plan.costs,
        "placements": _placements(problem, plan),
        "unserved": [{"demand": declared.demand[at].title, "rate": rate} for at, rate in plan.unserved.items()],
        "reasons": reasons,
        "applied": given,
    }
    emit(shown, as_json, lambda: _render(shown, [_sentence(each) for each in reasons]))


def read_problem(file: Path) -> "tuple[PlacementFile, Problem]":
    """What a plan's file declares, and the planner's problem of it. Raises InvalidArgument."""
    from argosy.capacity.planner.declared import problem
    from argosy.spec.placement import PlacementFile
    from argosy.spec.strict import load_yaml

    with file.open("rb") as handle:
        data = handle.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InvalidArgument(f"{file} is over {MAX_BYTES} bytes: that is no plan")
    declared = _measured(load_yaml(data, PlacementFile, str(file)))
    return declared, problem(declared, _offers(declared.offers, file))


def _measured(declared: "PlacementFile") -> "PlacementFile":
    """With the rates that the platform has measured, for demand that declares none."""
    import msgspec

    if all(each.rate is not None for each in declared.demand):
        return declared
    client, rates = control(), dict[str, float]()
    demand = list(declared.demand)
    for at, each in enumerate(demand):
        if each.rate is None:
            if each.model not in rates:
                name = declared.models[each.model].endpoint or each.model
                steps = client.get(f"{endpoint_path(name)}/traffic", since=DAY * 3600, step=300)
                rates[each.model] = max((one["requests"] / max(60, one["seconds"]) for one in steps), default=0.0)
            demand[at] = msgspec.structs.replace(each, rate=rates[each.model] * each.share)
    return msgspec.structs.replace(declared, demand=tuple(demand))


def _offers(source: str, file: Path) -> "list[Offer]":
    import msgspec

    from argosy.spec.offer import Offer
    from argosy.supply.catalogue import read

    if not source:
        return []
    if source == "platform":
        found = control().get("/v1/offers", count=1, most=100_000)
        return msgspec.convert(found, list[Offer])
    path = file.parent / source
    return list(read(path.read_bytes(), path.stem, path.stat().st_mtime).offers)


def _refuse_conflict(declared: "PlacementFile", problem: "Problem") -> None:
    """Raise InvalidArgument where not all demand can be served; what is merely dearer than its penalty can."""
    from argosy.capacity.planner.reasons import conflict, nowhere

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


def _missing(problem: "Problem", number: int) -> str:
    import msgspec

    from argosy.capacity.planner.whole import solve

    alone = msgspec.structs.replace(problem, demands=(problem.demands[number],))
    missing = sum(solve(alone, goal="unserved").unserved.values())
    return f"{missing:.3g}/s" if missing > 1e-6 else "what the rules of loss and of spot keep in reserve"


def _placements(problem: "Problem", plan: "Plan") -> list[dict[str, Any]]:
    supplies = {each.id: each for each in problem.supplies}
    gpus = {(each.model, each.variant, each.gpu): each.gpus for each in problem.profiles}
    rates, totals = defaultdict[tuple[str, str, str], float](float), defaultdict[str, float](float)
    for (demand, variant, supply), rate in plan.flows.items():
        model = problem.demands[demand].model
        rates[model, variant, supply] += rate
        totals[model] += rate
    found = list[dict[str, Any]]()
    for (model, variant, supply), replicas in sorted(plan.replicas.items()):
        there = supplies[supply]
        price = there.price / there.count * gpus[model, variant, there.gpu]
        share = rates[model, variant, supply] / totals[model] if totals[model] else 0.0
        found.append(
            {"model": model, "variant": variant, "supply": supply, "replicas": replicas}
            | {"hourly": price * replicas, "share": share}
        )
    return found


def _apply(declared: "PlacementFile", problem: "Problem", plan: "Plan", reason: str) -> dict[str, dict[str, int]]:
    """Give each region its numbers of replicas; 0 where the plan has none."""
    regions = {each.id: declared.regions.get(each.region, each.region) for each in problem.supplies}
    names = {name: model.endpoint or name for name, model in declared.models.items()}
    wanted = {each.model for each in problem.demands}
    given = {region: {names[model]: 0 for model in wanted} for region in regions.values()}
    for (model, _, supply), replicas in plan.replicas.items():
        given[regions[supply]][names[model]] += replicas
    client = control()
    there = {each["endpoint"]["name"]: set(each["endpoint"]["regions"]) for each in client.get("/v1/endpoints")}
    for region, replicas in given.items():
        for name, count in list(replicas.items()):
            if name not in there:
                raise InvalidArgument(f"there is no endpoint '{name}': declare it first, with its regions")
            if region not in there[name]:
                if count:
                    raise InvalidArgument(f"endpoint '{name}' does not declare region '{region}'; nothing was changed")
                del replicas[name]
    for region, replicas in given.items():
        if replicas:
            client.put(f"{region_path(region)}/placements", {"replicas": replicas} | why(reason))
    return {region: replicas for region, replicas in given.items() if replicas}


def _place(place: "Placement") -> str:
    model, variant, supply = place
    return f"{model}{f' ({variant})' if variant else ''} on {supply}"


def _sentence(reason: "Reason") -> str:
    what = f"{reason.replicas} x {_place(reason.place)}"
    if reason.dearer is None:
        return f"{what}: not weighed, the time was up"
    if reason.unserved:
        return f"{what}: nothing else can serve {reason.unserved:.3g} requests a second of it"
    if reason.needed:
        return f"{what}: without it the rules of loss and of spot cannot be kept"
    instead = ", ".join(f"{count} x {_place(place)}" for place, count in reason.instead) or "what is there"
    if reason.dearer * 100 < 1:
        return f"{what}: {instead} would cost no more"
    return f"{what}: {instead} would cost {reason.dearer:,.2f} $/day more"


def _render(shown: dict[str, Any], reasons: list[str]) -> None:
    rows = [
        (
            each["model"],
            each["variant"],
            each["supply"],
            each["replicas"],
            f"{each['hourly']:,.3f}",
            f"{each['share']:.0%}",
        )
        for each in shown["placements"]
    ]
    table(("model", "variant", "supply", "replicas", "$/h", "share"), rows, empty="nothing has to run")
    costs = shown["costs"]
    parts = ", ".join(f"{name} {getattr(costs, name):,.3f}" for name in ("machines", "starts", "network", "unserved"))
    click.echo(
        f"\n{shown['cost']:,.3f} $/h ({parts}), {shown['cost'] * DAY:,.2f} $/day; no plan costs less than "
        f"{shown['bound']:,.3f}: a gap of at most {shown['gap']:.2%}, found in {shown['seconds']:.1f} s"
    )
    if shown["kept"]:
        click.echo("what runs is kept: another plan would save too little")
    for each in shown["unserved"]:
        click.echo(f"not served: {each['rate']:.3g}/s of {each['demand']}: to serve it costs more than its penalty")
    for each in reasons:
        click.echo(each)
    for region, replicas in shown["applied"].items():
        click.echo(f"region {region}: " + ", ".join(f"{name} {count}" for name, count in sorted(replicas.items())))
