"""The page of cost: dollars over time by endpoint, with what waited apart, and what each endpoint's were for."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from starlette.responses import Response

from argosy.api.costs import grouped
from argosy.console import words
from argosy.console.chart import Stack
from argosy.console.pages import Console, PageRequest
from argosy.spec.offer import CostRow
from argosy.store import costs
from argosy.store.costs import HOUR

RANGES = {"24h": (86400, HOUR), "7d": (7 * 86400, 6 * HOUR), "30d": (30 * 86400, 86400)}
"""Seconds that are shown, and seconds of one bar."""
MOST = 6
"""Endpoints with a colour of their own; the others are one."""
OTHERS, IDLE = "others", "idle"


class Bars(NamedTuple):
    """What was spent from `start` on, in bars of `each` seconds: dollars by endpoint, with idle last."""

    start: int
    each: int
    stacks: list[Stack]


async def page(console: Console, ask: PageRequest) -> Response:
    """The last day, week or month."""
    chosen = ask.query.get("range", "24h")
    chosen = chosen if chosen in RANGES else "24h"
    values = await asyncio.to_thread(_values, console, *RANGES[chosen])
    return console.render(ask, "cost.html", ranges=tuple(RANGES), chosen=chosen, money=words.money, **values)


def _values(console: Console, seconds: int, each: int) -> dict[str, Any]:
    until = int(time.time()) // each * each + each
    since = until - seconds
    rows, hours = costs.read(console.database, since, until), costs.hours(console.database, since, until)
    names = {key.id: key.name for key in console.services.store.keys.list()}
    return {
        "bars": bars(rows, since, until, each),
        "endpoints": sorted(grouped(rows, ("endpoint",), names), key=lambda found: -found.cost),
        "keys": sorted(grouped(rows, ("key",), names), key=lambda found: -found.cost),
        "total": sum(row.cost for row in rows),
        "idle": sum(row.cost for row in rows if row.use == "idle"),
        "booked": sum(hour.booked for hour in hours),
        "billed": sum(hour.billed for hour in hours),
        "hours": len(hours),
        "problems": [hour for hour in hours if hour.problem],
        "unpriced": console.services.costs.unpriced,
    }


def bars(rows: Iterable[CostRow], since: int, until: int, each: int) -> Bars:
    """Dollars of rows by bar: the endpoints that cost most, the others as one, and idle of all of them."""
    count = (until - since) // each
    spent: defaultdict[str, list[float]] = defaultdict(lambda: [0.0] * count)
    waited = [0.0] * count
    for row in rows:
        if since <= row.hour < until:
            place = (row.hour - since) // each
            (waited if row.use == "idle" else spent[row.endpoint])[place] += row.cost
    dear = sorted(spent, key=lambda name: (-sum(spent[name]), name))
    stacks = [Stack(f"part{at}", name, spent[name]) for at, name in enumerate(dear[:MOST])]
    if rest := dear[MOST:]:
        stacks.append(Stack("rest", OTHERS, _sums([spent[name] for name in rest])))
    return Bars(since, each, [*stacks, Stack(IDLE, IDLE, waited)])


def _sums(found: Sequence[Sequence[float]]) -> list[float]:
    return [sum(values) for values in zip(*found, strict=True)]
