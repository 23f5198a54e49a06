"""`GET /metrics` of the control API: all metrics on one page."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

import argosy
from argosy.api.metrics import endpoints, gateway, monitors, replicas
from argosy.api.route import Services
from argosy.spec.errors import ArgosyError
from argosy.spec.recorder import read_report
from argosy.store import alerts, findings, usage

LOG = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LEAST_WINDOW = 7200.0
"""Seconds within which a finding counts as one of the last, at least."""

SLACK = 2.0
"""Seconds by which the start of a gateway is known: it reports its age in whole ones."""

Read = TypeVar("Read")


class Page:
    """Gathers and renders. What does not answer is left out, and `argosy_scrape_failed` names it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._totals, self._objectives = gateway.Totals(), monitors.Objectives()
        self._turn, self._first = asyncio.Lock(), True

    async def render(self) -> bytes:
        """The page, in Prometheus' text format."""
        async with self._turn:
            controller = self._services.controller
            failed: list[str] = []
            whole = await self._gateway(failed)
            asked = [each for each in controller.view.replicas if each.phase != "starting"]
            pages = await replicas.read(asked)
            failed += ["replicas"] if len(pages) < len(asked) else []
            versions = controller.versions()

            def text() -> bytes:
                registry = CollectorRegistry()
                registry.register(_Families(list(self._families(versions, whole, failed))))
                ProcessCollector(registry=registry)
                return generate_latest(registry) + replicas.merged(pages).encode()

            return await asyncio.to_thread(text)

    async def _gateway(self, failed: list[str]) -> dict[str, float]:
        """Take up the gateway's counters; those of the whole of it."""
        controller = self._services.controller
        try:
            whole = await controller.gateway_stats(gateway.pattern())
            traffic = await controller.feed.traffic()
        except ArgosyError:
            failed.append("gateway")
            return {}
        older = time.time() - whole.get("server.uptime", 0.0) < self._services.started - SLACK
        (self._totals.start if self._first and older else self._totals.add)(traffic)
        self._first = False
        last = controller.analysis.rows
        copies = {name: each.progress.candidate for name, each in last.items() if each.progress.phase == "shadowing"}
        self._objectives.add(controller.view.endpoints, self._totals.came, copies)
        return whole

    def _families(self, versions: dict[str, str], whole: dict[str, float], failed: list[str]) -> Iterator[Metric]:
        services, controller = self._services, self._services.controller
        view, database = controller.view, services.store.database
        yield from endpoints.controller(controller.passes, view, argosy.__version__, services.started)
        yield endpoints.restarts(services.restarts)
        yield from endpoints.endpoints(view)
        yield from endpoints.replicas(view, versions, services.meter.usage)
        progress = {name: each.progress for name, each in controller.analysis.rows.items() if name in view.endpoints}
        yield from endpoints.rollouts(progress, versions)
        yield from gateway.families(self._totals.all, versions)
        yield from gateway.whole(whole)
        yield from gateway.tokens(_read(lambda: usage.totals(database), "tokens", failed))
        yield from self._objectives.families(view.endpoints)
        yield from monitors.costs(services.costs.totals)
        yield from monitors.recorder(read_report(services.home))
        now = time.time()
        since = now - max(LEAST_WINDOW, 2.0 * services.settings.drift.every)
        yield monitors.alerts(_read(lambda: alerts.counts(database, now), "alerts", failed))
        yield from monitors.findings(_read(lambda: findings.tally(database, since), "findings", failed))
        yield endpoints.failures(failed)


class _Families(Collector):
    """Families as prometheus-client takes them."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _read(what: Callable[[], list[Read]], name: str, failed: list[str]) -> list[Read]:
    try:
        return what()
    except ArgosyError as error:
        LOG.warning("the metrics go without %s: %s", name, error.message)
        failed.append(name)
        return []
