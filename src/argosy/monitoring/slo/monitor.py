"""Whether endpoints keep what they promise: every few seconds, what gateway and replicas counted against their `slos`.

Requests and failures are the gateway's, so that one which never reached a replica is bad, too. Lateness is told by the
replicas, to 5 %, and by the gateway where a request had to wait for a replica. Copies in the shadow are no requests.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from argosy.alerting.incident import Finding
from argosy.gateway.traffic import Traffic
from argosy.monitoring.slo import traffic
from argosy.monitoring.slo.progress import Course, standing, step, wrong
from argosy.spec.errors import ArgosyError
from argosy.spec.revision import Replica
from argosy.spec.status import SloStatus, View
from argosy.store import findings
from argosy.store.database import Database
from argosy.store.endpoints import Declared
from argosy.store.monitor_state import MonitorState
from argosy.telemetry.counters import ProcessCounts, RevisionCounts, counts
from argosy.telemetry.feed import Feed, Key

LOG = logging.getLogger(__name__)

EVERY = 5.0
"""Seconds between two looks."""
SAVED = 60.0
"""Seconds after which the courses are written again. After a crash counting goes on from the marks in them."""
HOUR = 3600
SOURCE = "slos"
STATES = MonitorState("slo", Course)
"""The budgets of weeks, by endpoint."""


class Slos:
    """The task of a platform. `report` is that of the incidents; `clock` gives seconds since 1970."""

    def __init__(
        self,
        database: Database,
        feed: Feed,
        declared: Callable[[], Sequence[Declared]],
        view: Callable[[], View],
        report: Callable[[str, str, Iterable[Finding]], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._feed, self._declared, self._view = database.create(), feed, declared, view
        self._report, self._clock = report, clock
        self._courses = {endpoint: course for (endpoint, _), course in STATES.all(database).items()}
        self._standing: dict[str, tuple[SloStatus, ...]] = {}
        self._saved, self._hour = 0.0, int(clock() // HOUR)

    def standing(self, endpoint: str) -> tuple[SloStatus, ...]:
        """How each objective of an endpoint stood at the last look."""
        return self._standing.get(endpoint, ())

    async def run(self) -> None:
        """Look and look again, until cancelled. Where the gateway does not tell, the next look makes up for it."""
        told = ""
        try:
            while True:
                trouble = ""
                try:
                    await self.look()
                except ArgosyError as error:
                    trouble = error.message
                    if trouble != told:
                        LOG.warning("looks at the objectives are made up for by the next: %s", trouble)
                except Exception:
                    LOG.exception("this look at the objectives is made up for by the next")
                told = trouble
                await asyncio.sleep(EVERY)
        finally:
            self._save(self._clock(), self._courses)

    async def look(self) -> None:
        """Look at every endpoint with objectives. Raises Unavailable where gateway or database do not answer."""
        wanted = [each for each in self._declared() if each.endpoint.slos]
        if not wanted and not self._courses:
            return
        found: Mapping[Key, Traffic] = await self._feed.traffic() if wanted else {}
        inside = await self._inside(
            {each.endpoint.name for each in wanted if any(s.latency for s in each.endpoint.slos)}
        )
        await asyncio.to_thread(self._fold, wanted, found, inside)

    async def _inside(self, endpoints: Collection[str]) -> dict[Key, dict[str, ProcessCounts | None]]:
        """What the replicas of these have counted, by endpoint and revision."""
        asked: dict[Key, list[Replica]] = {}
        for each in self._view().replicas:
            if each.endpoint in endpoints:
                asked.setdefault((each.endpoint, each.revision), []).append(each)
        return dict(zip(asked, await asyncio.gather(*map(self._feed.processes, asked.values())), strict=True))

    def _fold(
        self,
        wanted: Sequence[Declared],
        found: Mapping[Key, Traffic],
        inside: Mapping[Key, dict[str, ProcessCounts | None]],
    ) -> None:
        now, courses = self._clock(), dict[str, Course]()
        stands: dict[str, tuple[SloStatus, ...]] = {}
        for each in wanted:
            name = each.endpoint.name
            before, arms = self._courses.get(name, Course()), _arms(name, found, inside)
            verdicts, courses[name] = step(before, each.endpoint.slos, arms, _copies(each), now, EVERY)
            stands[name] = standing(courses[name], verdicts)
        for name in {*stands, *self._courses}:
            self._report(SOURCE, name, wrong(name, stands.get(name, ())))
        news = _severities(stands) != _severities(self._standing) or courses.keys() != self._courses.keys()
        self._courses, self._standing = courses, stands
        if news or now - self._saved >= SAVED:
            self._save(now, courses)
        if (hour := int(now // HOUR)) != self._hour:
            self._note(float(hour * HOUR))
            self._hour = hour

    def _save(self, now: float, courses: Mapping[str, Course]) -> None:
        try:
            with self._database.begin() as connection:
                STATES.retain(connection, courses)
                for name, course in courses.items():
                    STATES.put(connection, name, course)
            self._saved = now
        except ArgosyError as error:
            LOG.warning("the budgets are written with the next look: %s", error.message)

    def _note(self, end: float) -> None:
        """The budgets at the end of an hour, as findings. Raises Unavailable, StorageFull."""
        seen = self._view().endpoints
        noted: list[findings.Finding] = []
        for name, stands in self._standing.items():
            version = seen[name].serving.rpartition(":")[2] if name in seen else ""
            for each in stands:
                total, bad = traffic.window(self._courses[name].kept[each.name].state.traffic, end, HOUR)
                noted.append(
                    findings.Finding(
                        endpoint=name,
                        version=version,
                        kind="slo",
                        subject=each.name,
                        at=end,
                        window_start=end - HOUR,
                        window_end=end,
                        rows=total,
                        effect=each.budget,
                        verdict="burns too fast" if each.severity else "within the objective",
                        detail={"bad": bad, "objective": each.objective, "days": each.days, "text": each.reason},
                    )
                )
        findings.write(self._database, noted)


def _arms(
    endpoint: str, found: Mapping[Key, Traffic], inside: Mapping[Key, dict[str, ProcessCounts | None]]
) -> dict[str, RevisionCounts]:
    """By revision, what gateway and replicas have counted."""
    mine = {key for key in (*found, *inside) if key[0] == endpoint}
    return {
        key[1]: RevisionCounts(gateway=counts(found.get(key, Traffic())), replicas=inside.get(key, {}))
        for key in sorted(mine)
    }


def _copies(declared: Declared) -> frozenset[str]:
    """The revision that gets copies of requests, whose answers nobody sees."""
    rollout = declared.serving.rollout
    return frozenset([rollout.candidate]) if rollout and rollout.phase == "shadowing" else frozenset()


def _severities(stands: Mapping[str, Sequence[SloStatus]]) -> dict[str, list[str]]:
    return {name: [each.severity for each in slos] for name, slos in stands.items()}
