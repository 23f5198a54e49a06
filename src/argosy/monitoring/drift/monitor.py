"""Looks now and then for drift in what was recorded, remembers the evidence, writes findings and reports what is
wrong."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from argosy.alerting import incident
from argosy.alerting.incidents import Incidents
from argosy.monitoring.drift import memory, rows
from argosy.monitoring.drift.budget import run_length
from argosy.monitoring.drift.detector import start
from argosy.monitoring.drift.history import Past, past
from argosy.monitoring.drift.reference import Baseline, baseline
from argosy.monitoring.drift.rows import Remembered, Rows
from argosy.monitoring.drift.window import Judged, Watched, judge
from argosy.packaging.package import open_package, stored
from argosy.profiles import files
from argosy.profiles.layout import Floats
from argosy.spec.errors import ArgosyError, InvalidArgument, NotFound
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.revision import Revision
from argosy.store import findings
from argosy.store.endpoints import Declared, Endpoints
from argosy.store.findings import Finding
from argosy.store.monitor_state import MonitorState
from argosy.store.store import Store

LOG = logging.getLogger(__name__)
SOURCE = "drift"
LATE = 120
"""Seconds after the end of a window until its last minute is certainly on disk."""
MOST_SEGMENTS = 128
"""Segments that are looked at: those that were, then those with most rows."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of an endpoint between looks: of which version and reference, until when it was looked at
    (seconds since 1970), and the detectors' states: of all rows column by column, of each segment, of whole rows."""

    version: str
    layout: str
    until: float
    state: bytes = b""
    segments: dict[str, bytes] = {}
    rows: Remembered | None = None


STATES = MonitorState("drift", Kept)
"""One state an endpoint."""


class Looks:
    """The task of a platform. It looks `every` so many seconds, in a thread, never in the loop; `clock` gives seconds
    since 1970."""

    def __init__(
        self,
        store: Store,
        state: Endpoints,
        incidents: Incidents,
        every: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._state, self._incidents, self._every, self._clock = store, state, incidents, every, clock
        self._rows = Rows(store.home, partial(stored, store), store.home.root / "drift", every)

    async def run(self) -> None:
        """After the end of every window, until cancelled."""
        try:
            while True:
                try:
                    await asyncio.to_thread(self.look)
                except Exception:
                    LOG.exception("this look for drift is made up for by the next")
                await asyncio.sleep(self._every - (self._clock() - LATE) % self._every + 0.05)
        finally:
            self._rows.end()

    def look(self) -> None:
        """Look at every endpoint with profiles, once for each window. Raises Unavailable, StorageFull."""
        end = float((self._clock() - LATE) // self._every * self._every)
        declared = {each.endpoint.name: each for each in self._state.endpoints()}
        revisions = self._state.revisions()
        for name in files.endpoints(self._store.home.profiles):
            if name in declared:
                try:
                    self._one(declared[name], _serving(declared[name], revisions), end)
                except (ArgosyError, OSError) as error:
                    LOG.warning("no look for drift of '%s': %s", name, error)
        for name in STATES.endpoints(self._store.database) - declared.keys():
            self._end(name)
        findings.forget(self._store.database, end)

    def _one(self, declared: Declared, revision: Revision | None, end: float) -> None:
        """The report is written before findings and state: what is cut short is done again, to the same end.
        Another version or reference begins anew, and what was wrong with the one before is over."""
        name = declared.endpoint.name
        kept = STATES.get(self._store.database, name)
        if revision is None or (kept is not None and kept.until >= end):
            return
        try:
            base = baseline(open_package(self._store.unpacked(revision.digest)))
        except NotFound:
            return
        if kept is not None and (kept.version, kept.layout) != (revision.version, base.layout.digest):
            self._end(name)
            kept = None
        begin = kept.until if kept is not None else end - self._every
        monitor = declared.endpoint.monitor or Monitor()
        there = past(self._store.home.profiles, name, revision.version, base, (begin, end), monitor)
        if not there.rows:
            return
        watched = Watched(
            endpoint=name,
            version=revision.version,
            start=begin,
            end=end,
            log=declared.endpoint.payload or PayloadLog(),
        )
        told, wrong, fresh = self._judge(watched, base, there, kept, monitor)
        if declared.endpoint.payload is None:
            self._rows.forget(name)
        else:
            more, remembered = self._rows.look(watched, declared.endpoint, revision.digest, kept and kept.rows)
            told, wrong = [*told, *more], [*wrong, *rows.wrong(watched, more)]
            fresh = msgspec.structs.replace(fresh, rows=remembered)
        self._write(name, told, wrong, fresh)

    def _end(self, name: str) -> None:
        """Nothing is wrong any more with what is looked at no more."""
        self._incidents.report(SOURCE, name, ())
        self._rows.forget(name)
        with self._store.database.begin() as connection:
            STATES.delete(connection, name)

    def _judge(
        self, watched: Watched, base: Baseline, there: Past, kept: Kept | None, monitor: Monitor
    ) -> tuple[list[Finding], list[incident.Finding], Kept]:
        """All rows, then each segment against its own past."""
        before = kept or Kept(version=watched.version, layout=base.layout.digest, until=watched.start)
        before = msgspec.structs.replace(before, rows=None)
        if monitor.season == "week" and there.season.get("") is None:
            return [_early(watched, there.rows)], [], msgspec.structs.replace(before, until=watched.end)
        of = sum(column.cells for column in base.layout.columns if column.name in monitor.segments)
        lengths = run_length("columns", self._every), run_length("segments", self._every, of)
        whole = _judged(watched, base, there, before.state, lengths[0], base.counts)
        told, wrong = list(whole.findings), list(whole.wrong)
        segments: dict[str, bytes] = {}
        for name in _chosen(there, before):
            segment = msgspec.structs.replace(watched, segment=name)
            if name not in there.counts or (monitor.season == "week" and there.season.get(name) is None):
                if name in before.segments:
                    segments[name] = before.segments[name]
                continue
            one = _judged(segment, base, there, before.segments.get(name, b""), lengths[1], None)
            told, wrong = [*told, *one.findings], [*wrong, *one.wrong]
            segments[name] = memory.dump(one.state)
        state = memory.dump(whole.state)
        return told, wrong, msgspec.structs.replace(before, until=watched.end, state=state, segments=segments)

    def _write(self, name: str, told: list[Finding], wrong: list[incident.Finding], kept: Kept) -> None:
        self._incidents.report(SOURCE, name, wrong)
        with self._store.database.begin() as connection:
            findings.put(connection, told)
            STATES.put(connection, name, kept)
        self._rows.settle(name)


def _judged(
    watched: Watched, base: Baseline, there: Past, state: bytes, length: float, reference: Floats | None
) -> Judged:
    """Without a `reference` against what came before. What cannot be read of a state begins anew."""
    blank = base.counts if reference is not None else base.counts * 0
    before = start(base.where, blank)
    if state:
        try:
            before = memory.load(base.where, blank, state)
        except InvalidArgument as error:
            LOG.warning("the evidence of drift of '%s' begins anew: %s", watched.endpoint, error.message)
    season, counts = there.season.get(watched.segment), there.counts[watched.segment]
    return judge(watched, base, before, counts, length, before.base if reference is None else reference, season)


def _chosen(there: Past, before: Kept) -> list[str]:
    """The segments to look at, by name: those that were, and as many more as may be, the largest first."""
    known = [name for name in before.segments if name][:MOST_SEGMENTS]
    fresh = sorted((name for name in there.counts if name and name not in known), key=lambda name: -there.sizes[name])
    return sorted([*known, *fresh[: MOST_SEGMENTS - len(known)]])


def _early(watched: Watched, rows: int) -> Finding:
    return Finding(
        endpoint=watched.endpoint,
        version=watched.version,
        kind="drift",
        subject="all columns",
        at=watched.end,
        window_start=watched.start,
        window_end=watched.end,
        rows=rows,
        verdict="not yet: the same hour of the week was recorded in fewer than two of the last four weeks",
    )


def _serving(declared: Declared, revisions: Mapping[str, Revision]) -> Revision | None:
    return revisions.get(declared.serving.active or declared.revision)
