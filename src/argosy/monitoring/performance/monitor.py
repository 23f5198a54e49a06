"""The task of a platform that evaluates performance, in a child process."""

import time
from collections.abc import Callable, Mapping

from argosy.alerting.incident import Finding as Wrong
from argosy.monitoring.monitor import ReportFindings, WindowMonitor, serving
from argosy.monitoring.performance import reference
from argosy.monitoring.performance.state import Evaluated, EvaluationJob, PerformanceState, Version
from argosy.process.child import Child
from argosy.spec.revision import Revision
from argosy.store.endpoints import Declared, Endpoints
from argosy.store.monitor_state import MonitorState
from argosy.store.payloads import layout
from argosy.store.store import Store

STATES = MonitorState("performance", PerformanceState)
"""The states of endpoints, by version."""
SECONDS = 900.0
"""The longest that one evaluation may take."""
EVALUATE = "argosy.monitoring.performance.evaluate:evaluate"
TITLES = {
    "estimate": "The estimated {metric} has fallen",
    "realised": "The {metric} has fallen, as labels say",
    "reconcile": "The {metric} is worse than was estimated: what is true may have changed",
}


class PerformanceMonitor(WindowMonitor[PerformanceState]):
    """Evaluates every endpoint with a monitor."""

    source, states = "quality", STATES

    def __init__(
        self, store: Store, state: Endpoints, report: ReportFindings, clock: Callable[[], float] = time.time
    ) -> None:
        child = Child("the evaluation of performance", timeout=SECONDS, nice=10)
        super().__init__(store, state, report, clock, child)

    def window(self, declared: Declared) -> tuple[int, float] | None:
        monitor, log = declared.endpoint.monitor, declared.endpoint.payload
        if monitor is None or log is None or not reference.evaluated(declared.endpoint):
            return None
        return monitor.every, log.flush + 5

    def forget(self, name: str) -> None:
        pass

    def clean(self, declared: Mapping[str, Declared]) -> None:
        super().clean(declared)
        monitors = [each.endpoint.monitor for each in declared.values() if each.endpoint.monitor is not None]
        reference.forget(self.store.home, monitors)

    def evaluate(self, declared: Declared, revisions: Mapping[str, Revision], now: float, end: float) -> bool:
        job = self.job(declared, revisions, now, end)
        if not job.versions:
            return False
        with self.child:
            done = self.child.run(EVALUATE, job, Evaluated)
        revision = serving(declared, revisions)
        wrong = _wrong(job.endpoint, revision.version, done) if revision is not None else ()
        states = {version: each.bounded() for version, each in done.states.items()}
        self.write(job.endpoint, done.findings, wrong, states)
        return done.more

    def job(self, declared: Declared, revisions: Mapping[str, Revision], now: float, end: float) -> EvaluationJob:
        """The versions that have a log, the one that is declared first."""
        endpoint, home = declared.endpoint, self.store.home
        assert endpoint.monitor is not None
        assert endpoint.payload is not None
        logged = set(layout.versions(home.payloads, endpoint.name))
        mine = {each.version: each for each in revisions.values() if each.endpoint == endpoint.name}
        first = revisions[declared.revision].version if declared.revision in revisions else ""
        versions: list[Version] = []
        for number in sorted(logged & mine.keys(), key=lambda number: (number != first, number)):
            digest = mine[number].digest
            # A package is checked when it is unpacked, and by its golden examples before it scores.
            package = home.packages / digest.removeprefix("sha256:")
            versions.append(
                Version(
                    number=number,
                    digest=digest,
                    package=str(package if package.is_dir() else self.store.unpacked(digest)),
                    trusted=self.store.registry.trusted(digest),
                    state=STATES.get(self.store.database, endpoint.name, number) or PerformanceState(),
                )
            )
        return EvaluationJob(
            home=str(home.root),
            endpoint=endpoint.name,
            monitor=endpoint.monitor,
            log=endpoint.payload,
            now=now,
            end=end,
            versions=tuple(versions),
        )


def _wrong(endpoint: str, version: str, done: Evaluated) -> tuple[Wrong, ...]:
    """What is wrong with the version that serves."""
    state, metric = done.states.get(version, PerformanceState()), done.metrics.get(version, "")
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
