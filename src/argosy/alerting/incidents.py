"""All that is wrong now, by every source: one incident for each cause, with notifications to the sinks.

What is reported is stored before anybody is notified of it. So who leads next, or starts anew after a crash, goes on
with the same incidents, and news that are sent again have the same id.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec

from argosy.alerting import outbox as boxes
from argosy.alerting import table
from argosy.alerting.incident import Finding, Incident, advance, gathered
from argosy.alerting.outbox import Notification
from argosy.alerting.send import repeats, send
from argosy.alerting.table import IncidentsState, Report
from argosy.process.repeat import repeat
from argosy.spec.alerts import Sink
from argosy.spec.errors import ArgosyError, InvalidArgument, StorageFull, Unavailable
from argosy.store import alerts
from argosy.store.alerts import Alert
from argosy.store.database import Database

LOG = logging.getLogger(__name__)

EVERY = 2.0
"""Seconds between two evaluations of all that was reported, and between two tries to send."""
AT_ONCE = 32
"""Notifications that are sent at the same time."""
HOUSEKEEPING = 3600.0
LONGEST = {"subject": 512, "title": 200, "reason": 2000}
"""Characters of the texts of a finding."""


class SinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A sink: how many notifications wait for it, how many of the last hundred that nobody took were for it, and why
    the last try failed."""

    name: str
    kind: str
    waiting: int
    lost: int
    error: str = ""


class Incidents:
    """`endpoints` names those there are. Every method may be called from any thread; `clock` is seconds since 1970."""

    def __init__(
        self,
        database: Database,
        sinks: Mapping[str, Sink],
        endpoints: Callable[[], Collection[str]],
        *,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sinks = sinks
        self._database, self._endpoints = database.create(), endpoints
        self._environ, self._clock = environ, clock
        self._lock = threading.RLock()
        loaded = table.load(database)
        self._state = msgspec.structs.replace(loaded, outbox=boxes.known(loaded.outbox, sinks))
        self._written = table.rows(loaded)
        self._shown: dict[str, Alert] = {}
        self._waiting: dict[str, Alert] = {}
        self._muted: Mapping[str, float] = {}
        self._trouble: ArgosyError | None = None
        self._cleaned = 0.0

    def report(self, source: str, endpoint: str, found: Iterable[Finding]) -> None:
        """All that `source` finds wrong with an endpoint at this moment; nothing: all is well. It replaces what this
        source reported of that endpoint before, and outlives a restart.

        It waits for the database, so call it beside the loop. A report that cannot be stored, since the disk is full or
        the database away, is stored as soon as it can be.
        """
        report = Report(source=source, endpoint=endpoint, found=tuple(map(_clean, found)))
        if other := next((each for each in report.found if each.endpoint != endpoint), None):
            raise InvalidArgument(f"a report on '{endpoint}' names '{other.endpoint}'")
        with self._lock:
            reports = {name: each for name, each in self._state.reports.items() if name != report.name}
            if report.found:
                reports[report.name] = report
            if reports != self._state.reports:
                self._store(msgspec.structs.replace(self._state, reports=reports))

    def turn(self) -> None:
        """Evaluate what is reported now. Raises Unavailable where the database does not answer."""
        there, now = self._endpoints(), self._clock()
        muted = alerts.muted(self._database, now)
        with self._lock:
            self._muted = muted
            reports = {name: each for name, each in self._state.reports.items() if each.endpoint in there}
            found = gathered(one for each in reports.values() for one in each.found)
            turn = advance(found, now, self._state.incidents, muted, there)
            outbox = boxes.put(self._state.outbox, turn.notices, self.sinks, now)
            shown = [_alert(each, muted) for each in (*turn.ended, *turn.going.values())]
            self._store(IncidentsState(reports=reports, incidents=turn.going, outbox=outbox), shown)
        if now - self._cleaned >= HOUSEKEEPING:
            alerts.forget(self._database, now)
            self._cleaned = now

    def _store(self, state: IncidentsState, shown: Iterable[Alert] = ()) -> None:
        """Take a state in and write it. Where the disk is full, the sinks are notified all the same."""
        self._state = state
        self._waiting |= {each.id: each for each in shown if self._shown.get(each.id) != each}
        trouble: ArgosyError | None = None
        try:
            self._written = table.save(self._database, self._written, table.rows(state), self._waiting.values())
        except ArgosyError as error:
            trouble = error
        else:
            going = {**self._shown, **self._waiting}
            self._shown = {name: each for name, each in going.items() if each.state != "resolved"}
            self._waiting = {}
        if trouble and not self._trouble:
            LOG.warning("what is known of incidents is not written, and will be: %s", trouble.message)
        self._trouble = trouble

    async def send(self) -> None:
        """Send what is due. Never raises for what a sink does."""
        await asyncio.gather(*(self._send(one) for one in await asyncio.to_thread(self._due)))

    def _due(self) -> list[Notification]:
        """The oldest notifications; what is muted waits. Where another may lead, since the database does not take what
        is written here, none are sent."""
        with self._lock:
            if self._trouble and not isinstance(self._trouble, StorageFull):
                return []
            incidents = [(each, each.notice.incident) for each in boxes.due(self._state.outbox, self._clock())]
            free = [one for one, each in incidents if each.ended is not None or each.finding.key not in self._muted]
            return free[:AT_ONCE]

    async def _send(self, one: Notification) -> None:
        try:
            await send(self.sinks[one.sink], one.notice, self._environ)
        except (Unavailable, InvalidArgument) as error:
            LOG.warning("alert %s to %s: %s", one.notice.id, one.sink, error.message)
            await asyncio.to_thread(self._sent, one, error)
        else:
            await asyncio.to_thread(self._sent, one, None)

    def _sent(self, one: Notification, error: ArgosyError | None) -> None:
        with self._lock:
            outbox, now = self._state.outbox, self._clock()
            if error is not None:
                final = isinstance(error, InvalidArgument)
                outbox = boxes.failed(outbox, one, now, error.message, final=final)
            else:
                outbox = boxes.arrived(outbox, one, now, repeat=repeats(self.sinks[one.sink]))
            self._store(msgspec.structs.replace(self._state, outbox=outbox))

    def statuses(self) -> list[SinkStatus]:
        """The status of each sink, by name."""
        outbox = self._state.outbox
        found: list[SinkStatus] = []
        for name, sink in sorted(self.sinks.items()):
            waiting = [each for each in outbox.letters.values() if each.sink == name]
            lost = [each for each in outbox.lost if each.sink == name]
            troubled = [each for each in (*lost, *waiting) if each.error]
            found.append(
                SinkStatus(
                    name=name,
                    kind=type(sink).__name__.lower(),
                    waiting=sum(not each.taken for each in waiting),
                    lost=len(lost),
                    error=max(troubled, key=lambda each: each.due).error if troubled else "",
                )
            )
        return found

    async def run(self) -> None:
        """Evaluate and send, until cancelled; a sink that is slow delays no evaluation."""
        await asyncio.gather(
            repeat(lambda: asyncio.to_thread(self.turn), EVERY, "the evaluation of incidents", LOG),
            repeat(self.send, EVERY, "the sending of notifications", LOG),
        )


def _clean(finding: Finding) -> Finding:
    """Texts that every database takes, and of bounded length: users name columns as they like."""
    texts = {
        name: getattr(finding, name).encode("utf-8", "replace").decode().replace("\0", "\ufffd")[:most]
        for name, most in LONGEST.items()
    }
    return msgspec.structs.replace(finding, **texts)


def _alert(incident: Incident, muted: Mapping[str, float]) -> Alert:
    finding = incident.finding
    muted_until = muted.get(finding.key)
    return Alert(
        id=incident.id,
        endpoint=finding.endpoint,
        kind=finding.kind,
        subject=finding.subject,
        severity=finding.severity,
        state="resolved" if incident.ended is not None else "firing" if muted_until is None else "muted",
        since=incident.since,
        until=incident.ended,
        text=finding.reason,
        muted_until=muted_until,
    )
