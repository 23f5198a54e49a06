"""What `argosy rollout` and `argosy top` draw."""

from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from argosy.console.words import milliseconds, number, percent, rate, size
from argosy.spec.foreign import printable

WIDTH = 40
BAR = 20
COLOURS = {"done": "green", "rolled-back": "red", "aborted": "red", "superseded": "yellow"}
VERDICTS = {"advance": "green", "rollback": "red", "pause": "yellow"}
STATES = {"ready": "green", "failed": "red", "stopped": "dim"}
RIGHT = ("ready", "req/s", "errors", "p50", "p95", "cpu", "memory")
MOST_ALERTS = 5

Json = dict[str, Any]
NO_RATES: Json = {"requests": 0.0, "errors": 0.0, "p50": None, "p95": None}


class TopView(msgspec.Struct, frozen=True, kw_only=True):
    """The platform at one moment, as the control API reports it. `rollouts` are those that go on."""

    endpoints: list[Json]
    rates: dict[str, Json]
    loads: list[Json]
    rollouts: list[Json]
    alerts: list[Json]
    at: str
    costs: dict[str, Json] = {}


def rollout_picture(found: dict[str, Any]) -> Group:
    """Heading, shares of the traffic, what the shadow and the guard found, and their verdicts."""
    step = f", step {found['step']} of {found['steps']} for {found['spent']:.0f} s" if found["step"] else ""
    state = "paused" if found["paused"] and found["live"] else found["phase"]
    heading = Text(f"{found['endpoint']} rollout {found['number']} ({found['strategy']}{step}): ")
    heading.append(state, "yellow" if state == "paused" else COLOURS.get(found["phase"], "cyan"))
    shares = Text(f"{found['stable']} {100 - found['weight']:>3} % ").append_text(_split(found["weight"], WIDTH))
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
        parts.append(_verdict("guard", found["verdict"], found["verdict_reason"]))
    shown = (found["verdict_reason"], found["shadow"] and found["shadow"]["reason"])
    if found["reason"] and found["reason"] not in shown:
        parts.append(Text(found["reason"]))
    return Group(*parts)


def _split(weight: int, width: int) -> Text:
    """The traffic as a bar, the candidate's part at its end: never nothing and never all of it before it is."""
    part = round(width * weight / 100)
    part = part if weight in (0, 100) else max(1, min(width - 1, part))
    return Text("█" * (width - part), "blue").append("█" * part, "magenta")


def _verdict(whose: str, what: str, reason: str = "") -> Text:
    """A verdict in its colour, with its reason."""
    return Text(f"{whose}: {what}" + (f": {reason}" if reason else ""), VERDICTS.get(what, ""))


def _table(headings: tuple[str, ...], rows: list[tuple[str | Text, ...]]) -> Table:
    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    return table


def _evidence(log_e: float, limit: float) -> Text:
    """How far the evidence has come on its way to a rollback."""
    share = round(10 * min(1.0, max(0.0, log_e / limit))) if limit else 0
    return Text("■" * share, "red").append("□" * (10 - share), "dim")


def _shadow(found: dict[str, Any]) -> list[Text | Table]:
    """Progress, agreement with its interval, latencies, errors, outputs, ids that disagree."""
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
        parts.append(_verdict("shadow", found["verdict"], found["reason"]))
    return parts


def top_picture(view: TopView, rows: int = 1000) -> Group:
    """The screen; of the endpoints at most so many rows: those that are not ready first, then the busiest."""
    ready = sum(one["state"] == "ready" for one in view.endpoints)
    requests, errors = (sum(one[what] for one in view.rates.values()) for what in ("requests", "errors"))
    heading = Text(f"argosy top  {view.at}  ", "bold", no_wrap=True, overflow="ellipsis")
    heading.append(f"{ready} of {len(view.endpoints)} ready, {rate(requests)} requests/s, ", "not bold")
    heading.append(f"{_share(errors, requests)} errors", "red" if errors else "not bold")
    parts: list[RenderableType] = [heading, _endpoints(view, rows)]
    if (left := len(view.endpoints) - rows) > 0:
        parts.append(Text(f"… and {left} more: make the window taller", "dim"))
    if view.rollouts:
        parts += [Text(), *map(_rollout_line, view.rollouts)]
    if view.alerts:
        parts.append(Text())
    for each in view.alerts[:MOST_ALERTS]:
        text = Text(f"{each['severity']:6} ", "red", no_wrap=True, overflow="ellipsis")
        what = printable(f"{each['endpoint']} {each['kind']} {each['subject']}: {each['text']}")
        parts.append(text.append(what, "default"))
    return Group(*parts)


def _endpoints(view: TopView, rows: int) -> Table:
    drawn = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", expand=True)
    drawn.add_column("endpoint", no_wrap=True, overflow="ellipsis", ratio=3, min_width=10)
    drawn.add_column("serves", no_wrap=True, overflow="ellipsis", ratio=2, min_width=8)
    generates = any(each.get("tokens") is not None for each in view.rates.values())
    priced = ("$/request",) if view.costs else ()
    for name in (*RIGHT, *(("tokens/s",) if generates else ()), *priced):
        drawn.add_column(name, justify="right", no_wrap=True)

    def order(one: Json) -> tuple[bool, float, str]:
        requests = view.rates.get(one["name"], NO_RATES)["requests"]
        return one["state"] in ("ready", "stopped"), -requests, one["name"]

    for one in sorted(view.endpoints, key=order)[:rows]:
        now = view.rates.get(one["name"], NO_RATES)
        loads = [each for each in view.loads if each["endpoint"] == one["name"]]
        drawn.add_row(
            Text("● ", STATES.get(one["state"], "yellow")).append(one["name"], "not dim default"),
            Text(one["serving"] or "-"),
            Text(f"{one['ready']}/{one['replicas']}", "" if one["ready"] >= one["replicas"] else "yellow"),
            Text(rate(now["requests"])),
            Text(_share(now["errors"], now["requests"]), "red" if now["errors"] else ""),
            Text(milliseconds(now["p50"])),
            Text(milliseconds(now["p95"])),
            Text(f"{sum(each['cpu'] for each in loads):.2f}"),
            Text(size(sum(each["memory"] for each in loads))),
            *([Text(rate(now.get("tokens")))] if generates else []),
            *([Text(number(view.costs.get(one["name"], {}).get("per_request")))] if priced else []),
        )
    return drawn


def _rollout_line(found: Json) -> Text:
    weight = found["weight"]
    text = Text(f"{found['endpoint']}  ", "bold", no_wrap=True, overflow="ellipsis", end="\n")
    text.append(f"{found['stable']} {100 - weight} % ", "not bold").append_text(_split(weight, BAR))
    text.append(f" {weight} % {found['candidate']}  {'paused' if found['paused'] else found['phase']}", "not bold")
    return text.append(", ", "not bold").append_text(_verdict("guard", found["verdict"])) if found["guarded"] else text


def _share(errors: float, requests: float) -> str:
    return percent(errors / requests) if requests else "–"
