"""The pages of one endpoint: its traffic, replicas and rollout; its history; its declaration."""

import asyncio
import time

import msgspec
from starlette.responses import Response

from argosy.api import rollouts
from argosy.api.rollout_status import RolloutStatus
from argosy.api.route import Call
from argosy.console import chart, words
from argosy.console.pages import Ask, Desk
from argosy.spec import strict
from argosy.spec.endpoint import check_name
from argosy.spec.errors import NotFound
from argosy.spec.status import EndpointStatus, ReplicaStatus
from argosy.store import ledger
from argosy.store.ledger import Entry
from argosy.telemetry.rates import Rates

RANGES = {"15m": 900, "1h": 3600, "6h": 6 * 3600, "24h": 86400, "7d": 7 * 86400}
POINTS = 120
"""About so many points a chart has."""


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """A revision that runs or serves: its share of the traffic in percent, how much that is now, its replicas."""

    id: str
    version: str
    weight: int
    now: Rates
    replicas: tuple[ReplicaStatus, ...]


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """Traffic over time for the charts: requests a second, share of errors, quantiles in ms; from `start` to `end`."""

    times: list[float]
    requests: list[float | None]
    errors: list[float | None]
    p50: list[float | None]
    p95: list[float | None]
    p99: list[float | None]
    start: float
    end: float


async def page(desk: Desk, ask: Ask) -> Response:
    """What comes in, what serves it, and how a rollout goes."""
    status = find(desk, ask)
    wanted = ask.query.get("range", "15m")
    wanted = wanted if wanted in RANGES else "15m"
    ranges = list(RANGES) if "traffic" in ask.has else ["15m"]
    course = await asyncio.to_thread(_course, desk, status.name, RANGES[wanted] if wanted in ranges else 900)
    rollout = await last_rollout(desk, status.name)
    revisions = await asyncio.to_thread(_revisions, desk, status, rollout)
    return desk.render(
        ask,
        "endpoint.html",
        one=status,
        tab="traffic",
        range=wanted,
        ranges=ranges,
        charts=_charts(course),
        revisions=revisions,
        usage=desk.services.meter.usage,
        rollout=rollout,
        now=time.time(),
    )


def find(desk: Desk, ask: Ask) -> EndpointStatus:
    """The endpoint that the path names. Raises NotFound."""
    name = check_name(ask.path["name"])
    if found := desk.services.controller.view.endpoints.get(name):
        return found
    raise NotFound(f"there is no endpoint '{name}'")


async def last_rollout(desk: Desk, name: str) -> RolloutStatus | None:
    """The last rollout, if there was one."""
    try:
        return await rollouts.get(Call(services=desk.services, path={"name": name}))
    except NotFound:
        return None


def _course(desk: Desk, name: str, seconds: int) -> Course:
    now = time.time()
    if seconds <= RANGES["15m"]:
        found = desk.services.meter.recent(name)
        return Course(
            times=[each.at for each in found],
            requests=[each.requests for each in found],
            errors=[each.errors / each.requests if each.requests else None for each in found],
            p50=chart.field(found, "p50"),
            p95=chart.field(found, "p95"),
            p99=chart.field(found, "p99"),
            start=now - seconds,
            end=now,
        )
    step = max(60.0, seconds / POINTS // 60 * 60)
    minutes = desk.data.traffic(name, now - seconds, step)
    return Course(
        times=[each.at for each in minutes],
        requests=[each.requests / each.seconds for each in minutes],
        errors=[each.errors / each.requests if each.requests else None for each in minutes],
        p50=chart.field(minutes, "p50"),
        p95=chart.field(minutes, "p95"),
        p99=chart.field(minutes, "p99"),
        start=now - seconds,
        end=now,
    )


def _charts(course: Course) -> list[tuple[str, str, object]]:
    """Title, what it is now, drawing."""
    span = (course.start, course.end)
    last = {name: _last(getattr(course, name)) for name in ("requests", "errors", "p50", "p95", "p99")}
    requests = chart.ChartLine("main", "requests/s", course.requests)
    errors = chart.ChartLine("bad", "errors", course.errors)
    quantiles = [
        chart.ChartLine("faint", "p50", course.p50),
        chart.ChartLine("main", "p95", course.p95),
        chart.ChartLine("thin", "p99", course.p99),
    ]
    told = f"p50 {words.milliseconds(last['p50'])} · p95 {words.milliseconds(last['p95'])}"
    return [
        (
            "Requests a second",
            words.rate(last["requests"]),
            chart.lines(course.times, [requests], "requests a second", words.number, span=span),
        ),
        (
            "Errors",
            words.percent(last["errors"]),
            chart.lines(course.times, [errors], "share of errors", words.percent, span=span, least=0.01),
        ),
        (
            "Latency",
            f"{told} · p99 {words.milliseconds(last['p99'])}",
            chart.lines(course.times, quantiles, "latency quantiles", words.milliseconds, span=span),
        ),
    ]


def _last(values: list[float | None]) -> float | None:
    return values[-1] if values else None


def _revisions(desk: Desk, status: EndpointStatus, rollout: RolloutStatus | None) -> list[Revision]:
    services = desk.services
    known, view = services.state.revisions(), services.controller.view
    mine = [each for each in view.replicas if each.endpoint == status.name]
    kept = services.controller.analysis.rows.get(status.name)
    weights = {status.serving_revision: 100}
    if rollout and rollout.live and kept:
        weights = {kept.progress.stable: 100 - rollout.weight, kept.progress.candidate: rollout.weight}
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


async def rollout(desk: Desk, ask: Ask) -> Response:
    """The last rollout: weights, intervals and verdict."""
    status = find(desk, ask)
    found = await last_rollout(desk, status.name)
    steps = [step.weight for step in status.endpoint.rollout.path]
    return desk.render(ask, "rollout.html", one=status, tab="rollout", rollout=found, steps=steps, now=time.time())


async def history(desk: Desk, ask: Ask) -> Response:
    """What the ledger tells, the newest first. A deleted endpoint has its history still."""
    name = check_name(ask.path["name"])

    def read() -> list[Entry]:
        with desk.services.store.database.read() as connection:
            return ledger.entries(connection, name, 200)

    entries = await asyncio.to_thread(read)
    if not entries:
        raise NotFound(f"the ledger knows nothing of '{name}'")
    status = desk.services.controller.view.endpoints.get(name)
    found = await last_rollout(desk, name)
    return desk.render(ask, "history.html", one=status, name=name, tab="history", rollout=found, entries=entries[::-1])


async def declaration(desk: Desk, ask: Ask) -> Response:
    """The declaration as YAML, as `argosy apply` takes it."""
    status = find(desk, ask)
    text, found = strict.dump_yaml(status.endpoint), await last_rollout(desk, status.name)
    return desk.render(ask, "declaration.html", one=status, tab="declaration", rollout=found, text=text)
