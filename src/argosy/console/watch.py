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
from argosy.console.data import Finding
from argosy.console.endpoint import find, last_rollout
from argosy.console.heat import drifted, heat, level
from argosy.console.pages import Ask, Desk

RANGES = {"24h": 86400, "7d": 7 * 86400, "30d": 30 * 86400}
DRIFT = ("drift", "prediction", "multivariate")
QUALITY = ("estimate", "realised", "reconcile")
ROWS = 12


class Distributions(msgspec.Struct, frozen=True, kw_only=True):
    """Reference and current shares over the same bins."""

    labels: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """One metric over time: windows by their ends, what was estimated and what came true, each with its interval."""

    metric: str
    drawing: Markup
    rows: tuple[tuple[float, Finding | None, Finding | None], ...]
    last: tuple[Finding | None, Finding | None]


async def drift(desk: Desk, ask: Ask) -> Response:
    """The heat map, and what is behind the cell that was chosen: the last one of the first row, unless one is named."""
    status = find(desk, ask)
    chosen_range = ask.query.get("range", "7d")
    seconds = RANGES.get(chosen_range, RANGES["7d"])
    found = await asyncio.to_thread(desk.data.findings, status.name, DRIFT, time.time() - seconds)
    drawn = await asyncio.to_thread(heat, found)
    cell = _chosen(found, ask.query.get("kind", ""), ask.query.get("subject", ""), ask.query.get("end", ""))
    if cell is None and drawn.rows:
        cell = next((each for each in reversed(drawn.rows[0].cells) if each), None)
    course = [each for each in found if cell and (each.kind, each.subject) == (cell.kind, cell.subject)]
    return await asyncio.to_thread(
        desk.render,
        ask,
        "drift.html",
        one=status,
        tab="drift",
        rollout=await last_rollout(desk, status.name),
        heat=drawn,
        times=[words.clock(each.end) for each in drawn.windows],
        level=level,
        drifted=drifted,
        cell=cell,
        course=_effects(course),
        shapes=_shapes(cell) if cell else None,
        range=chosen_range if chosen_range in RANGES else "7d",
        ranges=list(RANGES),
    )


def _chosen(found: Sequence[Finding], kind: str, subject: str, end: str) -> Finding | None:
    mine = [each for each in found if each.subject == subject and each.kind == kind]
    exact = [each for each in mine if f"{each.window_end:.0f}" == end]
    return next(iter(exact[::-1] or mine[::-1]), None)


def _effects(course: Sequence[Finding]) -> Markup:
    """The effect of one column over time, with its interval."""
    times = [each.window_end for each in course]
    line = chart.ChartLine("main", "effect", chart.field(course, "effect"))
    band = chart.Band("main", chart.field(course, "low"), chart.field(course, "high"))
    return chart.lines(times, [line], "effect over time", words.number, bands=[band])


def _shapes(cell: Finding) -> Distributions | None:
    reference, current = _shares(cell.detail.get("reference")), _shares(cell.detail.get("current"))
    if not reference or len(reference) != len(current):
        return None
    labels = tuple(str(each) for each in cell.detail.get("labels", ()))
    return Distributions(labels=labels, reference=reference, current=current)


def _shares(values: Any) -> tuple[float, ...]:
    """Counts or shares → shares; nothing for what are no numbers."""
    try:
        numbers = msgspec.convert(values, tuple[float, ...])
    except msgspec.ValidationError:
        return ()
    total = math.fsum(numbers)
    return tuple(each / total for each in numbers) if total > 0 and all(each >= 0 for each in numbers) else ()


async def performance(desk: Desk, ask: Ask) -> Response:
    """Estimated and realised performance with their intervals, a chart for each metric."""
    status = find(desk, ask)
    chosen_range = ask.query.get("range", "7d")
    seconds = RANGES.get(chosen_range, RANGES["7d"])
    found = await asyncio.to_thread(desk.data.findings, status.name, QUALITY, time.time() - seconds)
    metrics = dict.fromkeys(each.subject for each in found if each.kind != "reconcile")
    return desk.render(
        ask,
        "performance.html",
        one=status,
        tab="performance",
        rollout=await last_rollout(desk, status.name),
        metrics=[quality(metric, found) for metric in metrics],
        notes=[each for each in found if each.kind == "reconcile"][::-1][:ROWS],
        range=chosen_range if chosen_range in RANGES else "7d",
        ranges=list(RANGES),
    )


def quality(metric: str, found: Sequence[Finding]) -> Quality:
    """One metric: its chart and its last windows."""
    estimated, realised = (_windows(kind, metric, found) for kind in ("estimate", "realised"))
    times = sorted({*estimated, *realised})

    def values(of: dict[float, Finding], field: str) -> list[float | None]:
        return [getattr(of[at], field) if at in of and not _unknown(of[at]) else None for at in times]

    drawing = chart.lines(
        times,
        [
            chart.ChartLine("stable", "realised", values(realised, "effect")),
            chart.ChartLine("main", "estimated", values(estimated, "effect")),
        ],
        f"{metric}, estimated and realised",
        words.number,
        bands=[
            chart.Band("stable", values(realised, "low"), values(realised, "high")),
            chart.Band("main", values(estimated, "low"), values(estimated, "high")),
        ],
        from_zero=False,
    )
    rows = tuple((at, estimated.get(at), realised.get(at)) for at in reversed(times[-ROWS:]))
    last = tuple(next((of[at] for at in reversed(times) if at in of), None) for of in (estimated, realised))
    return Quality(metric=metric, drawing=drawing, rows=rows, last=(last[0], last[1]))


def _windows(kind: str, metric: str, found: Sequence[Finding]) -> dict[float, Finding]:
    """By the end of the window; of several versions the one that answered most."""
    mine = [each for each in found if (each.kind, each.subject) == (kind, metric)]
    return {each.window_end: each for each in sorted(mine, key=lambda one: one.rows)}


def _unknown(finding: Finding) -> bool:
    return finding.verdict.startswith("not")
