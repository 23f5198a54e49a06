"""`argosy place`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from argosy.cli.base import Command, Group, json_option
from argosy.cli.deployments import why
from argosy.cli.here import control, endpoint_path, reason_option
from argosy.cli.output import Columns, emit, table
from argosy.console.words import clock, money
from argosy.spec.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from argosy.capacity.planner.problem import Problem
    from argosy.spec.offer import Offer
    from argosy.spec.placement import PlacementFile

MAX_BYTES = 16 * 1024 * 1024
DAY = 24


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--explain", "explained", is_flag=True, help="Say what each choice saves, in money.")
@click.option(
    "--apply", "applied", is_flag=True, help="Have the endpoints run like that in their regions; keep the plan."
)
@click.option("--propose", "proposed", is_flag=True, help="Keep the plan, to be applied later: argosy plans apply.")
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=10.0, show_default=True, help="Search so long.")
@reason_option
@json_option
def place(
    file: Path, explained: bool, applied: bool, proposed: bool, seconds: float, reason: str, as_json: bool
) -> None:
    """What to run where, so that all demand is served at the least cost.

    FILE declares models with what a replica of them does, demand by area, and supply (docs: placement). Costs are US
    dollars an hour. No plan costs less than the bound. Where not all demand can be served, the demands that are
    in each other's way are named, and nothing is applied. JSON: {cost, bound, gap, seconds, kept, costs, placements:
    [{model, variant, supply, region, replicas, hourly, share}], unserved: [{demand, model, rate}], reasons, rates,
    prices, regions, rented: [{supply, unit, count, hourly, unused, cuts}], applied}.

    \b
    Example:
      argosy place plan.yaml --explain
      argosy place plan.yaml --apply -m "cheaper L4 in eu-north"
    """
    import msgspec

    from argosy.regions.placing import make, supplied

    declared, problem = read_problem(file)
    plan = make(declared, problem, seconds=seconds, explained=explained or applied or proposed, strict=True)
    shown: dict[str, Any] = msgspec.to_builtins(plan) | {"applied": {}}
    if applied or proposed:
        measured, kept = _declared(file), declared
        if declared.offers and declared.offers != "platform":
            kept = msgspec.structs.replace(
                declared, supply=supplied(declared, _offers(declared.offers, file)), offers=""
            )
        kept = msgspec.structs.replace(kept, demand=measured.demand)
        found = control().post("/v1/plans", {"declared": kept, "plan": plan, "apply": applied} | why(reason))
        shown |= {"number": found["number"], "applied": found["numbers"] if applied else {}}
    emit(shown, as_json, lambda: _render(shown, explained, {} if not applied else shown["applied"]))
    if proposed and not (applied or as_json):
        click.echo(f"plan {shown['number']} is kept: argosy plans apply {shown['number']}")


def read_problem(file: Path) -> "tuple[PlacementFile, Problem]":
    """What a plan's file declares, and the planner's problem of it. Raises InvalidArgument."""
    from argosy.capacity.planner.declared import problem

    declared = _measured(_declared(file))
    return declared, problem(declared, _offers(declared.offers, file))


def _declared(file: Path) -> "PlacementFile":
    from argosy.spec.placement import PlacementFile
    from argosy.spec.strict import load_yaml

    with file.open("rb") as handle:
        data = handle.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InvalidArgument(f"{file} is over {MAX_BYTES} bytes: that is no plan")
    return load_yaml(data, PlacementFile, str(file))


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


def _render(shown: dict[str, Any], explained: bool, given: dict[str, dict[str, int]]) -> None:
    import msgspec

    from argosy.regions.placing import renting, sentence
    from argosy.spec.plan import Alternative, RentedSupply

    columns: Columns = {name: name for name in ("model", "variant", "supply", "replicas")}
    hourly: Columns = {"$/h": ("hourly", "{:,.3f}".format), "share": ("share", "{:.0%}".format)}
    table({**columns, **hourly}, shown["placements"], empty="nothing has to run")
    parts = ", ".join(f"{name} {shown['costs'][name]:,.3f}" for name in ("machines", "starts", "network", "unserved"))
    click.echo(
        f"\n{shown['cost']:,.3f} $/h ({parts}), {shown['cost'] * DAY:,.2f} $/day; no plan costs less than "
        f"{shown['bound']:,.3f}: a gap of at most {shown['gap']:.2%}, found in {shown['seconds']:.1f} s"
    )
    for told in filter(None, (renting(msgspec.convert(each, RentedSupply)) for each in shown["rented"])):
        click.echo(told)
    if shown["kept"]:
        click.echo("what runs is kept: another plan would save too little")
    for each in shown["unserved"]:
        click.echo(f"not served: {each['rate']:.3g}/s of {each['demand']}")
    for each in shown["reasons"] if explained else ():
        click.echo(sentence(msgspec.convert(each, Alternative)))
    for region, replicas in given.items():
        click.echo(f"region {region}: " + ", ".join(f"{name} {count}" for name, count in sorted(replicas.items())))


@click.group(cls=Group)
def plans() -> None:
    """Plans of what runs where that were kept: the current one, what is proposed instead, and those before.

    The current plan is made again when a region is lost or drained, or when demand or prices change, and applied where
    its file says so (replan: docs: placement).

    \b
    Example:
      argosy plans ls
      argosy plans show
      argosy plans apply 3 -m "west is gone for good"
    """


@plans.command("ls", cls=Command)
@json_option
def listed(as_json: bool) -> None:
    """List plans, the newest first. JSON: {plans: [{number, made, state, why, plan, numbers, actor, without, left,
    note, applied}], problem}.

    \b
    Example:
      argosy plans ls
    """
    found = control().get("/v1/plans")
    columns: Columns = {
        "plan": "number",
        "made": ("made", clock),
        "state": "state",
        "$/h": lambda one: money(one["plan"]["cost"]),
        "gap": lambda one: f"{one['plan']['gap']:.2%}",
        "without": "without",
        "why": "why",
    }
    empty = "no plan is kept yet: argosy place plan.yaml --apply"
    emit(found, as_json, lambda: table(columns, found["plans"], empty=empty))
    if found["problem"] and not as_json:
        click.echo(f"the plan could not be made again: {found['problem']}")


@plans.command(cls=Command)
@click.argument("number", type=int, required=False)
@json_option
def show(number: int | None, as_json: bool) -> None:
    """Show plan NUMBER, or the current one: what runs where, what it costs, what other choices would cost, and why it
    was made. JSON: one plan, as argosy plans ls has them.

    \b
    Example:
      argosy plans show 3
    """
    client = control()
    if number is None:
        number = next((one["number"] for one in client.get("/v1/plans")["plans"] if one["state"] == "current"), None)
        if number is None:
            raise NotFound("no plan is current: argosy place plan.yaml --apply")
    found = client.get(f"/v1/plans/{number}")
    emit(found, as_json, lambda: _show(found))


def _show(found: dict[str, Any]) -> None:
    click.echo(f"plan {found['number']}, {found['state']}, made {clock(found['made'])}: {found['why']}")
    if found["note"]:
        click.echo(f"it is not applied: {found['note']}")
    if found["without"]:
        click.echo(f"it leaves out {', '.join(found['without'])}")
    _render(found["plan"], True, found["numbers"])


@plans.command("apply", cls=Command)
@click.argument("number", type=int)
@reason_option
@json_option
def apply_plan(number: int, reason: str, as_json: bool) -> None:
    """Have endpoints run as plan NUMBER says, which is proposed. JSON: the plan.

    \b
    Example:
      argosy plans apply 3
    """
    found = control().post(f"/v1/plans/{number}/apply", why(reason))
    emit(found, as_json, lambda: _show(found))


@plans.command(cls=Command)
@reason_option
def end(reason: str) -> None:
    """Follow no plan any more. The numbers of replicas stay as they are.

    \b
    Example:
      argosy plans end
    """
    control().delete("/v1/plans", **why(reason))
    click.echo("no plan is followed; what runs stays")
