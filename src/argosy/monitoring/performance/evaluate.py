"""One evaluation of an endpoint, in a child process: labels joined, windows estimated, both compared."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from argosy.monitoring.feedback import join
from argosy.monitoring.feedback.folder import LabelFolder
from argosy.monitoring.performance import labels as truth
from argosy.monitoring.performance import reference
from argosy.monitoring.performance import rows as log
from argosy.monitoring.performance.estimate import Bar, figure
from argosy.monitoring.performance.estimator import Estimator
from argosy.monitoring.performance.labels import Evaluation, Labels
from argosy.monitoring.performance.roles import Roles, roles
from argosy.monitoring.performance.rows import Log
from argosy.monitoring.performance.state import Evaluated, EvaluationJob, Guess, PerformanceState, Version, basis
from argosy.packaging.package import open_package
from argosy.spec.errors import ArgosyError, InvalidArgument
from argosy.spec.settings import load
from argosy.store import duck
from argosy.store.findings import Verdict

MOST_WINDOWS = 100
"""Windows that are estimated at once; the rest in the next evaluation."""
MONTH = 31 * 86400.0
"""How far back a first evaluation goes."""


def evaluate(job: EvaluationJob) -> Evaluated:
    """Everything that is due. Changes nothing but the folder of labels, the reference's answers and broken files put
    aside, so that an evaluation that is cut short is done again to the same end. Raises StorageFull."""
    made = [VersionEvaluation(job, version) for version in job.versions]
    labels = _joined(job, [each for each in made if each.roles is not None])
    more = [each.run(labels) for each in made]
    return Evaluated(
        findings=tuple(finding for each in made for finding in each.found),
        states={each.number: each.state for each in made},
        metrics={each.number: each.metric for each in made},
        more=any(more),
    )


def _joined(job: EvaluationJob, made: "Sequence[VersionEvaluation]") -> Labels | None:
    """Join what labels have come. The columns are those of the version that was declared last."""
    if not made or made[0].roles is None:
        return None
    folder, what = LabelFolder(job.place.feedback, job.endpoint), made[0].roles
    days, now = load(job.place).feedback.keep_days, datetime.fromtimestamp(job.now, UTC)
    try:
        join.step(folder, job.place.payloads, what, memory=log.MEMORY, threads=1, keep_days=days, now=now)
    except InvalidArgument as error:
        made[0].undecided("realised", f"{Verdict.NOT_JOINED}: {error.message}")
        return None
    return truth.labels(folder, job.now)


class VersionEvaluation(Evaluation):
    def __init__(self, job: EvaluationJob, version: Version) -> None:
        self.version, self.trouble = version, ""
        self.roles: Roles | None = None
        self.estimator: Estimator | None = None
        try:
            self.package = open_package(Path(version.package), trusted=version.trusted, stored=version.digest)
            self.roles = roles(job.monitor, self.package.manifest.recorded, job.log)
        except ArgosyError as error:
            self.trouble = f"{Verdict.NOT_ESTIMABLE}: {error.message}"
        monitor = msgspec.structs.replace(job.monitor, segments=(), season="none")
        of = basis(monitor, version.digest, sorted(job.log.redact), sorted(job.log.hash))
        state = version.state
        super().__init__(
            job, version.number, state if state.basis == of else PerformanceState(basis=of, until=state.until)
        )

    @property
    def metric(self) -> str:
        return self.job.monitor.metric or (self.roles.metric if self.roles else "performance")

    def run(self, labels: Labels | None) -> bool:
        """Evaluate it. Whether there is more to do."""
        if self.roles is None:
            self.undecided("estimate", self.trouble)
            self.update(until=self.job.end)
            return False
        more = self._windows(self.roles)
        if labels is not None:
            truth.evaluate(self, self.roles, labels)
        return more

    def reference_bars(self) -> Mapping[str, Bar]:
        """What this version answers to the reference, now if it has not yet."""
        job, monitor = self.job, self.job.monitor
        if not monitor.reference or self.roles is None:
            return {}
        try:
            path = reference.scored(job.place, monitor, self.package, self.version.digest, job.log)
            self.estimator = Estimator(reference.read(path, self.roles), self.roles)
        except ArgosyError as error:
            self.trouble = f"{Verdict.NOT_ESTIMABLE}: {error.message}"
            return {}
        expected = self.estimator.expected()
        return {name: Bar(metric=name, reference=each, margin=monitor.margin) for name, each in expected.items()}

    def _windows(self, what: Roles) -> bool:
        """Estimate the windows that are over since the last evaluation; whether there are more."""
        job, every = self.job, self.job.monitor.every
        root = job.place.payloads
        begin = log.first_moment(root, job.endpoint, self.number)
        since = max(self.state.until, begin or job.end, job.end - MONTH)
        first, last = int(since // every), int(job.end // every)
        if first >= last:
            return False
        span = (first * every, last * every)
        counts, due = dict[int, int](), list[int]()
        try:
            with log.opened(root, job.endpoint, self.number, what, every, *span) as opened:
                if opened is not None:
                    counts = opened.counts(first, last)
                    due = list(counts)[:MOST_WINDOWS]
                    for place in due:
                        self._window(opened, place, counts[place], what)
        except (ArgosyError, duck.module().Error) as error:
            said = error.message if isinstance(error, ArgosyError) else duck.first_line(error)
            self.undecided("estimate", f"{Verdict.NOT_ESTIMABLE}: {said}")
            counts, due = {}, []
        more = len(due) < len(counts)
        self.update(until=float((due[-1] + 1) * every) if more else job.end)
        return more

    def _window(self, opened: Log, place: int, count: int, what: Roles) -> None:
        self.update(served=self.state.served | {place: count})
        if not self.job.monitor.reference:
            return
        metric, span, bars = self.metric, self.span(place), self.bars
        if self.estimator is None:
            self.found.append(span.finding("estimate", metric, count, self.trouble))
            return
        found = self.estimator.estimate(opened.window(place, count, self.estimator.reference.texts))
        detail = {"domain_auc": found.overlap.auc} if found.overlap is not None else {}
        if found.reason:
            self.found.append(span.finding("estimate", metric, count, found.reason, detail=detail))
            return
        if metric in bars and metric in found.estimates:
            self.update(estimated=bars[metric].after(found.estimates[metric], self.state.estimated))
        for name, each in found.estimates.items():
            fallen = name == metric and self.state.estimated.fallen
            one = figure(span, "estimate", name, each, count, bars.get(name), fallen=fallen, detail=detail)
            self.found.append(one)
            if name == metric:
                self.say("estimate", str(one.detail["text"]))
        if (each := found.estimates.get(what.metric)) is not None:
            self.update(guesses=self.state.guesses | {place: Guess(each.value, each.calibration)})

    def undecided(self, kind: str, verdict: str) -> None:
        """Nothing can be said of the last window."""
        place = int(self.job.end // self.job.monitor.every) - 1
        self.found.append(self.span(place).finding(kind, self.metric, 0, verdict))
