"""What labels say of the windows of a version, and of what was estimated of them."""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from argosy.monitoring.eprocess import WINDOWS_PER_ALARM, RateRise
from argosy.monitoring.feedback import cohort, windows
from argosy.monitoring.feedback.cohort import MATURE, Delays
from argosy.monitoring.feedback.folder import LabelFolder, Manifest
from argosy.monitoring.feedback.windows import Errors, Labelled, Matrix
from argosy.monitoring.performance import metrics
from argosy.monitoring.performance.estimate import Bar, Estimate, Z, figure
from argosy.monitoring.performance.roles import Roles
from argosy.monitoring.performance.state import MOST_WINDOWS, EvaluationJob, PerformanceState, Reconciled
from argosy.store.findings import Finding, Span, Verdict

DAY = 86400


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """What was joined, and how long labels take."""

    folder: LabelFolder
    manifest: Manifest
    delays: Delays


def labels(folder: LabelFolder, now: float) -> Labels:
    """As they are after a step of the join."""
    delays = cohort.performance(folder, datetime.fromtimestamp(now, UTC), "hour").delays
    return Labels(folder=folder, manifest=folder.manifest(), delays=delays)


class Evaluation(ABC):
    """One version of an endpoint: its state, and what was found. Windows are by place."""

    def __init__(self, job: EvaluationJob, number: str, state: PerformanceState) -> None:
        self.job, self.number, self.state = job, number, state
        self.found: list[Finding] = []

    @functools.cached_property
    def bars(self) -> Mapping[str, Bar]:
        """By metric, what it is on the reference; none where that cannot be."""
        return self.reference_bars()

    @abstractmethod
    def reference_bars(self) -> Mapping[str, Bar]:
        """Work out `bars`."""

    @property
    @abstractmethod
    def metric(self) -> str:
        """What alerts are about."""

    def span(self, place: int) -> Span:
        start, every = place * self.job.monitor.every, self.job.monitor.every
        return Span(endpoint=self.job.endpoint, version=self.number, start=start, end=start + every, at=self.job.now)

    def update(self, **changes: Any) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)

    def say(self, kind: str, text: str) -> None:
        """Store what was found last of a kind, for alerts."""
        self.update(said=self.state.said | {kind: text})


def evaluate(one: Evaluation, what: Roles, known: Labels) -> None:
    """The windows of days that were counted again, and those that had too few labels; oldest first."""
    every, named = one.job.monitor.every, known.manifest.cohorts
    touched = {day for day, name in named.items() if one.state.days.get(day) != name}
    days = touched | {day for place in one.state.waiting for day in _days(place, every)}
    inside = {place for each in days for place in _places(each, every)}
    around = {day for place in inside for day in _days(place, every)}
    waiting = {place for place in one.state.waiting if not set(_days(place, every)) & days}
    with windows.labelled(known.folder, known.manifest, around & set(named), every) as opened:
        if opened is not None:
            waiting |= _Windows(one, what, known.delays, opened).run(inside)
    one.update(days=dict(named), waiting=tuple(sorted(waiting)))


def _days(place: int, every: int) -> list[str]:
    """The UTC days that a window touches."""
    start, end = place * every, (place + 1) * every - 1
    days = range(start // DAY, end // DAY + 1)
    return [datetime.fromtimestamp(day * DAY, UTC).strftime("%Y-%m-%d") for day in days]


def _places(day: str, every: int) -> range:
    """The windows that touch a UTC day."""
    start = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    return range(start // every, (start + DAY - 1) // every + 1)


class _Windows:
    """The labelled windows of one version."""

    def __init__(self, one: Evaluation, what: Roles, delays: Delays, opened: Labelled) -> None:
        self.one, self.what, self.delays, self.opened = one, what, delays, opened

    def run(self, inside: set[int]) -> set[int]:
        """Evaluate the windows among these that have labels; those that wait for more labels, or for the estimate:
        truth comes after it."""
        of: Mapping[int, Matrix | Errors]
        version, waiting = self.one.number, set[int]()
        of = self.opened.errors(version) if self.what.kind == "regression" else self.opened.matrices(version)
        for place, counts in of.items():
            if place not in inside:
                continue
            if (place + 1) * self.one.job.monitor.every > self.one.state.until or not self._window(place, counts):
                waiting.add(place)
        return waiting

    def _figures(self, place: int, counts: Matrix | Errors) -> dict[str, Estimate]:
        if isinstance(counts, Errors):
            return metrics.regression(counts)
        figures = metrics.classification(counts, self.what.classes, self.what.positive)
        if self.what.alias:
            return {"accuracy": figures["accuracy"]}  # of thumbs, which have no classes
        if self.what.score and self.what.positive:
            total = sum(counts.values())
            side = metrics.area(*self.opened.scores(self.one.number, place, self.what.positive, total))
            figures |= {"auroc": side} if side is not None else {}
        return figures

    def _window(self, place: int, counts: Matrix | Errors) -> bool:
        """Whether no more labels are needed."""
        one, figures = self.one, self._figures(place, counts)
        count = counts.n if isinstance(counts, Errors) else sum(counts.values())
        maturity = self.delays.maturity(one.job.now - (place + 0.5) * one.job.monitor.every)
        counted = one.state.counted
        forgotten = len(counted) >= MOST_WINDOWS and place < counted[0]
        fresh = place not in counted and not forgotten
        mature = maturity >= MATURE
        if mature and fresh:
            self._count(place, figures)
            if place in one.state.guesses:
                self._compare(place, figures, counts, count, maturity)
        served = one.state.served.get(place)
        detail = {"maturity": maturity, "labelled": count} | ({"served": served} if served is not None else {})
        for name, each in figures.items():
            fallen = name == one.metric and mature and one.state.realised.fallen
            bar, span = one.bars.get(name), one.span(place)
            found = figure(span, "realised", name, each, count, bar, fallen=fallen, detail=detail)
            one.found.append(found)
            if name == one.metric and mature and fresh:
                one.say("realised", str(found.detail["text"]))
        return mature or not fresh

    def _count(self, place: int, figures: dict[str, Estimate]) -> None:
        """Make a window part of the evidence, once, with the labels it has now."""
        one, bar = self.one, self.one.bars.get(self.one.metric)
        if bar is not None and one.metric in figures:
            one.update(realised=bar.after(figures[one.metric], one.state.realised))
        one.update(counted=(*one.state.counted, place))

    def _compare(
        self, place: int, figures: dict[str, Estimate], counts: Matrix | Errors, count: int, maturity: float
    ) -> None:
        """Estimated against realised: a change of what is true, which an estimate cannot see, shows here. Of classes
        the share that was wrong is compared with the share the estimate expected, of numbers the metric."""
        one, metric, gap = self.one, self.what.metric, self.one.job.monitor.gap
        guess, came = one.state.guesses[place], figures.get(metric)
        one.update(guesses={other: each for other, each in one.state.guesses.items() if other != place})
        if came is None:
            return
        if isinstance(counts, Errors):
            short = came.value - guess.value * (1 + gap) - 2 * guess.calibration
            fall = one.state.gap.after(short, came.sampling)
            one.update(gap=fall, differ=fall.fallen)
        else:
            right = metrics.right(counts)
            least = guess.value - Z * guess.calibration - gap
            rise = one.state.reconciled.burst.after(count - right, count, min(1 - least, 1 - 1e-6))
            alarm = rise.log_e >= math.log(WINDOWS_PER_ALARM)
            differ = alarm or (one.state.differ and least > right / count)
            one.update(reconciled=Reconciled(burst=RateRise() if alarm else rise), differ=differ)
        half = Z * (came.sampling**2 + guess.calibration**2) ** 0.5
        effect = came.value - guess.value
        text = f"{metric} was {came.value:.3f} where {guess.value:.3f} was estimated"
        verdict = Verdict.DIFFERS if one.state.differ else Verdict.AGREES
        detail = {"text": text, "maturity": maturity, "margin": gap}
        shape = {"effect": effect, "low": effect - half, "high": effect + half, "detail": detail}
        one.found.append(one.span(place).finding("reconcile", metric, count, verdict, **shape))
        one.say("reconcile", text)
