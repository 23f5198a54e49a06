"""`argosy regions`: platforms to which this one gives its declarations."""

import sys
from typing import Any
from urllib.parse import quote

import click

from argosy.cli.base import Command, Group, json_option
from argosy.cli.deployments import why
from argosy.cli.here import control, place, reason_option
from argosy.cli.output import Columns, emit, table
from argosy.console.words import age, money, rate
from argosy.spec.errors import InvalidArgument

MOST_TOKEN = 256


@click.group(cls=Group)
def regions() -> None:
    """Regions: platforms of their own, to which this one gives the endpoints that declare `regions`.

    \b
    Example:
      ARGOSY_HOME=~/west argosy up -d --region west
      ARGOSY_HOME=~/west argosy regions token | argosy regions add west http://127.0.0.1:7071 --token -
      argosy regions ls
      argosy regions drain west
    """


def path(name: str) -> str:
    return f"/v1/regions/{quote(name, safe='')}"


@regions.command(cls=Command)
@click.argument("name")
@click.argument("url")
@click.option("--token", required=True, help="What argosy regions token prints in the region; - reads it from stdin.")
@click.option("--fingerprint", default="", help="SHA-256 of its certificate, where the system does not know that.")
@reason_option
@json_option
def add(name: str, url: str, token: str, fingerprint: str, reason: str, as_json: bool) -> None:
    """Add the region NAME, whose control API is at URL, or reach it by another URL or token.

    Endpoints that declare it begin to run there, with their packages and the keys that cover them. JSON: {name, url,
    own, gateway, version, draining, heard, away, skew, unsent, endpoints}.

    \b
    Example:
      argosy regions add west https://west.example:7070 --token - < west.token
    """
    secret = sys.stdin.read(MOST_TOKEN).strip() if token == "-" else token
    if not secret:
        raise InvalidArgument("the token is empty: run  argosy regions token  in the region")
    body = {"url": url, "token": secret, "fingerprint": fingerprint.replace(":", "").lower()} | why(reason)
    found = control().put(path(name), body)
    emit(found, as_json, lambda: click.echo(f"region {name} is there: declare  regions: [{name}]  for endpoints"))


@regions.command("ls", cls=Command)
@json_option
def every(as_json: bool) -> None:
    """List regions, and what runs there. JSON: a list of {name, url, own, gateway, version, draining, heard, away,
    skew, unsent, endpoints: {name: {state, reason, version, serving, replicas, ready, settled, problem,
    rate, hourly}}}.

    \b
    Example:
      argosy regions ls
    """
    found = control().get("/v1/regions")
    emit(found, as_json, lambda: shown(found))


def _state(one: dict[str, Any]) -> str:
    if one["away"]:
        return "away"
    return "draining" if one["draining"] else "ready"


COLUMNS: Columns = {
    "region": "name",
    "state": _state,
    "heard": lambda one: "here" if one["own"] else "never" if one["heard"] is None else f"{age(one['heard'])} ago",
    "gateway": "gateway",
}


def shown(found: list[dict[str, Any]]) -> None:
    """The regions, their endpoints, and what is wrong."""
    table(COLUMNS, found, empty="no regions yet: argosy regions add NAME URL --token -")
    if any(one["endpoints"] for one in found):
        click.echo()
    in_regions(found)


def in_regions(found: list[dict[str, Any]]) -> None:
    """Endpoints by region, and what is wrong there."""
    rows = [
        (
            name,
            one["name"],
            each["state"],
            each["serving"] or each["version"],
            f"{each['ready']}/{each['replicas']}",
            rate(each["rate"]),
            money(each["hourly"] or None),
        )
        for one in found
        for name, each in one["endpoints"].items()
    ]
    if rows:
        table(("endpoint", "region", "state", "version", "ready", "req/s", "$/h"), sorted(rows))
    for one in found:
        if one["away"]:
            click.echo(f"{one['name']}: {one['away']}")
        for ref, why_not in one["unsent"].items():
            click.echo(f"{ref} is not in {one['name']}: {why_not}")
        for name, each in one["endpoints"].items():
            if text := each["problem"] or each["reason"]:
                click.echo(f"{name} in {one['name']}: {text}")


@regions.command(cls=Command)
@click.argument("name")
@click.option("--resume", is_flag=True, help="Let it serve again.")
@reason_option
@json_option
def drain(name: str, resume: bool, reason: str, as_json: bool) -> None:
    """Have the region NAME serve nothing: the others start its part of the replicas, then it gives up its own.

    JSON: the region, as argosy regions add has it.

    \b
    Example:
      argosy regions drain west -m "maintenance"
      argosy regions drain west --resume
    """
    found = control().post(f"{path(name)}/drain", {"draining": not resume} | why(reason))
    emit(found, as_json, lambda: click.echo(f"region {name} {'serves again' if resume else 'drains'}"))


@regions.command(cls=Command)
@click.argument("name")
@click.option("--force", is_flag=True, help="Also where it does not answer: what runs there goes on.")
@reason_option
def remove(name: str, force: bool, reason: str) -> None:
    """Take back what the region NAME was given, and forget it.

    \b
    Example:
      argosy regions remove west
    """
    control().delete(path(name), force="true" if force else None, **why(reason))
    click.echo(f"region {name} is removed")


@regions.command(cls=Command)
def token() -> None:
    """Print the token by which the holder of a plan reaches this platform as a region. It opens nothing else.

    \b
    Example:
      argosy regions token
    """
    from argosy.api.token import ensure_of

    click.echo(ensure_of(place(), "region"))


@regions.command(cls=Command)
def leave() -> None:
    """Follow the holder of the plan no more: what it has placed on this platform goes.

    \b
    Example:
      argosy regions leave
    """
    control().delete("/v1/regions")
    click.echo("this platform follows no holder")
