"""The pages of one endpoint: its traffic, replicas and rollout; its history; its declaration."""

import asyncio
import time
from collections.abc import Sequence

import msgspec
from markupsafe import Markup
from starlette.responses import Response

from argosy.api import history as history_api
from argosy.api import rollouts, traffic
from argosy.api.history import Range
from argosy.api.rollout_status import RolloutStatus
from argosy.console import calling, chart, words
from argosy.console.pages import Console, PageRequest
from argosy.spec import strict
from argosy.spec.endpoint import check_name
from argosy.spec.errors import NotFound
from argosy.spec.status import EndpointStatus, ReplicaStatus
from argosy.telemetry.rates import Rates

RANGES = {"15m": 900, "1h": 3600, "6h": 6 * 3600, "24h": 86400, "7d": 7 * 86400}
POINTS = 120
"""About so many points a chart has."""
GAP = 30.0
"""Seconds without a reading, of which there is one every five, after which a line is broken."""


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """A revision that runs or serves: its share of the traffic in percent, how much that is now, its replicas."""

    id: str
    version: str
    weight: int
    now: Rates
    replicas: tuple[ReplicaStatus, ...]


async def page(console: Console, ask: PageRequest) -> Response:
    """What comes in, what serves it, and how a rollout goes."""
    status = find(console, ask)
    wanted = ask.query.get("range", "15m")
    wanted = wanted if wanted in RANGES else "15m"
    ranges = list(RANGES) if "traffic" in ask.has else ["15m"]
    seconds = RANGES[wanted] if wanted in ranges else 900
    rates = await asyncio.to_thread(_rates, console, status.name, seconds)
    rollout = await last_rollout(console, status.name)
    revisions = await asyncio.to_thread(_revisions, console, status, rollout)
    return console.render(
        ask,
        "endpoint.html",
        one=status,
        call=None if ask.partial else await asyncio.to_thread(calling.call, console, status),
        tab="traffic",
        range=wanted,
        ranges=ranges,
        charts=_charts(rates, seconds),
        revisions=revisions,
        usage=console.services.meter.usage,
        rollout=rollout,
    )


async def ask(console: Console, ask: PageRequest) -> Response:
    """Send the form's rows to a replica and show what it answers: on a page, or with scripts the answer alone."""
    status, rows = find(console, ask), ask.form.get("rows", "")
    failed, text = await calling.answer(console, status, rows)
    return console.render(ask, "answer.html", one=status, failed=failed, answer=text, rows=rows)


def find(console: Console, ask: PageRequest) -> EndpointStatus:
    """The endpoint that the path names. Raises NotFound."""
    name = check_name(ask.path["name"])
    if found := console.services.controller.view.endpoints.get(name):
        return found
    raise NotFound(f"there is no endpoint '{name}'")


async def last_rollout(console: Console, name: str) -> RolloutStatus | None:
    """The last rollout, if there was one."""
    try:
        return await rollouts.get(console.services, name)
    except NotFound:
        return None


def _rates(console: Console, name: str, seconds: int) -> Sequence[Rates]:
    """Of the last `seconds`: as they were measured, or from the stored minutes and hours."""
    if seconds <= RANGES["15m"]:
        return console.services.meter.recent(name)
    return [
        Rates(
            at=each.at,
            requests=each.requests / each.seconds,
            errors=each.errors / each.seconds,
            p50=each.p50,
            p95=each.p95,
            p99=each.p99,
        )
        for each in traffic.over_time(console.database, name, time.time() - seconds, _step(seconds))
    ]


def _step(seconds: int) -> int:
    return max(60, seconds // POINTS // 60 * 60)


class Chart(msgspec.Struct, frozen=True):
    """A chart with its title, what it shows now, and the names of its lines by their class, where it has several."""

    title: str
    now: str
    drawing: Markup
    legend: tuple[tuple[str, str], ...] = ()


def _charts(rates: Sequence[Rates], seconds: int) -> list[Chart]:
    """Requests, errors and latency. Times in which nothing was measured are gaps: neither zero nor a line across."""
    now = time.time()
    last = rates[-1] if rates else Rates(at=now)
    points = _with_gaps(rates, 3 * _step(seconds) if seconds > RANGES["15m"] else GAP)
    times, span = [at for at, _ in points], (now - seconds, now)
    known = [each for _, each in points]

    def field(name: str) -> list[float | None]:
        return [getattr(each, name) if each else None for each in known]

    shares = [each.errors / each.requests if each and each.requests else None for each in known]
    requests = chart.ChartLine("main", "requests/s", field("requests"))
    errors = chart.ChartLine("bad", "errors", shares)
    quantiles = [
        chart.ChartLine(kind, name, field(name)) for kind, name in (("faint", "p50"), ("main", "p95"), ("thin", "p99"))
    ]
    return [
        Chart(
            "Requests a second",
            words.rate(last.requests if rates else None),
            chart.lines(times, [requests], "requests a second", words.number, span=span),
        ),
        Chart(
            "Errors",
            words.percent(shares[-1] if shares else None),
            chart.lines(times, [errors], "share of errors", words.percent, span=span, least=0.01),
        ),
        Chart(
            "Latency",
            "",
            chart.lines(times, quantiles, "latency quantiles", words.milliseconds, span=span),
            tuple((each.kind, f"{each.name} {words.milliseconds(getattr(last, each.name))}") for each in quantiles),
        ),
    ]


def _with_gaps(rates: Sequence[Rates], longest: float) -> list[tuple[float, Rates | None]]:
    """The readings by their times, with one of nothing wherever two are further apart than `longest` seconds."""
    found: list[tuple[float, Rates | None]] = []
    for each in rates:
        if found and each.at - found[-1][0] > longest:
            found.append(((found[-1][0] + each.at) / 2, None))
        found.append((each.at, each))
    return found


def _revisions(console: Console, status: EndpointStatus, rollout: RolloutStatus | None) -> list[Revision]:
    services = console.services
    known, controller = services.state.revisions(), services.controller
    mine = [each for each in controller.view.replicas if each.endpoint == status.name]
    row = controller.analysis.rows.get(status.name)
    weights = {status.serving_revision: 100}
    if rollout and rollout.live and row:
        weights = {row.progress.stable: 100 - rollout.weight, row.progress.candidate: rollout.weight}
    ids = dict.fromkeys([*weights, status.revision, *(each.revision for each in mine)])
    return [
        Revision(
            id=each,
            version=f"{known[each].model}:{known[each].version}" if each in known else "",
            weight=weights.get(each, 0),
            now=services.meter.now(status.name, each),
            replicas=tuple(one for one in mine if one.revision == each),
        )
        for each in ids
        if each
    ]


async def rollout(console: Console, ask: PageRequest) -> Response:
    """The last rollout: weights, intervals and verdict."""
    status = find(console, ask)
    found = await last_rollout(console, status.name)
    steps = [step.weight for step in status.endpoint.rollout.path]
    return console.render(ask, "rollout.html", one=status, tab="rollout", rollout=found, steps=steps)


async def history(console: Console, ask: PageRequest) -> Response:
    """The ledger's entries, the newest first. A deleted endpoint has its history still."""
    name = check_name(ask.path["name"])
    entries = await history_api.history(console.services, name, Range(limit=200))
    status = console.services.controller.view.endpoints.get(name)
    last = await last_rollout(console, name)
    entries.reverse()
    return console.render(ask, "history.html", one=status, name=name, tab="history", rollout=last, entries=entries)


async def declaration(console: Console, ask: PageRequest) -> Response:
    """The declaration as YAML, as `argosy apply` takes it."""
    status = find(console, ask)
    text, found = strict.dump_yaml(status.endpoint), await last_rollout(console, status.name)
    return console.render(ask, "declaration.html", one=status, tab="declaration", rollout=found, text=text)
