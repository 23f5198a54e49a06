"""The task of a platform that evaluates drift in what was recorded."""

import logging
import time
from collections.abc import Callable, Mapping

import msgspec

from argosy.alerting import incident
from argosy.monitoring.drift import detector
from argosy.monitoring.drift.detector import run_length
from argosy.monitoring.drift.reference import Baseline, Counted, baseline, counted
from argosy.monitoring.drift.rows import Rows, RowsState
from argosy.monitoring.drift.window import Watched, evaluate_window, wrong
from argosy.monitoring.monitor import AGAIN, ReportFindings, WindowMonitor, serving
from argosy.packaging.package import open_package, stored
from argosy.process.child import ONE_THREAD, Child
from argosy.profiles import files
from argosy.profiles.cells import Floats
from argosy.spec.errors import InvalidArgument, NotFound, Unavailable
from argosy.spec.monitor import Monitor
from argosy.spec.payload import PayloadLog
from argosy.spec.revision import Revision
from argosy.store.endpoints import Declared, Endpoints
from argosy.store.findings import Finding, Verdict
from argosy.store.monitor_state import MonitorState
from argosy.store.store import Store

LOG = logging.getLogger(__name__)
LATE = 120
"""Seconds after the end of a window until its last minute is certainly on disk."""
SECONDS = 300.0
"""The longest that one comparison of whole rows may take."""
MOST_SEGMENTS = 128
"""Segments that are evaluated: those that were, then those with most rows."""


class DriftState(msgspec.Struct, frozen=True, kw_only=True):
    """Of which version and reference an endpoint's state is, until when windows were evaluated (seconds since 1970),
    and the detectors' states: of all rows column by column, of each segment, of whole rows."""

    version: str
    layout: str
    until: float
    state: bytes = b""
    segments: dict[str, bytes] = {}
    rows: RowsState | None = None


STATES = MonitorState("drift", DriftState)
"""One state an endpoint."""


class DriftMonitor(WindowMonitor[DriftState]):
    """Windows are `every` so many seconds."""

    source, states = "drift", STATES

    def __init__(
        self,
        store: Store,
        state: Endpoints,
        report: ReportFindings,
        every: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        what = "the comparison of whole rows"
        child = Child(what, timeout=SECONDS, failure=Unavailable, environ=ONE_THREAD, nice=10)
        super().__init__(store, state, report, clock, child)
        self._every, self._rows = every, Rows(store.home, child, every)

    def pause(self) -> float:
        return min(AGAIN, self._every - (self.clock() - LATE) % self._every + 0.05)

    def window(self, declared: Declared) -> tuple[int, float] | None:
        recorded = files.versions(self.store.home.profiles, declared.endpoint.name)
        return (self._every, LATE) if recorded else None

    def forget(self, name: str) -> None:
        self._rows.forget(name)

    def evaluate(self, declared: Declared, revisions: Mapping[str, Revision], now: float, end: float) -> bool:
        """Another version or reference begins anew, and what was wrong with the one before is over."""
        name, revision = declared.endpoint.name, serving(declared, revisions)
        state = STATES.get(self.store.database, name)
        if revision is None or (state is not None and state.until >= end):
            return False
        try:
            base = baseline(open_package(self.store.unpacked(revision.digest)))
        except NotFound:
            return False
        if state is not None and (state.version, state.layout) != (revision.version, base.layout.digest):
            self.report(self.source, name, ())
            self._rows.forget(name)
            state = None
        begin = state.until if state is not None else end - self._every
        monitor = declared.endpoint.monitor or Monitor()
        window = counted(self.store.home.profiles, name, revision.version, base, (begin, end), monitor)
        if not window.rows.get(""):
            return False
        log = declared.endpoint.payload
        watched = Watched(
            endpoint=name, version=revision.version, start=begin, end=end, at=end, log=log or PayloadLog()
        )
        state = state or DriftState(version=watched.version, layout=base.layout.digest, until=begin)
        found, reports, fresh = self._columns(watched, base, window, state, monitor)
        if log is None:
            self._rows.forget(name)
        else:
            package = stored(self.store, revision.digest)
            more, rows = self._rows.evaluate(watched, declared.endpoint, package, revision.digest, state.rows)
            found, reports = [*found, *more], [*reports, *wrong(watched, more, len(more))]
            fresh = msgspec.structs.replace(fresh, rows=rows)
        self.write(name, found, reports, {"": fresh})
        self._rows.settle(name)
        return False

    def _columns(
        self, watched: Watched, base: Baseline, window: Counted, before: DriftState, monitor: Monitor
    ) -> tuple[list[Finding], list[incident.Finding], DriftState]:
        """All rows, then each segment against its own past."""
        after = msgspec.structs.replace(before, until=watched.end, rows=None)
        if monitor.season == "week" and window.season.get("") is None:
            reason = "the same hour of the week was recorded in fewer than two of the last four weeks"
            early = watched.finding("drift", "all columns", window.rows[""], f"{Verdict.NOT_YET}: {reason}")
            return [early], [], after
        of = sum(column.cells for column in base.layout.columns if column.name in monitor.segments)
        lengths = run_length("columns", self._every), run_length("segments", self._every, of)
        found, reports, state = _evaluated(
            watched, base, window, before.state, lengths[0], None if base.learned else base.counts
        )
        segments: dict[str, bytes] = {}
        for name in _chosen(window, before):
            if name not in window.counts or (monitor.season == "week" and window.season.get(name) is None):
                if name in before.segments:
                    segments[name] = before.segments[name]
                continue
            segment = msgspec.structs.replace(watched, segment=name)
            more, wrongs, one = _evaluated(segment, base, window, before.segments.get(name, b""), lengths[1], None)
            found, reports = [*found, *more], [*reports, *wrongs]
            segments[name] = detector.dump(one)
        return found, reports, msgspec.structs.replace(after, state=detector.dump(state), segments=segments)


def _evaluated(
    watched: Watched, base: Baseline, window: Counted, state: bytes, length: float, reference: Floats | None
) -> tuple[list[Finding], list[incident.Finding], detector.DetectorState]:
    """Without a `reference` against what came before. A state that cannot be read begins anew."""
    blank = base.counts if reference is not None else base.counts * 0
    before = detector.start(base.where, blank)
    if state:
        try:
            before = detector.load(base.where, blank, state)
        except InvalidArgument as error:
            LOG.warning("the evidence of drift of '%s' begins anew: %s", watched.endpoint, error.message)
    season, counts = window.season.get(watched.segment), window.counts[watched.segment]
    base_counts = before.base if reference is None else reference
    return evaluate_window(watched, base, before, counts, length, base_counts, season)


def _chosen(window: Counted, before: DriftState) -> list[str]:
    """The segments to evaluate, by name: those that were, and as many more as may be, the largest first."""
    known = [name for name in before.segments if name][:MOST_SEGMENTS]
    fresh = sorted((name for name in window.counts if name and name not in known), key=lambda name: -window.rows[name])
    return sorted([*known, *fresh[: MOST_SEGMENTS - len(known)]])
