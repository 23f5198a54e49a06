"""A rollout as the terminal shows it."""

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from argosy.cli.shadow_picture import shadow_picture

WIDTH = 40
COLOURS = {"done": "green", "rolled-back": "red", "aborted": "red", "superseded": "yellow"}
VERDICTS = {"advance": "green", "rollback": "red", "pause": "yellow"}


def picture(found: dict[str, Any]) -> Group:
    """Heading, shares of the traffic, what the shadow and the guard found, and what they say."""
    parts: list[Text | Table] = [_heading(found), _shares(found)]
    if found["shadow"]:
        parts += shadow_picture(found["shadow"])
    if found["findings"]:
        parts.append(_findings(found))
    if found["guarded"] and found["verdict_reason"]:
        parts.append(Text(f"guard: {found['verdict']}: {found['verdict_reason']}", VERDICTS.get(found["verdict"], "")))
    said = (found["verdict_reason"], found["shadow"] and found["shadow"]["reason"])
    if found["reason"] and found["reason"] not in said:
        parts.append(Text(found["reason"]))
    return Group(*parts)


def _heading(found: dict[str, Any]) -> Text:
    step = f", step {found['step']} of {found['steps']} for {found['spent']:.0f} s" if found["step"] else ""
    state = "paused" if found["paused"] and found["live"] else found["phase"]
    text = Text(f"{found['endpoint']} rollout {found['number']} ({found['strategy']}{step}): ")
    text.append(state, "yellow" if state == "paused" else COLOURS.get(found["phase"], "cyan"))
    return text


def _shares(found: dict[str, Any]) -> Text:
    weight = found["weight"]
    mine = round(WIDTH * weight / 100) if weight in (0, 100) else max(1, min(WIDTH - 1, round(WIDTH * weight / 100)))
    text = Text(f"{found['stable']} {100 - weight:>3} % ")
    text.append("█" * (WIDTH - mine), "blue").append("█" * mine, "magenta")
    return text.append(f" {weight} % {found['candidate']}  {found['exposed']:,} requests")


def _findings(found: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("metric", "", "evidence of harm"):
        table.add_column(column)
    for each in found["findings"]:
        table.add_row(each["metric"], each["text"], _bar(each.get("log_e") or 0.0, found["limit"]))
    return table


def _bar(log_e: float, limit: float) -> Text:
    """How far the evidence has come on its way to a rollback."""
    share = min(1.0, max(0.0, log_e / limit)) if limit else 0.0
    return Text("■" * round(10 * share), "red").append("□" * (10 - round(10 * share)), "dim")
