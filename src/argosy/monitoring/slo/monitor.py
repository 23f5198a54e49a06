"""Whether endpoints meet their objectives: every few seconds, what gateway and replicas counted against their `slos`.

Requests and failures are the gateway's, so that one which never reached a replica is bad, too. Latency is counted by
the replicas, to 5 %, and by the gateway where a request had to wait for a replica. Copies in the shadow are no
requests.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from argosy.alerting.incident import Finding
from argosy.gateway.clusters import WAITING
from argosy.gateway.peers import PEERS
from argosy.gateway.traffic import Traffic
from argosy.monitoring.slo import policy
from argosy.monitoring.slo.policy import SloObservation, SloState
from argosy.process.repeat import repeat
from argosy.serving.counts import Counts
from argosy.spec.errors import ArgosyError
from argosy.spec.revision import Replica
from argosy.spec.slo import Slo
from argosy.spec.status import SloStatus, View
from argosy.store import findings
from argosy.store.database import Database
from argosy.store.endpoints import Declared
from argosy.store.findings import Span, Verdict
from argosy.store.monitor_state import MonitorState
from argosy.telemetry.counters import ProcessCounts, RevisionCounts, add, between, carried, counts
from argosy.telemetry.feed import Feed, Key

LOG = logging.getLogger(__name__)

EVERY = 5.0
"""Seconds between two evaluations."""
SAVED = 60.0
"""Seconds after which the budgets are written again. After a crash counting goes on from the counts in them."""
HOUR = 3600
SOURCE = "slos"


class ObjectiveState(msgspec.Struct, frozen=True, kw_only=True):
    slo: Slo
    state: SloState = SloState()


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """The state of an endpoint: the counts of the last evaluation, at `looked` (seconds since 1970; 0: none yet), by
    revision; which revisions got copies only; its objectives by name."""

    looked: float = 0.0
    marks: dict[str, RevisionCounts] = {}
    copies: frozenset[str] = frozenset()
    kept: dict[str, ObjectiveState] = {}


STATES = MonitorState("slo", Budgets)
"""The budgets of weeks, by endpoint."""


def step(
    budgets: Budgets,
    slos: Sequence[Slo],
    revisions: Mapping[str, RevisionCounts],
    copies: Collection[str],
    now: float,
    every: float,
) -> tuple[tuple[SloStatus, ...], Budgets]:
    """One evaluation, of those `every` so many seconds. The first only stores the counts; what came while nobody
    counted counts as coming now. Pure."""
    came = counted(budgets, revisions, copies)
    objectives: dict[str, ObjectiveState] = {}
    found: list[SloStatus] = []
    for slo in slos:
        total, bad = policy.count(slo, came)
        observed = SloObservation(now=now, seconds=every, total=total, bad=bad)
        status, state = policy.evaluate(slo, observed, _declared(budgets.kept.get(slo.name), slo))
        found.append(status)
        objectives[slo.name] = ObjectiveState(slo=slo, state=state)
    fresh = RevisionCounts()
    marks = {name: carried(_lean(name, each), budgets.marks.get(name, fresh)) for name, each in revisions.items()}
    return tuple(found), Budgets(looked=now, marks=marks, copies=frozenset(copies), kept=objectives)


def counted(budgets: Budgets, revisions: Mapping[str, RevisionCounts], copies: Collection[str]) -> Counts:
    """What was asked since the last evaluation, of all revisions. What was a copy then or is one now is left out."""
    if not budgets.looked:
        return Counts()
    return add(
        between(each, budgets.marks.get(name, RevisionCounts()), budgets.looked, fine=name not in (WAITING, PEERS))
        for name, each in revisions.items()
        if name not in budgets.copies and name not in copies
    )


def _declared(stored: ObjectiveState | None, slo: Slo) -> SloState:
    """The state of an objective as it is declared now. Another bound of latency begins anew; with another objective the
    traffic stays what it was, and only the evidence begins anew."""
    if stored is None or stored.slo.latency != slo.latency:
        return SloState()
    return stored.state if stored.slo == slo else SloState(traffic=stored.state.traffic)


def _lean(name: str, each: RevisionCounts) -> RevisionCounts:
    """Without what is not compared again: what replicas predicted, and latencies that they count better."""
    lean = {
        process: one and msgspec.structs.replace(one, counts=msgspec.structs.replace(one.counts, outputs={}))
        for process, one in each.replicas.items()
    }
    gateway = each.gateway if name in (WAITING, PEERS) else msgspec.structs.replace(each.gateway, latency={})
    return RevisionCounts(gateway=gateway, replicas=lean)


def wrong(endpoint: str, statuses: Sequence[SloStatus]) -> list[Finding]:
    """The objectives whose budget burns too fast."""
    return [
        Finding(
            endpoint=endpoint,
            kind="slo",
            subject=each.name,
            severity="page" if each.severity == "page" else "ticket",
            title=f"{each.name}: the error budget burns too fast",
            reason=f"{each.reason}; {spent(each.budget, each.days)}",
        )
        for each in statuses
        if each.severity
    ]


def spent(budget: float, days: float) -> str:
    """What is left of a budget, for people."""
    if budget >= 0:
        return f"{budget:.0%} of the budget of {days:g} days is left"
    return f"the budget of {days:g} days is spent {1 - budget:.1f} times over"


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
        self._budgets = {endpoint: each for (endpoint, _), each in STATES.all(database).items()}
        self._statuses: dict[str, tuple[SloStatus, ...]] = {}
        self._saved, self._hour = 0.0, int(clock() // HOUR)

    def statuses(self, endpoint: str) -> tuple[SloStatus, ...]:
        """How each objective of an endpoint stood at the last evaluation."""
        return self._statuses.get(endpoint, ())

    async def run(self) -> None:
        """Evaluate every five seconds, until cancelled. Where the gateway does not answer, the next one makes up for
        it."""
        try:
            await repeat(self.evaluate, EVERY, "the evaluation of objectives", LOG)
        finally:
            self._save(self._clock(), self._budgets)

    async def evaluate(self) -> None:
        """Evaluate every endpoint with objectives. Raises Unavailable where gateway or database do not answer."""
        wanted = [each for each in self._declared() if each.endpoint.slos]
        if not wanted and not self._budgets:
            return
        found: Mapping[Key, Traffic] = await self._feed.traffic() if wanted else {}
        late = {each.endpoint.name for each in wanted if any(slo.latency for slo in each.endpoint.slos)}
        await asyncio.to_thread(self._evaluate, wanted, found, await self._inside(late))

    async def _inside(self, endpoints: Collection[str]) -> dict[Key, dict[str, ProcessCounts | None]]:
        """What the replicas of these have counted, by endpoint and revision."""
        asked: dict[Key, list[Replica]] = {}
        for each in self._view().replicas:
            if each.endpoint in endpoints:
                asked.setdefault((each.endpoint, each.revision), []).append(each)
        return dict(zip(asked, await asyncio.gather(*map(self._feed.processes, asked.values())), strict=True))

    def _evaluate(
        self,
        wanted: Sequence[Declared],
        found: Mapping[Key, Traffic],
        inside: Mapping[Key, dict[str, ProcessCounts | None]],
    ) -> None:
        now, budgets = self._clock(), dict[str, Budgets]()
        statuses: dict[str, tuple[SloStatus, ...]] = {}
        for each in wanted:
            name, rollout = each.endpoint.name, each.serving.rollout
            shadow = [rollout.candidate] if rollout and rollout.phase == "shadowing" else []
            revisions = {
                key[1]: RevisionCounts(gateway=counts(found.get(key, Traffic())), replicas=inside.get(key, {}))
                for key in sorted({*found, *inside})
                if key[0] == name
            }
            before = self._budgets.get(name, Budgets())
            statuses[name], budgets[name] = step(before, each.endpoint.slos, revisions, shadow, now, EVERY)
        for name in {*statuses, *self._budgets}:
            self._report(SOURCE, name, wrong(name, statuses.get(name, ())))
        news = _severities(statuses) != _severities(self._statuses) or budgets.keys() != self._budgets.keys()
        self._budgets, self._statuses = budgets, statuses
        if news or now - self._saved >= SAVED:
            self._save(now, budgets)
        if (hour := int(now // HOUR)) != self._hour:
            self._write_hour(float(hour * HOUR))
            self._hour = hour

    def _save(self, now: float, budgets: Mapping[str, Budgets]) -> None:
        try:
            with self._database.begin() as connection:
                STATES.retain(connection, budgets)
                for name, each in budgets.items():
                    STATES.put(connection, name, each)
            self._saved = now
        except ArgosyError as error:
            LOG.warning("the budgets are written with the next evaluation: %s", error.message)

    def _write_hour(self, end: float) -> None:
        """The budgets at the end of an hour, as findings. Raises Unavailable, StorageFull."""
        observed = self._view().endpoints
        found: list[findings.Finding] = []
        for name, statuses in self._statuses.items():
            version = observed[name].serving.rpartition(":")[2] if name in observed else ""
            span = Span(endpoint=name, version=version, start=end - HOUR, end=end, at=end)
            for each in statuses:
                total, bad = policy.recent(self._budgets[name].kept[each.name].state.traffic, end, HOUR)
                verdict = Verdict.BURNING if each.severity else Verdict.WITHIN
                detail = {"bad": bad, "objective": each.objective, "days": each.days, "text": each.reason}
                found.append(span.finding("slo", each.name, total, verdict, effect=each.budget, detail=detail))
        findings.write(self._database, found)


def _severities(statuses: Mapping[str, Sequence[SloStatus]]) -> dict[str, list[str]]:
    return {name: [each.severity for each in slos] for name, slos in statuses.items()}
