"""`argosy ps`."""

from typing import Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.completion import endpoints
from argosy.cli.curl import endpoint_call
from argosy.cli.here import control
from argosy.cli.output import Column, Columns, emit, table
from argosy.cli.regions import in_regions
from argosy.console.words import money, since, size

ENDPOINTS: Columns = {
    "endpoint": "name",
    "state": "state",
    "version": "version",
    "ready": lambda one: f"{one['ready']}/{one['replicas']}",
    "url": "url",
}
REPLICAS: Columns = {
    "replica": "id",
    "phase": "phase",
    "version": "version",
    "pid": lambda one: one["pid"] or "–",
    "restarts": "restarts",
    "memory": ("memory", size),
    "age": ("started", since),
}


@click.command(cls=Command)
@click.argument("name", required=False, shell_complete=endpoints)
@json_option
def ps(name: str | None, as_json: bool) -> None:
    """List endpoints and replicas; with NAME, those of one endpoint.

    JSON: {endpoints: [{name, state, reason, model, version, digest, revision, serving, replicas, ready, url,
    slos: [{name, objective, latency, days, budget, severity, reason}], …}],
    replicas: [{id, endpoint, revision, version, phase, pid, started, restarts, memory, …}],
    recorder: {pid, records, dropped, waiting, problem, …} or null,
    away: {target: why its place is not heard}, regions: [as argosy regions ls has them],
    costs: [{endpoint, cost, per_request, …}] of this hour and the last, where there are prices}.

    \b
    Example:
      argosy ps
      argosy ps digits --json
    """
    api = control()
    endpoints = [api.endpoint(name)] if name else api.endpoints()
    replicas = [one for one in api.replicas() if name in (None, one["endpoint"])]
    status = api.get("/v1/status")
    status["regions"] = api.get("/v1/regions", endpoint=name)
    costs = api.get("/v1/costs", since=3600)["rows"]
    spent = {one["endpoint"]: one for one in costs if name in (None, one["endpoint"])}
    found = {"endpoints": endpoints, "replicas": replicas, "costs": [*spent.values()]}
    found |= {each: status[each] for each in ("recorder", "away", "regions")}
    emit(found, as_json, lambda: _print(endpoints, replicas, status, spent, name))


def _print(
    endpoints: list[dict[str, Any]],
    replicas: list[dict[str, Any]],
    status: dict[str, Any],
    spent: dict[str, dict[str, Any]],
    name: str | None,
) -> None:
    def cost(of: str) -> Column:
        return lambda one: money(spent[one["name"]][of]) if one["name"] in spent else "–"

    tokens = any(one["tokens"] for one in spent.values())
    each = {"1,000 tokens": cost("per_1k_tokens")} if tokens else {"a request": cost("per_request")}
    columns: Columns = {**ENDPOINTS, "this hour": cost("cost"), **each} if spent else ENDPOINTS
    table(columns, endpoints, empty="no endpoints yet: make one with  argosy deploy NAME:VERSION")
    for one in endpoints:
        if one["reason"]:
            click.echo(f"{one['name']}: {one['reason']}")
        if (cold := one.get("cold_start")) and cold["seconds"]:
            price: dict[str, str] = one["endpoint"].get("price") or {}
            click.echo(f"{one['name']}: {cold['state']}; a start took {_starts(cold, price.get('currency', ''))}")
    if objectives := [_objective(one["name"], slo) for one in endpoints for slo in one.get("slos", ())]:
        click.echo()
        table(("endpoint", "objective", "good", "budget left", "now"), objectives)
    if replicas:
        click.echo()
        table(REPLICAS, replicas)
    if any(not one["own"] for one in status["regions"]):
        click.echo()
        in_regions(status["regions"])
    if recorder := status["recorder"]:
        problem = f"; {recorder['problem']}" if recorder["problem"] else ""
        click.echo(f"\nrecorder: {recorder['records']:,} requests kept, {recorder['dropped']:,} dropped{problem}")
    for target, why in status["away"].items():
        click.echo(f"\ntarget {target} is away: {why}")
    for one in endpoints if name else ():
        click.echo(f"\n{endpoint_call(one['digest'], one['name'], one['url'], one['endpoint']['public'])}")


def _starts(cold: dict[str, Any], currency: str) -> str:
    """Seconds and price by what there was of the replica."""
    prices = {name: f" and {price:.2g} {currency}".rstrip() for name, price in cold["price"].items()}
    return ", ".join(f"{took:.2g} s{prices.get(name, '')} ({name})" for name, took in cold["seconds"].items())


def _objective(endpoint: str, slo: dict[str, Any]) -> tuple[str, ...]:
    within = f" within {slo['latency']:g} s" if slo["latency"] else ""
    good = f"{100 * slo['objective']:.8g}%{within}, {slo['days']:g} days"
    now = f"{slo['severity']}: {slo['reason']}" if slo["severity"] else slo["reason"]
    left = f"{slo['budget']:.0%}" if slo["budget"] >= 0 else f"none, spent {1 - slo['budget']:.1f} times"
    return endpoint, slo["name"], good, left, now
