"""`argosy supply`: launch machines, end them, and see what providers have."""

import secrets
import time
from typing import Any

import click

from argosy.cli.base import Command, Group, json_option
from argosy.cli.here import actor, control
from argosy.cli.output import Columns, emit, progress, table
from argosy.console.words import clock
from argosy.spec.errors import DeadlineExceeded, Unavailable
from argosy.spec.foreign import printable

POLL = 0.5
LAUNCHES: Columns = {
    "launch": "id",
    "provider": lambda row: row["offer"]["provider"],
    "machine": lambda row: printable(row["machine"]) or row["offer"]["instance"],
    "where": lambda row: row["offer"]["zone"] or row["offer"]["region"],
    "state": "state",
    "$/h": lambda row: f"{row['price'] or row['offer']['price']:,.3f}",
    "since (UTC)": ("asked", clock),
    "why": lambda row: printable(row["reason"]),
}
FINDINGS: Columns = {
    "differs": "kind",
    "provider": "provider",
    "machine": lambda row: printable(row["machine"]),
    "launch": lambda row: printable(row["launch"]),
    "$/h": ("price", lambda price: f"{price:,.3f}"),
    "what": lambda row: printable(row["said"]),
}

GROUPS: Columns = {
    "group": "name",
    "market": "market",
    "ready": lambda row: f"{row['ready']}/{row['wanted']}",
    "spot": "spot",
    "on demand": "on_demand",
    "coming": "coming",
    "leaving": "leaving",
    "$/h": ("hourly", lambda price: f"{price:,.3f}"),
    "risk": ("risk", lambda risk: "" if risk is None else f"{risk:.2%}"),
    "why": lambda row: printable(row["reason"]),
}


@click.group(cls=Group)
def supply() -> None:
    """Launch machines at the providers of `supply.providers` in config.yaml, list and end them.

    \b
    Example:
      argosy supply launch here
      argosy supply ls
      argosy supply end argosy-0a1b2c3d4e5f-6a7b8c9d0e1f
    """


@supply.command("ls", cls=Command)
@click.option("--days", type=float, default=0.0, help="Those that ended within so many days, too.")
@json_option
def every(days: float, as_json: bool) -> None:
    """List launches, and what providers have that differs from them.

    A machine with an id of this platform that is not known, a second one of a launch, and one that is still there after
    its end are ended by the platform; one without an id is yours to end. JSON: {launches: [{id, offer, asked, state,
    machine, address, price, started, ready, ended, reason}], findings: [{kind, provider, launch, machine, price,
    said}]}.

    \b
    Example:
      argosy supply ls --days 7
    """
    found = control().get("/v1/launches", days=days)

    def render() -> None:
        table(LAUNCHES, found["launches"], empty="nothing is launched")
        if found["findings"]:
            click.echo()
            table(FINDINGS, found["findings"])

    emit(found, as_json, render)


@supply.command(cls=Command)
@json_option
def groups(as_json: bool) -> None:
    """List the groups of machines that are kept ready: `supply.groups` in config.yaml.

    The risk is the chance that fewer than wanted are ready at the next look. JSON: {groups: [{name, market, wanted,
    ready, spot, on_demand, coming, leaving, hourly, risk, reason}]}.

    \b
    Example:
      argosy supply groups
    """
    found = control().get("/v1/groups")
    emit(found, as_json, lambda: table(GROUPS, found["groups"], empty="supply.groups in config.yaml names none"))


@supply.command(cls=Command)
@click.argument("provider")
@click.argument("instance", default="")
@click.option("--gpu", default="", metavar="NAME", help="With this GPU.")
@click.option("--count", type=int, default=0, help="With so many of them.")
@click.option("--region", default="", help="In this region.")
@click.option("--zone", default="", help="In this zone.")
@click.option("--spot", is_flag=True, help="One that may be taken back.")
@click.option("--most", type=float, default=None, metavar="PRICE", help="For no more US dollars an hour.")
@click.option("--token", default="", help="What tells this launch from others: the same again launches nothing more.")
@click.option("--wait", type=float, default=0.0, metavar="SECONDS", help="Until it serves.")
@click.option("--reason", default="", help="Why, for the history.")
@json_option
def launch(provider: str, instance: str, spot: bool, token: str, wait: float, as_json: bool, **wanted: Any) -> None:
    """Launch a machine: the cheapest offer of PROVIDER that is as asked for.

    It is written down before the provider is asked, and asked for until it is there or refused. JSON: as in `ls`.

    \b
    Example:
      argosy supply launch cloud --gpu A10G --spot --most 0.8 --wait 600
    """
    api, token = control(), token or secrets.token_hex(6)
    body = {"provider": provider, "instance": instance, "market": "spot" if spot else "on_demand", "actor": actor()}
    found = api.put(f"/v1/launches/{token}", body | wanted)
    deadline = time.monotonic() + wait
    with progress(f"Waiting for {found['id']}"):
        while found["state"] in ("intended", "starting") and time.monotonic() < deadline:
            time.sleep(POLL)
            listed = api.get("/v1/launches", days=1)["launches"]
            found = next(each for each in listed if each["id"] == found["id"])
    emit(found, as_json, lambda: table(LAUNCHES, [found]))
    if wait and found["state"] in ("intended", "starting"):
        raise DeadlineExceeded(f"{found['id']} does not serve after {wait:g} s; it goes on: argosy supply ls")
    if found["state"] == "failed":
        raise Unavailable(f"{found['id']} failed: {printable(found['reason'])}")


@supply.command(cls=Command)
@click.argument("launch")
@click.option("--reason", default="", help="Why, for the history.")
@json_option
def end(launch: str, reason: str, as_json: bool) -> None:
    """End the machine of LAUNCH. The provider is asked until it has none. JSON: as in `ls`.

    \b
    Example:
      argosy supply end argosy-0a1b2c3d4e5f-6a7b8c9d0e1f
    """
    found = control().delete(f"/v1/launches/{launch}", actor=actor(), reason=reason)
    emit(found, as_json, lambda: table(LAUNCHES, [found]))
