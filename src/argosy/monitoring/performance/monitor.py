"""The task of a platform that looks at performance: after every window of an endpoint, in a process of its own."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from argosy.alerting.incident import Finding as Wrong
from argosy.monitoring.performance import reference
from argosy.monitoring.performance.check import judged
from argosy.monitoring.performance.job import Done, Job, Version
from argosy.monitoring.performance.memory import Kept
from argosy.process.child import Child
from argosy.spec.errors import ArgosyError
from argosy.spec.revision import Revision
from argosy.store import findings
from argosy.store.endpoints import Declared, Endpoints
from argosy.store.monitor_state import MonitorState
from argosy.store.payloads import layout
from argosy.store.store import Store

LOG = logging.getLogger(__name__)
SOURCE = "quality"
STATES = MonitorState("performance", Kept)
"""The states of endpoints, by version."""
TICK = 2.0
SECONDS = 900.0
"""The longest that one look may take."""
AGAIN = 60.0
"""Seconds until a look that failed is tried again, at most."""
HOUSEKEEPING = 3600.0
EVALUATE = "argosy.monitoring.performance.evaluate:look"


class ReportFindings(Protocol):
    """Takes what is wrong now, as `Incidents.report` does."""

    def __call__(self, source: str, endpoint: str, found: Iterable[Wrong]) -> None: ...


class Quality:
    """Looks at every endpoint with a monitor. `clock` gives seconds since 1970."""

    def __init__(
        self, store: Store, state: Endpoints, report: ReportFindings, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self._state, self._report, self._clock = store, state, report, clock
        self._due: dict[str, float] = {}
        self._silent: set[str] = set()
        self._cleaned = 0.0
        self._child = Child("the evaluation of performance", timeout=SECONDS, nice=10)

    async def run(self) -> None:
        """Until cancelled; a process that looks is then ended, too."""
        try:
            while True:
                try:
                    await self.turn()
                except Exception:
                    LOG.exception("looking at performance goes on with the next turn")
                await asyncio.sleep(TICK)
        finally:
            self._child.cancel()

    async def turn(self) -> None:
        """Look where a window is over. Raises Unavailable."""
        declared, revisions = await asyncio.to_thread(self._read)
        if self._clock() - self._cleaned > HOUSEKEEPING:
            self._cleaned = self._clock()
            await asyncio.to_thread(self._clean, declared)
        names = {each.endpoint.name for each in declared}
        self._due = {name: due for name, due in self._due.items() if name in names}
        self._silent &= names
        for each in declared:
            name = each.endpoint.name
            if judged(each.endpoint):
                self._silent.discard(name)
                if self._clock() >= self._due.get(name, 0.0):
                    await self._one(each, revisions)
            elif name not in self._silent:
                await asyncio.to_thread(self._report, SOURCE, name, ())
                self._silent.add(name)

    def _clean(self, declared: list[Declared]) -> None:
        monitors = [each.endpoint.monitor for each in declared if each.endpoint.monitor is not None]
        reference.forget(self._store.home, monitors)
        with self._store.database.begin() as connection:
            STATES.retain(connection, [each.endpoint.name for each in declared])

    def _read(self) -> tuple[list[Declared], dict[str, Revision]]:
        return self._state.endpoints(), self._state.revisions()

    async def _one(self, declared: Declared, revisions: Mapping[str, Revision]) -> None:
        endpoint = declared.endpoint
        assert endpoint.monitor is not None
        assert endpoint.payload is not None
        every, settled = endpoint.monitor.every, endpoint.payload.flush + 5
        now = self._clock()
        end = float((now - settled) // every * every)
        self._due[endpoint.name] = end + every + settled
        try:
            job = await asyncio.to_thread(self._job, declared, revisions, now, end)
            if job.versions and await self._look(declared, job, revisions):
                self._due[endpoint.name] = now
        except (ArgosyError, OSError) as error:
            self._due[endpoint.name] = min(self._due[endpoint.name], now + AGAIN)
            told = error.message if isinstance(error, ArgosyError) else str(error)
            LOG.warning("no look at the performance of '%s': %s", endpoint.name, told)

    def _job(self, declared: Declared, revisions: Mapping[str, Revision], now: float, end: float) -> Job:
        """The versions that have a log, the one that is declared first."""
        endpoint, home = declared.endpoint, self._store.home
        assert endpoint.monitor is not None
        assert endpoint.payload is not None
        logged = set(layout.versions(home.payloads, endpoint.name))
        mine = {each.version: each for each in revisions.values() if each.endpoint == endpoint.name}
        first = revisions[declared.revision].version if declared.revision in revisions else ""
        wanted = sorted(logged & mine.keys(), key=lambda number: (number != first, number))
        return Job(
            home=str(home.root),
            endpoint=endpoint.name,
            monitor=endpoint.monitor,
            log=endpoint.payload,
            now=now,
            end=end,
            versions=tuple(
                Version(
                    number=number,
                    digest=mine[number].digest,
                    package=str(self._package(mine[number].digest)),
                    trusted=self._store.registry.trusted(mine[number].digest),
                    kept=STATES.get(self._store.database, endpoint.name, number) or Kept(),
                )
                for number in wanted
            ),
        )

    def _package(self, digest: str) -> Path:
        """The unpacked package. It is checked when it is unpacked, and by its golden examples before it scores."""
        place = self._store.home.packages / digest.removeprefix("sha256:")
        return place if place.is_dir() else self._store.unpacked(digest)

    async def _look(self, declared: Declared, job: Job, revisions: Mapping[str, Revision]) -> bool:
        """Findings and state are written in one transaction: what is cut short is done again, to the same end."""
        done = await asyncio.to_thread(self._evaluate, job)
        await asyncio.to_thread(self._write, job.endpoint, done)
        serving = revisions.get(declared.serving.active or declared.revision)
        wrong = _wrong(job.endpoint, serving.version, done) if serving is not None else ()
        await asyncio.to_thread(self._report, SOURCE, job.endpoint, wrong)
        return done.more

    def _evaluate(self, job: Job) -> Done:
        with self._child:
            return self._child.run(EVALUATE, job, Done)

    def _write(self, endpoint: str, done: Done) -> None:
        with self._store.database.begin() as connection:
            findings.put(connection, done.findings)
            for version, each in done.kept.items():
                STATES.put(connection, endpoint, each.bounded(), version)


TITLES = {
    "estimate": "The estimated {metric} has fallen",
    "realised": "The {metric} has fallen, as labels say",
    "reconcile": "The {metric} is worse than was estimated: what is true may have changed",
}


def _wrong(endpoint: str, version: str, done: Done) -> tuple[Wrong, ...]:
    """What is wrong with the version that serves."""
    state, metric = done.kept.get(version, Kept()), done.metrics.get(version, "")
    found = {"estimate": state.estimated.fallen, "realised": state.realised.fallen, "reconcile": state.differ}
    return tuple(
        Wrong(
            endpoint=endpoint,
            kind=kind,
            subject=metric,
            severity="ticket",
            title=TITLES[kind].format(metric=metric),
            reason=f"version {version}: {state.said.get(kind, '')}",
        )
        for kind, wrong in found.items()
        if wrong
    )
