"""`argosy triggers`."""

import time
from typing import Any
from urllib.parse import quote

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import control, place
from argosy.cli.output import emit, table


@click.command(cls=Command)
@click.argument("endpoint")
@json_option
def triggers(endpoint: str, as_json: bool) -> None:
    """Show what an endpoint's triggers have seen, what they set off and how that ended.

    What commands say is in ARGOSY_HOME/logs/trigger.ENDPOINT.TRIGGER.log. JSON: {triggers: [{name, when, metric, runs,
    bad, windows, fired}], runs: [{id, trigger, version, at, reason, phase, tries, status, ended, error}]}.

    \b
    Example:
      argosy triggers flights
    """
    found = control().get(f"/v1/endpoints/{quote(endpoint, safe='')}/triggers")
    emit(found, as_json, lambda: _print(endpoint, found))


def _print(endpoint: str, found: dict[str, Any]) -> None:
    rows = [
        (
            one["name"],
            one["when"],
            one["metric"],
            one["runs"],
            f"{one['bad']} of {one['windows']}",
            _clock(one["fired"]),
        )
        for one in found["triggers"]
    ]
    table(("trigger", "when", "metric", "runs", "bad windows", "fired (UTC)"), rows, empty="no triggers are declared")
    if not found["runs"]:
        return
    click.echo()
    runs = [
        (one["trigger"], _clock(one["at"]), one["version"], one["phase"], one["status"], one["error"] or one["reason"])
        for one in found["runs"]
    ]
    table(("trigger", "fired (UTC)", "version", "state", "exit", "why"), runs)
    click.echo(f"\nwhat commands say is in {place().logs}/trigger.{endpoint}.*.log", err=True)


def _clock(moment: float | None) -> str:
    return "" if moment is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment))
