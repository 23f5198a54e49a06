"""One look at one endpoint, in a process of its own: labels joined, windows estimated, truth told, both compared."""

import functools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from argosy.monitoring.feedback import join
from argosy.monitoring.feedback.folder import Shelf
from argosy.monitoring.feedback.join import Prediction
from argosy.monitoring.performance import labels as truth
from argosy.monitoring.performance import log, reference
from argosy.monitoring.performance import memory as kept
from argosy.monitoring.performance.estimate import Estimate, Performance
from argosy.monitoring.performance.estimates import Estimator
from argosy.monitoring.performance.findings import Span, figure
from argosy.monitoring.performance.job import Done, Job, Version
from argosy.monitoring.performance.labels import Labels
from argosy.monitoring.performance.log import Log
from argosy.monitoring.performance.memory import Guess, Kept
from argosy.monitoring.performance.roles import Roles, roles
from argosy.monitoring.performance.verdict import Bar
from argosy.packaging.package import open_package
from argosy.spec.errors import ArgosyError, InvalidArgument
from argosy.spec.settings import load
from argosy.store import duck
from argosy.store.findings import Finding

MOST_WINDOWS = 100
"""Windows that are estimated in one look; the rest in the next."""

MONTH = 31 * 86400.0
"""How far back a first look goes."""


def look(job: Job) -> Done:
    """Everything that is due. Changes nothing but the shelf of labels, the reference's answers and broken files put
    aside, so that a look that is cut short is done again to the same end. Raises StorageFull."""
    made = [(version, _Look(job, version)) for version in job.versions]
    labels = _joined(job, [each for _, each in made if each.roles is not None])
    done = Done(metrics={version.number: each.metric for version, each in made})
    for version, each in made:
        found, remembered, more = each.run(labels)
        done = Done(
            findings=(*done.findings, *found),
            kept=done.kept | {version.number: remembered},
            metrics=done.metrics,
            more=done.more or more,
        )
    return done


def _joined(job: Job, looks: "Sequence[_Look]") -> Labels | None:
    """Join what labels have come. The columns are those of the version that was declared last."""
    if not looks or looks[0].roles is None:
        return None
    shelf, what = Shelf(job.place.feedback, job.endpoint), prediction(looks[0].roles)
    keep, now = load(job.place).feedback.keep_days, datetime.fromtimestamp(job.now, UTC)
    try:
        join.step(shelf, job.place.payloads, what, memory=log.MEMORY, threads=1, keep_days=keep, now=now)
    except InvalidArgument as error:
        looks[0].untold("realised", f"not joined: {error.message}")
        return None
    return truth.labels(shelf, job.now)


def prediction(what: Roles) -> Prediction:
    """The columns as the join takes them."""
    return Prediction(
        decision=what.decision,
        score=what.score,
        kind=what.kind,
        threshold=what.threshold,
        classes=what.classes,
        positive=what.positive,
    )


class _Look:
    """A look at one version."""

    def __init__(self, job: Job, version: Version) -> None:
        self.job, self.version, self.trouble = job, version, ""
        self.found: list[Finding] = []
        self.roles: Roles | None = None
        self.estimator: Estimator | None = None
        try:
            self.package = open_package(Path(version.package), trusted=version.trusted)
            self.roles = roles(job.monitor, self.package.manifest.signature, job.log)
        except ArgosyError as error:
            self.trouble = error.message
        monitor = msgspec.structs.replace(job.monitor, segments=(), season="none")
        basis = kept.basis(monitor, version.digest, sorted(job.log.redact), sorted(job.log.hash))
        same = version.kept.basis == basis
        self.kept = version.kept if same else Kept(basis=basis, until=version.kept.until)

    @property
    def metric(self) -> str:
        """What alerts are about."""
        return self.job.monitor.metric or (self.roles.metric if self.roles else "performance")

    def run(self, labels: Labels | None) -> tuple[list[Finding], Kept, bool]:
        """What was found, what is to be remembered, and whether there is more to do."""
        if self.roles is None:
            self.untold("estimate", f"not estimable: {self.trouble}")
            return self.found, msgspec.structs.replace(self.kept, until=self.job.end), False
        more = self._windows(self.roles)
        if labels is not None:
            told = truth.tell(self.job, self.version.number, self.roles, lambda: self.bars, labels, self.kept)
            self.found += told.findings
            self.kept = told.kept
        return self.found, self.kept, more

    @functools.cached_property
    def bars(self) -> Mapping[str, Bar]:
        """By metric, what it is on the reference, which this version answers now if it has not yet; none where that
        cannot be."""
        job, monitor = self.job, self.job.monitor
        if not monitor.reference or self.roles is None:
            return {}
        try:
            path = reference.scored(job.place, monitor, self.package, self.version.digest, job.log)
            self.estimator = Estimator(reference.read(path, self.roles), self.roles)
        except ArgosyError as error:
            self.trouble = f"not estimable: {error.message}"
            return {}
        expected = self.estimator.expected()
        return {name: Bar(metric=name, reference=each, margin=monitor.margin) for name, each in expected.items()}

    def _windows(self, what: Roles) -> bool:
        """Estimate the windows that are over since the last look; whether there are more."""
        job, every = self.job, self.job.monitor.every
        root = job.place.payloads
        begin = log.first_moment(root, job.endpoint, self.version.number)
        since = max(self.kept.until, begin or job.end, job.end - MONTH)
        first, last = int(since // every), int(job.end // every)
        if first >= last:
            return False
        span = (first * every, last * every)
        try:
            with log.opened(root, job.endpoint, self.version.number, what, every, *span) as opened:
                counts = opened.counts(first, last) if opened else {}
                due = list(counts)[:MOST_WINDOWS]
                for place in due:
                    assert opened is not None
                    self._window(opened, place, counts[place], what)
        except (ArgosyError, duck.module().Error) as error:
            said = error.message if isinstance(error, ArgosyError) else duck.first_line(error)
            self.untold("estimate", f"not estimable: {said}")
            counts, due = {}, []
        more = len(due) < len(counts)
        until = float((due[-1] + 1) * every) if more else job.end
        self.kept = msgspec.structs.replace(self.kept, until=until)
        return more

    def _span(self, place: int) -> Span:
        every = self.job.monitor.every
        return Span(
            endpoint=self.job.endpoint,
            version=self.version.number,
            start=place * every,
            end=(place + 1) * every,
            at=self.job.now,
        )

    def _window(self, opened: Log, place: int, count: int, what: Roles) -> None:
        self.kept = msgspec.structs.replace(self.kept, served=self.kept.served | {place: count})
        if not self.job.monitor.reference:
            return
        metric, span, bars = self.metric, self._span(place), self.bars
        if self.estimator is None:
            self.found.append(span.finding("estimate", metric, count, self.trouble))
            return
        found = self.estimator.estimate(opened.window(place, count, self.estimator.reference.texts))
        detail = {"domain_auc": found.overlap.auc} if found.overlap is not None else {}
        if found.reason:
            self.found.append(span.finding("estimate", metric, count, found.reason, detail=detail))
            return
        self._judge(metric, found)
        for name, each in found.estimates.items():
            fallen = name == metric and self.kept.estimated.fallen
            told = figure(span, "estimate", name, each, count, bars.get(name), fallen=fallen, **detail)
            self.found.append(told)
            if name == metric:
                self._say("estimate", str(told.detail["text"]))
        self._guess(place, found, what)

    def _judge(self, metric: str, found: Performance) -> None:
        bar, figures = self.bars.get(metric), found.estimates
        if bar is not None and metric in figures:
            state = bar.judged(figures[metric], self.kept.estimated)
            self.kept = msgspec.structs.replace(self.kept, estimated=state)

    def _guess(self, place: int, found: Performance, what: Roles) -> None:
        """Keep the estimate until its labels come."""
        each: Estimate | None = found.estimates.get(what.metric)
        if each is not None:
            guesses = self.kept.guesses | {place: Guess(each.value, each.calibration)}
            self.kept = msgspec.structs.replace(self.kept, guesses=guesses)

    def _say(self, kind: str, text: str) -> None:
        self.kept = msgspec.structs.replace(self.kept, said=self.kept.said | {kind: text})

    def untold(self, kind: str, verdict: str) -> None:
        """Nothing can be said of the last window."""
        place = int(self.job.end // self.job.monitor.every) - 1
        self.found.append(self._span(place).finding(kind, self.metric, 0, verdict))
