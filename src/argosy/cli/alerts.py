"""`argosy alerts`: list, mute, test; and `argosy triggers`."""

import re
from typing import Any

import click

from argosy.cli.base import Command, Group, json_option
from argosy.cli.completion import endpoints
from argosy.cli.here import actor, control, endpoint_path, place
from argosy.cli.output import Columns, emit, table
from argosy.console.words import clock
from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.spec.foreign import printable

UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
ORDER = {"firing": 0, "muted": 1}


@click.group(cls=Group)
def alerts() -> None:
    """List what is wrong with endpoints, mute it, try where alerts go.

    \b
    Example:
      argosy alerts ls
      argosy alerts mute digits/slo/availability@1767225600 --for 4h --reason "the migration"
      argosy alerts test
    """


@alerts.command("ls", cls=Command)
@click.option("--endpoint", default="", shell_complete=endpoints, help="Of this endpoint alone.")
@click.option("--all", "everything", is_flag=True, help="Those that are over, too.")
@json_option
def every(endpoint: str, everything: bool, as_json: bool) -> None:
    """List what is wrong with endpoints, since when, and what is muted.

    The id is what `mute` takes. Sinks that did not take their news are named below. JSON: {alerts: [{id, endpoint,
    kind, subject, severity, state, since, until, text, muted_until}], sinks: [{name, kind, waiting, lost, error}]}.

    \b
    Example:
      argosy alerts ls
      argosy alerts ls --endpoint digits --all --json
    """
    api = control()
    found = api.get("/v1/alerts", endpoint=endpoint or None)
    found = [each for each in found if everything or each["state"] != "resolved"]
    sinks = api.get("/v1/alerts/sinks")
    emit({"alerts": found, "sinks": sinks}, as_json, lambda: _print(found, sinks))


def _print(found: list[dict[str, Any]], sinks: list[dict[str, Any]]) -> None:
    ordered = sorted(found, key=lambda each: (ORDER.get(each["state"], 2), -each["since"]))
    columns: Columns = {
        "id": "id",
        "severity": "severity",
        "state": _state,
        "since (UTC)": ("since", clock),
        "what": lambda one: printable(f"{one['kind']} {one['subject']}: {one['text']}"),
    }
    table(columns, ordered, empty="nothing is wrong")
    for sink in sinks:
        if sink["waiting"] or sink["lost"]:
            line = f"sink {sink['name']}: {sink['waiting']} wait, {sink['lost']} given up: {sink['error']}"
            click.echo(line.rstrip(": "), err=True)
    if found and not sinks:
        click.echo("no sink is told: declare some under alerts in config.yaml", err=True)


def _state(one: dict[str, Any]) -> str:
    muted = one["state"] == "muted" and one["muted_until"]
    return f"muted until {clock(one['muted_until'])}" if muted else one["state"]


@alerts.command(cls=Command)
@click.argument("alert")
@click.option("--for", "length", required=True, metavar="TIME", help="30m, 4h, 7d, at most 90d; 0 ends a mute.")
@click.option("--reason", default="", help="Why, for the history.")
@json_option
def mute(alert: str, length: str, reason: str, as_json: bool) -> None:
    """Tell no sink of an alert for a while. It goes on, and is told if it still does when the mute ends.

    What ends and begins again for the same cause stays muted, too. JSON: {alert, until}.

    \b
    Example:
      argosy alerts mute digits/slo/availability@1767225600 --for 4h --reason "the migration"
      argosy alerts mute digits/slo/availability@1767225600 --for 0
    """
    body = {"alert": alert, "seconds": seconds(length), "actor": actor(), "reason": reason}
    found = control().post("/v1/alerts/mute", body)
    done = f"{alert} is muted until {clock(found['until'])} UTC" if body["seconds"] else f"{alert} is not muted"
    emit(found, as_json, lambda: click.echo(done))


def seconds(text: str, option: str = "--for") -> float:
    """`30m`, `4h`, `7d` or `2w` in seconds; `0`. Raises InvalidArgument."""
    if text == "0":
        return 0.0
    match = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)([mhdw])", text)
    if match is None:
        raise InvalidArgument(f"{option} is 30m, 4h, 7d or 2w, or 0, not '{text[:40]}'")
    return float(match[1]) * UNITS[match[2]]


@alerts.command(cls=Command)
@click.argument("sink", required=False)
@json_option
def test(sink: str | None, as_json: bool) -> None:
    """Send a test notice, and say what the sinks answered.

    To SINK alone, or to all that are declared. The exit status is that of Unavailable where one did not take it. JSON:
    [{sink, taken, said}].

    \b
    Example:
      argosy alerts test ops
    """
    found = control(timeout=60.0).post("/v1/alerts/test", {"sink": sink or ""})
    columns: Columns = {"sink": "sink", "": lambda one: "ok" if one["taken"] else "fail", "it said": "said"}
    emit(found, as_json, lambda: table(columns, found, "no sinks: declare some under alerts in config.yaml"))
    if not all(one["taken"] for one in found):
        click.get_current_context().exit(Unavailable.exit)


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
@click.argument("endpoint", shell_complete=endpoints)
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
    emit(found, as_json, lambda: _print_triggers(endpoint, found))


def _print_triggers(endpoint: str, found: dict[str, Any]) -> None:
    table(TRIGGERS, found["triggers"], empty="no triggers are declared")
    if found["runs"]:
        click.echo()
        table(RUNS, found["runs"])
        click.echo(f"\nwhat commands say is in {place().logs}/trigger.{endpoint}.*.log", err=True)
