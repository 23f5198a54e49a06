"""What labels say of the windows of a version, and of what was estimated of them."""

import functools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec

from argosy.monitoring.feedback import cohort, windows
from argosy.monitoring.feedback.cohort import MATURE
from argosy.monitoring.feedback.folder import Manifest, Shelf
from argosy.monitoring.feedback.maturity import Delays
from argosy.monitoring.feedback.reconcile import Chunk, Rule, reconcile
from argosy.monitoring.feedback.windows import Errors, Labelled, Matrix
from argosy.monitoring.performance import fall, realised
from argosy.monitoring.performance.cbpe import Z
from argosy.monitoring.performance.estimate import Estimate
from argosy.monitoring.performance.findings import Span, figure
from argosy.monitoring.performance.job import Job
from argosy.monitoring.performance.memory import MOST_WINDOWS, Guess, Kept
from argosy.monitoring.performance.roles import Roles
from argosy.monitoring.performance.verdict import Bar
from argosy.store.findings import Finding

Bars = Callable[[], Mapping[str, Bar]]
DAY = 86400
AGREES, DIFFERS = "agrees", "the estimate was too good"


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """What was joined, and how long labels take."""

    shelf: Shelf
    manifest: Manifest
    delays: Delays


class LabelResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, and what is to be remembered."""

    findings: list[Finding]
    kept: Kept


def labels(shelf: Shelf, now: float) -> Labels:
    """As they are after a step of the join."""
    delays = cohort.performance(shelf, datetime.fromtimestamp(now, UTC), "hour").delays
    return Labels(shelf=shelf, manifest=shelf.manifest(), delays=delays)


def tell(job: Job, version: str, what: Roles, bars: Bars, known: Labels, kept: Kept) -> LabelResult:
    """The windows of days that were counted again, and those that had too few labels."""
    every, named = job.monitor.every, known.manifest.cohorts
    touched = {day for day, name in named.items() if kept.days.get(day) != name}
    days = touched | {day for place in kept.waiting for day in _days(place, every)}
    around = {day for each in days for place in _places(each, every) for day in _days(place, every)}
    turn = _Turn(job, version, what, bars, known, kept)
    with windows.labelled(known.shelf, known.manifest, around & set(named), every) as opened:
        if opened is not None:
            inside = {place for each in days for place in _places(each, every)}
            turn.run(opened, inside)
    waiting = {place for place in kept.waiting if not set(_days(place, every)) & days} | turn.waiting
    return LabelResult(
        findings=turn.found,
        kept=msgspec.structs.replace(turn.kept, days=dict(named), waiting=tuple(sorted(waiting))),
    )


def _days(place: int, every: int) -> list[str]:
    """The UTC days that a window touches."""
    start, end = place * every, (place + 1) * every - 1
    return [_day(at * DAY) for at in range(start // DAY, end // DAY + 1)]


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _places(day: str, every: int) -> range:
    """The windows that touch a UTC day."""
    start = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
    return range(start // every, (start + DAY - 1) // every + 1)


class _Turn:
    """One version's windows, oldest first."""

    def __init__(self, job: Job, version: str, what: Roles, bars: Bars, known: Labels, kept: Kept) -> None:
        self.job, self.version, self.what, self.known, self.kept = job, version, what, known, kept
        self._bars = bars
        self.metric = job.monitor.metric or what.metric
        self.found: list[Finding] = []
        self.waiting: set[int] = set()

    @functools.cached_property
    def bars(self) -> Mapping[str, Bar]:
        """What metrics are on the reference; asked for once there is a window to tell of."""
        return self._bars()

    def run(self, opened: Labelled, inside: set[int]) -> None:
        """Tell of the windows among these that have labels."""
        if self.what.kind == "regression":
            for place, errors in opened.errors(self.version).items():
                if place in inside and self._over(place):
                    self._window(place, errors.n, realised.regression(errors), errors)
            return
        for place, matrix in opened.matrices(self.version).items():
            if place in inside and self._over(place):
                count = sum(matrix.values())
                figures = realised.classification(matrix, self.what.classes, self.what.positive)
                self._window(place, count, figures | self._area(opened, place, count), matrix)

    def _over(self, place: int) -> bool:
        """Whether a window is over, and estimated as far as it can be: truth comes after the estimate."""
        if (place + 1) * self.job.monitor.every <= self.kept.until:
            return True
        self.waiting.add(place)
        return False

    def _area(self, opened: Labelled, place: int, count: int) -> dict[str, Estimate]:
        if not self.what.score or not self.what.positive:
            return {}
        side = realised.area(*opened.scores(self.version, place, self.what.positive, count))
        return {"auroc": side} if side is not None else {}

    def _window(self, place: int, count: int, figures: dict[str, Estimate], counts: Matrix | Errors) -> None:
        every = self.job.monitor.every
        maturity = self.known.delays.maturity(self.job.now - (place + 0.5) * every)
        span = Span(
            endpoint=self.job.endpoint,
            version=self.version,
            start=place * every,
            end=(place + 1) * every,
            at=self.job.now,
        )
        fresh = place not in self.kept.counted and not self._older(place)
        mature = maturity >= MATURE
        if mature and fresh:
            self._count(place, figures)
            if place in self.kept.guesses:
                self._compare(span, place, figures, counts, maturity)
        elif fresh:
            self.waiting.add(place)
        served = self.kept.served.get(place)
        more = {"maturity": maturity, "labelled": count} | ({"served": served} if served is not None else {})
        for name, each in figures.items():
            fallen = name == self.metric and mature and self.kept.realised.fallen
            told = figure(span, "realised", name, each, count, self.bars.get(name), fallen=fallen, **more)
            self.found.append(told)
            if name == self.metric and mature and fresh:
                self._say("realised", str(told.detail["text"]))

    def _older(self, place: int) -> bool:
        """Whether it may have been counted and forgotten."""
        counted = self.kept.counted
        return len(counted) >= MOST_WINDOWS and place < counted[0]

    def _count(self, place: int, figures: dict[str, Estimate]) -> None:
        """Make a window part of the evidence, once, with the labels it has now."""
        state, bar = self.kept.realised, self.bars.get(self.metric)
        if bar is not None and self.metric in figures:
            state = bar.judged(figures[self.metric], state)
        counted = (*self.kept.counted, place)
        self.kept = msgspec.structs.replace(self.kept, realised=state, counted=counted)

    def _compare(
        self, span: Span, place: int, figures: dict[str, Estimate], counts: Matrix | Errors, maturity: float
    ) -> None:
        """Estimated against realised."""
        guess, came = self.kept.guesses[place], figures.get(self.what.metric)
        left = {other: each for other, each in self.kept.guesses.items() if other != place}
        self.kept = msgspec.structs.replace(self.kept, guesses=left)
        if came is None:
            return
        if isinstance(counts, Errors):
            self._gap(guess, came)
        else:
            self._reconcile(place, guess, counts)
        half = Z * (came.sampling**2 + guess.calibration**2) ** 0.5
        effect = came.value - guess.value
        text = f"{self.what.metric} was {came.value:.3f} where {guess.value:.3f} was estimated"
        rows = counts.n if isinstance(counts, Errors) else sum(counts.values())
        verdict = DIFFERS if self.kept.differ else AGREES
        detail = {"text": text, "maturity": maturity, "margin": self.job.monitor.gap}
        shape = {"effect": effect, "low": effect - half, "high": effect + half, "detail": detail}
        self.found.append(span.finding("reconcile", self.what.metric, rows, verdict, **shape))
        self._say("reconcile", text)

    def _reconcile(self, place: int, guess: Guess, counts: Matrix) -> None:
        total, right = sum(counts.values()), realised.right(counts)
        error = Z * guess.calibration
        rule = Rule(margin=self.job.monitor.gap, chunks=fall.WINDOWS, maturity=MATURE)
        chunk = Chunk(name=str(place), estimated=guess.value, error=error, right=right, labelled=total)
        state = reconcile(rule, [chunk], self.kept.reconciled)
        short = guess.value - error - rule.margin - right / total
        differ = bool(state.alarms) or (self.kept.differ and short > 0)
        state = msgspec.structs.replace(state, counted=(), alarms=())
        self.kept = msgspec.structs.replace(self.kept, reconciled=state, differ=differ)

    def _gap(self, guess: Guess, came: Estimate) -> None:
        short = came.value - guess.value * (1 + self.job.monitor.gap) - 2 * guess.calibration
        state = fall.look(self.kept.gap, short, came.sampling)
        self.kept = msgspec.structs.replace(self.kept, gap=state, differ=state.fallen)

    def _say(self, kind: str, text: str) -> None:
        self.kept = msgspec.structs.replace(self.kept, said=self.kept.said | {kind: text})
