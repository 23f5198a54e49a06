"""The pages of what monitoring has found of an endpoint: drift, and how good the model still is."""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from markupsafe import Markup
from starlette.responses import Response

from argosy.console import chart, words
from argosy.console.endpoint import find, last_rollout
from argosy.console.heat import drifted, heat, level
from argosy.console.pages import Console, PageRequest
from argosy.store import findings
from argosy.store.findings import Finding

RANGES = {"24h": 86400, "7d": 7 * 86400, "30d": 30 * 86400}
DRIFT = ("drift", "prediction", "multivariate")
QUALITY = ("estimate", "realised", "reconcile")
ROWS = 12


async def drift(console: Console, ask: PageRequest) -> Response:
    """The heat map, and details of the chosen cell: the last one of the first row, unless one is named."""
    found, common = await _found(console, ask, DRIFT)
    drawn = await asyncio.to_thread(heat, found)
    kind, subject, end = (ask.query.get(name, "") for name in ("kind", "subject", "end"))
    mine = [each for each in found if each.subject == subject and each.kind == kind]
    exact = [each for each in mine if f"{each.window_end:.0f}" == end]
    cell = next(iter(exact[::-1] or mine[::-1]), None)
    if cell is None and drawn.rows:
        cell = next((each for each in reversed(drawn.rows[0].cells) if each), None)
    over_time = [each for each in found if cell and (each.kind, each.subject) == (cell.kind, cell.subject)]
    values: dict[str, Any] = {
        "tab": "drift",
        "heat": drawn,
        "times": [words.clock(each.end) for each in drawn.windows],
        "level": level,
        "drifted": drifted,
        "cell": cell,
        "effects": effects(over_time, "effect over time"),
        "distributions": _distributions(cell) if cell else None,
    }
    return await asyncio.to_thread(console.render, ask, "drift.html", **common, **values)


async def performance(console: Console, ask: PageRequest) -> Response:
    """Estimated and realised performance with their intervals, a chart for each metric."""
    found, common = await _found(console, ask, QUALITY)
    metrics = dict.fromkeys(each.subject for each in found if each.kind != "reconcile")
    values: dict[str, Any] = {
        "tab": "performance",
        "metrics": [quality(metric, found) for metric in metrics],
        "notes": [each for each in found if each.kind == "reconcile"][::-1][:ROWS],
    }
    return console.render(ask, "performance.html", **common, **values)


async def _found(console: Console, ask: PageRequest, kinds: Sequence[str]) -> tuple[list[Finding], dict[str, Any]]:
    """What was found in the chosen time, and what both pages show."""
    status, chosen = find(console, ask), ask.query.get("range", "7d")
    chosen = chosen if chosen in RANGES else "7d"
    found = await asyncio.to_thread(findings.read, console.database, status.name, kinds, time.time() - RANGES[chosen])
    rollout = await last_rollout(console, status.name)
    return found, {"one": status, "rollout": rollout, "range": chosen, "ranges": list(RANGES)}


def effects(found: Sequence[Finding], label: str, *, from_zero: bool = True) -> Markup:
    """The effect of one subject over time, with its interval."""
    line = chart.ChartLine("main", "effect", chart.field(found, "effect"))
    band = chart.Band("main", chart.field(found, "low"), chart.field(found, "high"))
    times = [each.window_end for each in found]
    return chart.lines(times, [line], label, words.number, bands=[band], from_zero=from_zero)


def _distributions(cell: Finding) -> Markup | None:
    """Reference and current shares over the same bins."""
    reference, current = _shares(cell.detail.get("reference")), _shares(cell.detail.get("current"))
    if not reference or len(reference) != len(current):
        return None
    labels = [str(each) for each in cell.detail.get("labels", ())]
    return chart.overlay(reference, current, labels, f"distributions of {cell.subject}")


def _shares(values: Any) -> tuple[float, ...]:
    """Counts or shares → shares; nothing for what are no numbers."""
    try:
        numbers = msgspec.convert(values, tuple[float, ...])
    except msgspec.ValidationError:
        return ()
    total = math.fsum(numbers)
    return tuple(each / total for each in numbers) if total > 0 and all(each >= 0 for each in numbers) else ()


def quality(metric: str, found: Sequence[Finding]) -> dict[str, Any]:
    """One metric over time: its chart, and its last windows by their ends, estimated and realised."""
    estimated, realised = (_windows(kind, metric, found) for kind in ("estimate", "realised"))
    times = sorted({*estimated, *realised})

    def values(of: dict[float, Finding], field: str) -> list[float | None]:
        known = {at: each for at, each in of.items() if not each.undecided}
        return [getattr(known[at], field) if at in known else None for at in times]

    both = (("stable", "realised", realised), ("main", "estimated", estimated))
    drawing = chart.lines(
        times,
        [chart.ChartLine(kind, name, values(of, "effect")) for kind, name, of in both],
        f"{metric}, estimated and realised",
        words.number,
        bands=[chart.Band(kind, values(of, "low"), values(of, "high")) for kind, _, of in both],
        from_zero=False,
    )
    rows = [(at, estimated.get(at), realised.get(at)) for at in reversed(times[-ROWS:])]
    return {"metric": metric, "drawing": drawing, "rows": rows}


def _windows(kind: str, metric: str, found: Sequence[Finding]) -> dict[float, Finding]:
    """By the end of the window; of several versions the one that answered most."""
    mine = [each for each in found if (each.kind, each.subject) == (kind, metric)]
    return {each.window_end: each for each in sorted(mine, key=lambda one: one.rows)}
