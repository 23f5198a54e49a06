"""`argosy rollout`: status, watch, pause, resume, promote, abort, undo."""

import time
from typing import Any

import click

from argosy.cli.base import Command, Group, json_option
from argosy.cli.completion import endpoints
from argosy.cli.here import actor, control, endpoint_path
from argosy.cli.output import emit

POLL_SECONDS = 0.5


@click.group(cls=Group)
def rollout() -> None:
    """Watch how a new version takes the traffic of the one before, and step in.

    \b
    Example:
      argosy rollout watch digits
      argosy rollout abort digits -m "support says it is odd"
    """


@rollout.command(cls=Command)
@click.argument("name", shell_complete=endpoints)
@json_option
def status(name: str, as_json: bool) -> None:
    """Show the last rollout of an endpoint: shares, step, what the guard has found and why it goes on or not.

    JSON: {phase, live, stable, candidate, weight, step, steps, exposed, verdict, verdict_reason, findings, shadow, …}.

    \b
    Example:
      argosy rollout status digits --json
    """
    found = control().get(f"{endpoint_path(name)}/rollout")
    emit(found, as_json, lambda: _print(found))


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console

    from argosy.cli.picture import rollout_picture

    Console(highlight=False).print(rollout_picture(found))


@rollout.command(cls=Command)
@click.argument("name", shell_complete=endpoints)
def watch(name: str) -> None:
    """Draw a rollout in the terminal as it goes, until it is over or Ctrl-C: weights, intervals, verdicts.

    \b
    Example:
      argosy rollout watch digits
    """
    from rich.live import Live

    from argosy.cli.picture import rollout_picture

    api, path = control(), f"{endpoint_path(name)}/rollout"
    found = api.get(path)
    with Live(rollout_picture(found), refresh_per_second=4) as live:
        while found["live"]:
            time.sleep(POLL_SECONDS)
            found = api.get(path)
            live.update(rollout_picture(found))


def _order(what: str, help: str) -> None:
    """One command that gives one order."""

    @click.argument("name", shell_complete=endpoints)
    @click.option("-m", "--reason", default="", help="Why; kept in the history.")
    @json_option
    def give(name: str, reason: str, as_json: bool) -> None:
        found = control().post(f"{endpoint_path(name)}/rollout/{what}", actor=actor(), reason=reason or None)
        emit(found, as_json, lambda: _print(found))

    example = f"\n\n\b\nExample:\n  argosy rollout {what} digits"
    rollout.command(what, cls=Command, help=help + example)(give)


_order("pause", "Stay at this step; evidence of harm still rolls back.")
_order("resume", "Go on after a pause.")
_order("promote", "Give the candidate all traffic as soon as it is ready, whatever the guard says.")
_order("abort", "Give the stable revision all traffic, at once.")
_order("undo", "Go back to the revision before the last rollout. It is recorded as a declaration.")
