"""The first page, what runs where and what comes in; and the lists of alerts, jobs and keys."""

import asyncio
import time

import msgspec
from starlette.responses import Response

from argosy.api import jobs as jobs_api
from argosy.api.usage import UsageQuery, used
from argosy.console.pages import Console, PageRequest
from argosy.spec.errors import NotFound
from argosy.spec.status import EndpointStatus, ReplicaStatus
from argosy.store import alerts as stored
from argosy.store.alerts import Alert
from argosy.telemetry.rates import Rates

RUNS, DAYS = 20, 30
"""Runs of a job that its page shows; days of tokens."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint on the first page. `cpu` in cores, `memory` in bytes, of all its replicas together; `history` are
    its rates of the last quarter of an hour."""

    status: EndpointStatus
    now: Rates
    history: tuple[Rates, ...]
    replicas: tuple[ReplicaStatus, ...]
    cpu: float
    memory: int
    candidate: str = ""
    weight: int = 0
    verdict: str = ""

    @property
    def error_share(self) -> float | None:
        """Errors by requests of the last measurement."""
        return self.now.errors / self.now.requests if self.now.requests else None


async def page(console: Console, ask: PageRequest) -> Response:
    """Every endpoint in one table."""
    rows = _rows(console)
    alerts = await asyncio.to_thread(stored.read, console.database) if "alerts" in ask.has else []
    totals = Rates(
        at=time.time(),
        requests=sum(each.now.requests for each in rows),
        errors=sum(each.now.errors for each in rows),
    )
    firing = [each for each in alerts if each.state == "firing"]
    view = console.services.controller.view
    return console.render(ask, "overview.html", rows=rows, view=view, totals=totals, alerts=firing)


def _rows(console: Console) -> list[Row]:
    """The endpoints that are not ready first, then by name."""
    controller, meter = console.services.controller, console.services.meter
    found: list[Row] = []
    for name, status in controller.view.endpoints.items():
        mine = tuple(each for each in controller.view.replicas if each.endpoint == name)
        used = [meter.usage[each.id] for each in mine if each.id in meter.usage]
        rollout = controller.analysis.rows.get(name)
        if rollout is not None and not rollout.progress.live:
            rollout = None
        found.append(
            Row(
                status=status,
                now=meter.now(name),
                history=tuple(meter.recent(name)),
                replicas=mine,
                cpu=sum(each.cpu for each in used),
                memory=sum(each.memory for each in used),
                candidate=status.version if rollout else "",
                weight=rollout.progress.weight if rollout else 0,
                verdict=rollout.evidence.verdict if rollout else "",
            )
        )
    order = {"failed": 0, "starting": 1, "updating": 2}
    return sorted(found, key=lambda row: (order.get(row.status.state, 3), row.status.name))


async def alerts(console: Console, ask: PageRequest) -> Response:
    """Alerts: those that fire first, then the muted, then what is over."""
    found = await asyncio.to_thread(stored.read, console.database)
    order = {"firing": 0, "muted": 1}
    rows = sorted(found, key=lambda each: (order.get(each.state, 2), -each.since))
    return console.render(ask, "alerts.html", alerts=rows)


async def find_alert(console: Console, id: str) -> Alert:
    """An alert by its id. Raises NotFound."""
    found = await asyncio.to_thread(stored.read, console.database)
    if one := next((each for each in found if each.id == id), None):
        return one
    raise NotFound("this alert is not there any more")


async def jobs(console: Console, ask: PageRequest) -> Response:
    """Every job with its last run: its progress, what it has cost so far, when it runs again."""
    return console.render(ask, "jobs.html", jobs=await jobs_api.every(console.services))


async def job(console: Console, ask: PageRequest) -> Response:
    """One job: what it does, and its last runs."""
    return console.render(ask, "job.html", one=await jobs_api.one(console.services, ask.path["name"]), runs=RUNS)


async def usage(console: Console, ask: PageRequest) -> Response:
    """Tokens and money of language models by endpoint and key."""
    found = await used(console.services, UsageQuery(since=DAYS * 86400, by="endpoint,key"))
    return console.render(ask, "usage.html", rows=found, days=DAYS)


async def keys(console: Console, ask: PageRequest) -> Response:
    """Every key, good ones first. The text of a key is nowhere to be shown: only its hash is stored."""
    found = await asyncio.to_thread(console.services.store.keys.list)
    rows = sorted(found, key=lambda each: (each.revoked is not None, each.created))
    return console.render(ask, "keys.html", keys=rows)
