"""`argosy simulate`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from argosy.cli.base import Command, Group, json_option
from argosy.cli.output import emit, table
from argosy.spec.errors import InvalidArgument
from argosy_simulators.routing.command import routing

if TYPE_CHECKING:
    from argosy.capacity.policy import Policy
    from argosy_simulators.compare import Comparison

POLICIES = ("argosy", "kpa", "hpa", "ray", "static")


@click.group(cls=Group)
def simulate() -> None:
    """Try a policy on a trace of requests before it touches an endpoint.

    \b
    Example:
      argosy simulate autoscale --trace AzureLLMInferenceTrace_conv.csv
    """


simulate.add_command(routing)


@simulate.command(cls=Command)
@click.option("--trace", "path", required=True, type=click.Path(path_type=Path), help="CSV file of requests.")
@click.option("--cold-start", type=float, default=180.0, show_default=True, help="Seconds until a replica is ready.")
@click.option("--concurrency", type=int, default=8, show_default=True, help="Requests a replica serves at once.")
@click.option("--initial", type=int, default=2, show_default=True, help="Replicas that are ready at the start.")
@click.option("--policy", default=",".join(POLICIES), show_default=True, help="Policies to compare, by comma.")
@click.option("--service", help="Service time of a token trace: FIXED,PER_INPUT,PER_OUTPUT seconds [0.1,0.0003,0.03].")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Write a picture (SVG) here.")
@json_option
def autoscale(
    path: Path,
    cold_start: float,
    concurrency: int,
    initial: int,
    policy: str,
    service: str | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Replay a trace under scaling policies: what each costs, and how late requests are.

    Reads the Azure LLM traces (TIMESTAMP,ContextTokens,GeneratedTokens), the Azure Functions trace of 2021, or plain
    arrival,service in seconds. `x clairvoyant` compares replica-hours with a plan made in perfect foresight under which
    1 % of requests wait over 2 s; `x work` with the work alone, which nothing can undercut. JSON: {trace, requests,
    clairvoyant_hours, work_hours, policies: [...]}.

    \b
    Example:
      argosy simulate autoscale --trace AzureLLMInferenceTrace_conv.csv --plot conv.svg
    """
    from argosy_simulators.compare import compare
    from argosy_simulators.picture import svg
    from argosy_simulators.simulate import Setup
    from argosy_simulators.trace import read

    if not (math.isfinite(cold_start) and cold_start >= 0) or concurrency < 1 or not 0 <= initial <= 1000:
        raise InvalidArgument("cold start must be 0 or more seconds, concurrency at least 1, initial 0 to 1000")
    trace = read(path, _times(service))
    setup = Setup(cold_start=cold_start, concurrency=concurrency, initial=initial)
    found = compare(trace, _policies(policy, trace, setup), setup)
    if plot:
        plot.write_text(svg(found), encoding="utf-8")
    emit(_summary(found), as_json, lambda: _render(found, plot))


@simulate.command(cls=Command)
@click.option("--trace", "path", required=True, type=click.Path(path_type=Path), help="Folder of ZONE_*.json.")
@click.option("--replicas", type=click.IntRange(1, 64), default=4, show_default=True, help="Replicas that are wanted.")
@click.option("--most", type=click.IntRange(1, 64), default=2, show_default=True, help="Replicas a zone may have.")
@click.option("--price", type=float, default=0.3, show_default=True, help="Of spot, as a share of on demand.")
@json_option
def spot(path: Path, replicas: int, most: int, price: float, as_json: bool) -> None:
    """Replay the availability of spot capacity: what a hedge costs, and how often it is short.

    Reads {"metadata": {"gap_seconds": 195}, "data": [0, 1, ...]} by zone. `cost` is a share of all replicas on demand,
    `short` of the ticks. JSON: {bound, ticks, policies: [{policy, cost, short, launches, lost}]}.

    \b
    Example:
      argosy simulate spot --trace spot_traces/aws-02-15-2023 --replicas 8
    """
    from argosy.capacity.spot import Hedge
    from argosy_simulators.spot import bound, compare, read, zones

    if not 0 < price < 1:
        raise InvalidArgument(f"--price is a share of on demand, between 0 and 1; not {price}")
    trace = read(path)
    hedge = Hedge(zones=zones(trace, price), replicas=replicas, on_demand=1.0, most=most)
    found, least = compare(trace, hedge), bound(trace, hedge)
    rows = [(one.policy, f"{one.cost:.3f}", f"{one.short:.2%}", str(one.launches), str(one.lost)) for one in found]

    def render() -> None:
        click.echo(f"{len(trace.zones)} zones, {trace.up.shape[1]} ticks; bound {least:.3f} of on demand\n")
        table(("policy", "cost", "short", "launched", "lost"), rows)

    keys = ("policy", "cost", "short", "launches", "lost")
    policies = [{key: getattr(one, key) for key in keys} for one in found]
    emit({"bound": least, "ticks": trace.up.shape[1], "policies": policies}, as_json, render)


@simulate.command(cls=Command)
@click.option("--trace", "path", required=True, type=click.Path(path_type=Path), help="Folder of ZONE_*.json.")
@click.option("--work", type=float, default=48.0, show_default=True, help="Hours that the job takes.")
@click.option("--deadline", "limit", type=float, default=70.0, show_default=True, help="Hours until it has to be done.")
@click.option(
    "--changeover", type=float, default=0.2, show_default=True, help="Hours until work goes on after a start."
)
@click.option("--price", type=float, default=0.3, show_default=True, help="Of spot, as a share of on demand.")
@click.option("--windows", type=click.IntRange(1, 1000), default=5, show_default=True, help="Beginnings in the trace.")
@click.option("--alone", is_flag=True, help="Each zone by itself, instead of all of them at once.")
@json_option
def deadline(
    path: Path, work: float, limit: float, changeover: float, price: float, windows: int, alone: bool, as_json: bool
) -> None:
    """Replay work with a deadline on spot capacity: what it costs, and whether it is done in time.

    Reads what `argosy simulate spot` reads. `cost` is a share of all work on demand, `on demand` the share of the work
    done there. JSON: {bound, windows, lines: [{policy, cost, demand, starts, missed}]}.

    \b
    Example:
      argosy simulate deadline --trace spot_traces/aws-02-15-2023 --work 48 --deadline 70 --alone
    """
    from argosy_simulators.deadline import compare, job
    from argosy_simulators.spot import read

    if not 0 < price < 1:
        raise InvalidArgument(f"--price is a share of on demand, between 0 and 1; not {price}")
    trace = read(path)
    of = job(trace, work=work, deadline=limit, changeover=changeover, price=price)
    found = compare(trace, of, windows, alone=alone)
    rows = [
        (line.policy, f"{line.cost:.3f}", f"{line.demand:.1%}", f"{line.starts:.1f}", str(line.missed))
        for line in found.lines
    ]

    def render() -> None:
        click.echo(f"{found.windows} windows of {len(trace.zones)} zones; bound {found.bound:.3f} of on demand\n")
        table(("policy", "cost", "on demand", "starts", "missed"), rows)

    emit(msgspec.to_builtins(found), as_json, render)


@simulate.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--trace", "path", required=True, type=click.Path(path_type=Path), help="CSV: time,model,area,rate,bucket."
)
@json_option
def placement(file: Path, path: Path, as_json: bool) -> None:
    """Replay a log of demand against the plan in FILE: what ways to plan cost, and what they leave unserved.

    FILE is what argosy place takes; the rates are those of the log, which has a time in seconds in each row. Each way
    plans with the demand of the time before; `rules broken` counts times. `anew` forgets what runs, `greedy` takes the
    cheapest place for one demand after another, `static peak` is one plan for the peaks. JSON: {times, hours, policies:
    [{policy, cost, starts, unserved, changes, broken}]}.

    \b
    Example:
      argosy simulate placement plan.yaml --trace demand.csv
    """
    from argosy.cli.place import read_problem
    from argosy_simulators.placement import compare, read

    declared, problem = read_problem(file)
    log = read(path, problem)
    found = compare(problem, log, declared.rules.least_gain)

    def row(each: Any) -> tuple[str, ...]:
        money = f"{each.cost:,.2f}", f"{each.starts:,.2f}"
        return each.policy, *money, f"{each.unserved:.2%}", str(each.changes), str(each.broken)

    headings = ("policy", "$", "$ of starts", "unserved", "changes", "rules broken")
    shown = {"times": len(log.rates), "hours": log.hours, "policies": found}
    emit(shown, as_json, lambda: table(headings, map(row, found)))


def _times(text: str | None) -> Any:
    from argosy_simulators.trace import TokenTimes

    if text is None:
        return TokenTimes()
    try:
        return TokenTimes(**dict(zip(("fixed", "per_input", "per_output"), map(float, text.split(",")), strict=True)))
    except ValueError:
        raise InvalidArgument(f"--service takes three numbers, as in 0.1,0.0003,0.03; not '{text}'") from None


def _policies(names: str, trace: Any, setup: Any) -> "dict[str, Policy[Any]]":
    from argosy_simulators.compare import DEFAULTS, static_peak

    chosen: dict[str, Policy[Any]] = {}
    for name in names.split(","):
        if name not in POLICIES:
            raise InvalidArgument(f"there is no policy '{name}'; choose from {', '.join(POLICIES)}")
        if name == "static":
            peak = static_peak(trace, setup)
            chosen[f"static {peak.replicas}"] = peak
        else:
            chosen[name] = DEFAULTS[name]()
    return chosen


def _summary(found: "Comparison") -> dict[str, Any]:
    return {
        "trace": found.trace.name,
        "requests": len(found.trace.arrivals),
        "clairvoyant_hours": found.bound.replica_hours,
        "work_hours": found.bound.work_hours,
        "policies": [
            {"policy": line.policy, "ratio": line.ratio, "work_ratio": line.work_ratio, "score": line.score}
            for line in found.lines
        ],
    }


def _render(found: "Comparison", plot: Path | None) -> None:
    import numpy as np

    from argosy_simulators.picture import needed, series, sparkline

    bound = found.bound
    click.echo(
        f"{found.trace.name}: {len(found.trace.arrivals)} requests in {found.end / 60:.0f} min; "
        f"clairvoyant {bound.replica_hours:.2f} replica-hours, work alone {bound.work_hours:.2f}\n"
    )
    columns = ("policy", "replica-hours", "x clairvoyant", "x work", "over 2 s", "p50 wait", "p99 wait", "peak")
    table(columns, [_row(line) for line in found.lines])
    grid = np.linspace(found.begin, found.end, 480)
    rows = [("load", needed(found, grid))] + [(line.policy, series(line, grid)[1]) for line in found.lines]
    width = max(len(name) for name, _ in rows)
    click.echo("\nreplicas over time, each line up to its own peak")
    for name, values in rows:
        click.echo(f"{name.ljust(width)}  {sparkline(values.tolist())}  {values.max():.0f}")
    if plot:
        click.echo(f"\nwrote {plot}")


def _row(line: Any) -> tuple[str, ...]:
    one = line.score
    return (
        line.policy,
        f"{one.replica_hours:.2f}",
        f"{line.ratio:.2f}",
        f"{line.work_ratio:.2f}",
        f"{one.late:.2%}",
        f"{one.p50_wait:.1f} s",
        f"{one.p99_wait:.1f} s",
        str(one.peak),
    )
