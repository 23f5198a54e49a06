"""`argosy triggers`."""

from typing import Any

import click

from argosy.cli.base import Command, json_option
from argosy.cli.here import control, endpoint_path, place
from argosy.cli.output import Columns, emit, table
from argosy.console.words import clock

TRIGGERS: Columns = {
    "trigger": "name",
    "when": "when",
    "metric": "metric",
    "runs": "runs",
    "bad windows": lambda one: f"{one['bad']} of {one['windows']}",
    "fired (UTC)": ("fired", clock),
}
RUNS: Columns = {
    "trigger": "trigger",
    "fired (UTC)": ("at", clock),
    "version": "version",
    "state": "phase",
    "exit": "status",
    "why": lambda one: one["error"] or one["reason"],
}


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
    found = control().get(f"{endpoint_path(endpoint)}/triggers")
    emit(found, as_json, lambda: _print(endpoint, found))


def _print(endpoint: str, found: dict[str, Any]) -> None:
    table(TRIGGERS, found["triggers"], empty="no triggers are declared")
    if found["runs"]:
        click.echo()
        table(RUNS, found["runs"])
        click.echo(f"\nwhat commands say is in {place().logs}/trigger.{endpoint}.*.log", err=True)
