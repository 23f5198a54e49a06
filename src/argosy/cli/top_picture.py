"""What `argosy top` draws: endpoints with their traffic, then rollouts, then alerts."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from argosy.cli.output import size

STATES = {"ready": "green", "failed": "red", "stopped": "dim"}
VERDICTS = {"advance": "green", "rollback": "red", "pause": "yellow"}
BAR = 20
RIGHT = ("ready", "req/s", "errors", "p50", "p95", "cpu", "memory")
MOST_ALERTS = 5

Json = dict[str, Any]


class TopView(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the platform, as the control API tells it. `rollouts` are those that go on."""

    endpoints: list[Json]
    rates: dict[str, Json]
    loads: list[Json]
    rollouts: list[Json]
    alerts: list[Json]
    at: str


def picture(seen: TopView, rows: int = 1000) -> Group:
    """The screen; of the endpoints at most so many rows, what needs a look first, then the busiest."""
    parts: list[RenderableType] = [_heading(seen), _endpoints(seen, rows)]
    if (left := len(seen.endpoints) - rows) > 0:
        parts.append(Text(f"… and {left} more: make the window taller", "dim"))
    if seen.rollouts:
        parts += [Text(), *map(_rollout, seen.rollouts)]
    if seen.alerts:
        parts += [Text(), *map(_alert, seen.alerts[:MOST_ALERTS])]
    return Group(*parts)


def _heading(seen: TopView) -> Text:
    ready = sum(one["state"] == "ready" for one in seen.endpoints)
    requests = sum(one["requests"] for one in seen.rates.values())
    errors = sum(one["errors"] for one in seen.rates.values())
    text = Text(f"argosy top  {seen.at}  ", "bold", no_wrap=True, overflow="ellipsis")
    text.append(f"{ready} of {len(seen.endpoints)} ready, {_rate(requests)} requests/s, ", "not bold")
    return text.append(f"{_share(errors, requests)} errors", "red" if errors else "not bold")


def _endpoints(seen: TopView, rows: int) -> Table:
    drawn = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", expand=True)
    drawn.add_column("endpoint", no_wrap=True, overflow="ellipsis", ratio=3, min_width=10)
    drawn.add_column("serves", no_wrap=True, overflow="ellipsis", ratio=2, min_width=8)
    for name in RIGHT:
        drawn.add_column(name, justify="right", no_wrap=True)

    def order(one: Json) -> tuple[bool, float, str]:
        return one["state"] in ("ready", "stopped"), -_rates(seen, one)["requests"], one["name"]

    for one in sorted(seen.endpoints, key=order)[:rows]:
        drawn.add_row(*_row(seen, one))
    return drawn


def _rates(seen: TopView, one: Json) -> Json:
    return seen.rates.get(one["name"]) or {"requests": 0.0, "errors": 0.0, "p50": None, "p95": None}


def _row(seen: TopView, one: Json) -> Sequence[Text]:
    now = _rates(seen, one)
    loads = [each for each in seen.loads if each["endpoint"] == one["name"]]
    style = STATES.get(one["state"], "yellow")
    return (
        Text("● ", style).append(one["name"], "not dim default"),
        Text(one["serving"] or "-"),
        Text(f"{one['ready']}/{one['replicas']}", "" if one["ready"] >= one["replicas"] else "yellow"),
        Text(_rate(now["requests"])),
        Text(_share(now["errors"], now["requests"]), "red" if now["errors"] else ""),
        Text(_milliseconds(now["p50"])),
        Text(_milliseconds(now["p95"])),
        Text(f"{sum(each['cpu'] for each in loads):.2f}"),
        Text(size(sum(each["memory"] for each in loads))),
    )


def _rollout(found: Json) -> Text:
    weight = found["weight"]
    mine = round(BAR * weight / 100) if weight in (0, 100) else min(BAR - 1, max(1, round(BAR * weight / 100)))
    text = Text(f"{found['endpoint']}  ", "bold", no_wrap=True, overflow="ellipsis")
    text.append(f"{found['stable']} {100 - weight} % ", "not bold")
    text.append("█" * (BAR - mine), "blue").append("█" * mine, "magenta")
    text.append(f" {weight} % {found['candidate']}  ", "not bold")
    state = "paused" if found["paused"] else found["phase"]
    if not found["guarded"]:
        return text.append(state, "not bold")
    return text.append(f"{state}, guard: {found['verdict']}", VERDICTS.get(found["verdict"], "not bold"))


def _alert(found: Mapping[str, Any]) -> Text:
    text = Text(f"{found['severity']:6} ", "red", no_wrap=True, overflow="ellipsis")
    return text.append(f"{found['endpoint']} {found['kind']} {found['subject']}: {found['text']}", "default")


def _rate(value: float) -> str:
    if value < 0.005:
        return "0"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _share(errors: float, requests: float) -> str:
    return f"{errors / requests:.1%}" if requests else "-"


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1000:.1f}s" if value >= 1000 else f"{value:.0f}ms" if value >= 1 else "<1ms"
