"""`argosy rollout`: status, watch, pause, resume, promote, abort, undo."""

import time
from typing import TYPE_CHECKING, Any

import click

from argosy.cli.base import Command, Group, json_option
from argosy.cli.here import actor, control, endpoint_path
from argosy.cli.output import emit
from argosy.console.words import milliseconds

if TYPE_CHECKING:
    from rich.console import Group as Drawing
    from rich.table import Table
    from rich.text import Text

POLL_SECONDS = 0.5
WIDTH = 40
COLOURS = {"done": "green", "rolled-back": "red", "aborted": "red", "superseded": "yellow"}
VERDICTS = {"advance": "green", "rollback": "red", "pause": "yellow"}


@click.group(cls=Group)
def rollout() -> None:
    """Watch how a new version takes the traffic of the one before, and step in.

    \b
    Example:
      argosy rollout watch digits
      argosy rollout abort digits -m "support says it is odd"
    """


@rollout.command(cls=Command)
@click.argument("name")
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

    Console(highlight=False).print(picture(found))


@rollout.command(cls=Command)
@click.argument("name")
def watch(name: str) -> None:
    """Draw a rollout in the terminal as it goes, until it is over or Ctrl-C: weights, intervals, verdicts.

    \b
    Example:
      argosy rollout watch digits
    """
    from rich.live import Live

    api, path = control(), f"{endpoint_path(name)}/rollout"
    found = api.get(path)
    with Live(picture(found), refresh_per_second=4) as live:
        while found["live"]:
            time.sleep(POLL_SECONDS)
            found = api.get(path)
            live.update(picture(found))


def _order(what: str, help: str) -> None:
    """One command that gives one order."""

    @click.argument("name")
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


def picture(found: dict[str, Any]) -> "Drawing":
    """Heading, shares of the traffic, what the shadow and the guard found, and their verdicts."""
    from rich.console import Group as Drawing
    from rich.text import Text

    step = f", step {found['step']} of {found['steps']} for {found['spent']:.0f} s" if found["step"] else ""
    state = "paused" if found["paused"] and found["live"] else found["phase"]
    heading = Text(f"{found['endpoint']} rollout {found['number']} ({found['strategy']}{step}): ")
    heading.append(state, "yellow" if state == "paused" else COLOURS.get(found["phase"], "cyan"))
    shares = Text(f"{found['stable']} {100 - found['weight']:>3} % ").append_text(split(found["weight"], WIDTH))
    shares.append(f" {found['weight']} % {found['candidate']}  {found['exposed']:,} requests")
    parts: list[Text | Table] = [heading, shares]
    if found["shadow"]:
        parts += _shadow(found["shadow"])
    if found["findings"]:
        rows = [
            (each["metric"], each["text"], _evidence(each.get("log_e") or 0.0, found["limit"]))
            for each in found["findings"]
        ]
        parts.append(_table(("metric", "", "evidence of harm"), rows))
    if found["guarded"] and found["verdict_reason"]:
        parts.append(verdict("guard", found["verdict"], found["verdict_reason"]))
    shown = (found["verdict_reason"], found["shadow"] and found["shadow"]["reason"])
    if found["reason"] and found["reason"] not in shown:
        parts.append(Text(found["reason"]))
    return Drawing(*parts)


def split(weight: int, width: int) -> "Text":
    """The traffic as a bar, the candidate's part at its end: never nothing and never all of it before it is."""
    from rich.text import Text

    part = round(width * weight / 100)
    part = part if weight in (0, 100) else max(1, min(width - 1, part))
    return Text("█" * (width - part), "blue").append("█" * part, "magenta")


def verdict(whose: str, what: str, reason: str = "") -> "Text":
    """A verdict in its colour, with its reason."""
    from rich.text import Text

    return Text(f"{whose}: {what}" + (f": {reason}" if reason else ""), VERDICTS.get(what, ""))


def _table(headings: tuple[str, ...], rows: "list[tuple[str | Text, ...]]") -> "Table":
    from rich.table import Table

    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    return table


def _evidence(log_e: float, limit: float) -> "Text":
    """How far the evidence has come on its way to a rollback."""
    from rich.text import Text

    share = round(10 * min(1.0, max(0.0, log_e / limit))) if limit else 0
    return Text("■" * share, "red").append("□" * (10 - share), "dim")


def _shadow(found: dict[str, Any]) -> "list[Text | Table]":
    """Progress, agreement with its interval, latencies, errors, outputs, ids that disagree."""
    from rich.text import Text

    done = min(20, 20 * found["compared"] // found["requests"])
    progress = Text("shadow ").append("█" * done, "cyan").append("░" * (20 - done), "dim")
    progress.append(f" {found['compared']:,} of {found['requests']:,} answers compared, ")
    progress.append(f"{found['share']:.4g} of the requests")
    lost, repeated = sum(found["unmatched"]), found["repeated"]
    if lost or repeated:
        progress.append(f"; {lost:,} without the other's, {repeated:,} ids twice")
    agreement = Text(f"agreement {found['agreement']:.2%} ({found['low']:.2%} to {found['high']:.2%}), ")
    agreement.append(f"needed {found['needed']:.2%}; failed: candidate {found['candidate_failed']:,}, ")
    agreement.append(f"stable {found['stable_failed']:,}")
    stable, candidate = found["stable_latency"], found["candidate_latency"]
    if stable["p50"] is not None and candidate["p50"] is not None:
        both = [
            f"{q} {milliseconds(1000 * candidate[q])}, stable {milliseconds(1000 * stable[q])}" for q in ("p50", "p95")
        ]
        agreement.append(f"; latency {', '.join(both)}")
    parts: list[Text | Table] = [progress, agreement]
    if found["outputs"]:
        rows: list[tuple[str | Text, ...]] = [
            (each["name"], f"{each['agreement']:.2%}", f"{each['largest']:.3g}", f"{each['mean']:.3g}")
            for each in found["outputs"]
        ]
        parts.append(_table(("output", "agrees", "largest difference", "mean"), rows))
    if found["examples"]:
        examples = "; ".join(f"{id} ({what})" for id, what in found["examples"])
        parts.append(Text(f"disagree: {examples}", "dim"))
    if found["reason"]:
        parts.append(verdict("shadow", found["verdict"], found["reason"]))
    return parts
