"""Is a candidate as good as the slot before it? Errors, latency and answers, judged so that it may be asked at every
moment. Pure.

Three e-processes, each with mean ≤ 1 while its claim holds, whenever it is read; the candidate is rolled back once one
of them reaches 3/α, so that a good one is with a probability of at most α (Ville), however often it is asked.

- Errors: the candidate's share exceeds that of the slot before by at most `Trial.errors`. One block is what came
  between two looks: E = Π p_a(candidate)/p_{x+δ}(candidate) · Π p_b(stable)/p_x(stable), with x nearest to the guess
  (a, b) (`argosy.monitoring.eprocess` has the proof).
- Answers: k of n pairs disagree, each with a probability of at most d = 1 − `Trial.agreement`:
  E = Π (a/d)^k·((1−a)/(1−d))^(n−k).
- Latency: at least half of the candidate's answers come within `Trial.slower` times a time that surely is at or above
  the median of the slot before (a confidence sequence of its quantile, at α/6): the same E with d = 1/2 at 6/α.

What is only not disproved is not enough to commit: what was counted has to be within the bounds as well.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from argosy_edge.wire import Arm, Quality, Trial

Array = npt.NDArray[Any]

FIRST = -14
"""log2 of the upper edge of the first cell of latencies, in seconds."""
CELLS = 24
ERROR_GUESSES = ((0.02, 0.3), (0.1, 0.3), (0.4, 0.2), (0.9, 0.2))
"""How much larger the candidate's share of errors may be than allowed, with weights."""
ODDS = ((1.5, 0.15), (2.5, 0.2), (4.0, 0.2), (8.0, 0.2), (20.0, 0.25))
"""By which factor the odds of what must be rare may be larger, with weights."""
TINY = 1e-9
ALONE = 5.0
"""Seconds that a candidate has to be healthy for, at most, where nothing serves before it."""
PROBABILITIES = 1e-3
"""How far from 1 the sum of a row may be that is taken for probabilities."""


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """All of a trial, over every load of the candidate: what both slots did, seconds in which the candidate was
    healthy, logarithms of the evidence for more errors (by guess) and for being slower, (exceeding, of) its counts."""

    seconds: float = 0.0
    seen: Quality = Quality()
    errors: tuple[float, ...] = (0.0,) * len(ERROR_GUESSES)
    slower: tuple[float, ...] = (0.0,) * len(ODDS)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What follows, and why."""

    verdict: Literal["on", "commit", "rollback"]
    reason: str


def cell(seconds: float) -> int:
    """The cell of a latency: number n is up to 2^(n - 14) seconds."""
    return min(max(math.ceil(math.log2(max(seconds, TINY))) - FIRST, 0), CELLS - 1)


def added(a: Arm, b: Arm) -> Arm:
    """Both together."""
    width = max(len(a.latency), len(b.latency))
    latency = tuple(
        sum(each.latency[place] if place < len(each.latency) else 0 for each in (a, b)) for place in range(width)
    )
    return Arm(requests=a.requests + b.requests, errors=a.errors + b.errors, latency=latency)


def summed(a: Quality, b: Quality) -> Quality:
    """Both together."""
    return Quality(
        stable=added(a.stable, b.stable),
        candidate=added(a.candidate, b.candidate),
        compared=a.compared + b.compared,
        agreed=a.agreed + b.agreed,
    )


def after(old: Tally, block: Quality, seconds: float, trial: Trial, alone: bool = False) -> Tally:
    """With what happened in the `seconds` since the last look."""
    past = old.seen
    return Tally(
        seconds=old.seconds + seconds,
        seen=summed(past, block),
        errors=tuple(
            log + _more_errors(block, past, trial.errors, guess, alone)
            for log, (guess, _) in zip(old.errors, ERROR_GUESSES, strict=True)
        ),
        slower=_slower(old, block.candidate, trial),
    )


def judge(tally: Tally, trial: Trial, alone: bool = False) -> Verdict:
    """Whether the trial goes on. `alone`: there is no slot before: only health counts."""
    seen = tally.seen
    compared = not alone and trial.agreement is not None
    harm = _harm(tally, trial, compared, alone)
    if harm:
        return Verdict(verdict="rollback", reason=harm)
    rows = seen.compared if compared else seen.candidate.requests
    have = f"{rows:,} answers in {tally.seconds:.0f} s, {seen.candidate.errors:,} errors"
    short = _short(seen, trial, compared)
    if (
        tally.seconds >= (min(trial.seconds, ALONE) if alone else trial.seconds)
        and (alone or rows >= trial.rows)
        and not short
    ):
        return Verdict(verdict="commit", reason=f"{have}{_agreement(seen) if compared else ''}")
    if tally.seconds < trial.longest:
        return Verdict(verdict="on", reason=short or f"{have}; {trial.rows:,} and {trial.seconds:g} s are asked for")
    if short or trial.then == "rollback":
        return Verdict(verdict="rollback", reason=f"after {trial.longest:g} s: {short or have}")
    return Verdict(verdict="commit", reason=f"after {trial.longest:g} s, with fewer than {trial.rows:,} rows: {have}")


def _agreement(seen: Quality) -> str:
    return f", {seen.agreed:,} of {seen.compared:,} agree with the slot before"


def _harm(tally: Tally, trial: Trial, compared: bool, alone: bool) -> str:
    """What has been shown to be worse, or nothing."""
    seen, needed = tally.seen, math.log(3 / trial.alpha)
    mine, theirs = seen.candidate, seen.stable
    if _mixture(tally.errors, [weight for _, weight in ERROR_GUESSES]) >= needed:
        before = "" if alone else f", the slot before {theirs.errors:,} of {theirs.requests:,}"
        return f"errors: {mine.errors:,} of {mine.requests:,} requests failed{before}"
    if compared and trial.agreement is not None:
        logs = [_log(seen.compared - seen.agreed, seen.compared, a, 1 - trial.agreement) for a in _odds(trial)]
        if _mixture(logs, [weight for _, weight in ODDS]) >= needed:
            share = f"{seen.agreed / seen.compared:.1%} of {seen.compared:,} answers"
            return f"agreement: {share} are those of the slot before, below {trial.agreement:.1%}"
    if _mixture(tally.slower, [weight for _, weight in ODDS]) >= needed + math.log(2):
        return (
            f"latency: {_median_text(mine)}, the slot before {_median_text(theirs)}: more than {trial.slower:g} times"
        )
    return ""


def _short(seen: Quality, trial: Trial, compared: bool) -> str:
    """What counts against a commit without being proof."""
    mine, theirs = seen.candidate, seen.stable
    if compared and trial.agreement is not None and seen.agreed < trial.agreement * seen.compared:
        return f"only {seen.agreed:,} of {seen.compared:,} answers agree with the slot before"
    if mine.errors > mine.requests * (_share(theirs) + trial.errors):
        return f"{mine.errors:,} of {mine.requests:,} requests failed"
    if _median(theirs) is not None and (_median(mine) or 0) > (_median(theirs) or 0) + _cells(trial):
        return _median_text(mine)
    return ""


def _share(arm: Arm) -> float:
    return arm.errors / arm.requests if arm.requests else 0.0


def _odds(trial: Trial) -> list[float]:
    bound = min(max(1 - (trial.agreement or 0.0), TINY), 1 - TINY)
    return [odds * bound / (1 - bound + odds * bound) for odds, _ in ODDS]


def _log(hits: int, total: int, guess: float, bound: float) -> float:
    """ln of the evidence that the rate of hits is above the bound."""
    bound = min(max(bound, TINY), 1 - TINY)
    return hits * math.log(guess / bound) + (total - hits) * math.log((1 - guess) / (1 - bound))


def _mixture(logs: tuple[float, ...] | list[float], weights: list[float]) -> float:
    top = max(logs)
    return top + math.log(sum(weight * math.exp(log - top) for log, weight in zip(logs, weights, strict=True)))


def _more_errors(block: Quality, past: Quality, delta: float, guess: float, alone: bool) -> float:
    """ln of one block's evidence that the candidate's share of errors is larger by more than `delta`; alone: than 0."""
    n, k, m, j = block.candidate.requests, block.candidate.errors, block.stable.requests, block.stable.errors
    delta = max(delta, 0.0)
    if alone:
        return _log(k, n, min(delta + guess, 1 - 1e-6), delta)
    if not n or not m:
        return 0.0
    b = min((past.stable.errors + 0.1) / (past.stable.requests + 10), 0.9)
    a = min(b + delta + guess, 1 - 1e-6)
    x = _nearest(n / (n + m), a, b, delta)
    y = x + delta
    candidate = k * math.log(a / y) + (n - k) * math.log((1 - a) / (1 - y))
    return candidate + j * math.log(b / x) + (m - j) * math.log((1 - b) / (1 - x))


def _nearest(share: float, a: float, b: float, delta: float) -> float:
    """The x for which (x + delta, x) is nearest in KL to (a, b): by halving, as the derivative grows."""
    low, high = TINY, 1 - delta - TINY
    left, right = min(max(min(a - delta, b), low), high), min(max(a - delta, b, low), high)
    for _ in range(50):
        x = (left + right) / 2
        y = x + delta
        slope = share * (y - a) / (y * (1 - y)) + (1 - share) * (x - b) / (x * (1 - x))
        left, right = (x, right) if slope < 0 else (left, x)
    return (left + right) / 2


def _slower(old: Tally, block: Arm, trial: Trial) -> tuple[float, ...]:
    """Evidence with one more block: of its answers, how many exceed `slower` times the slot before's median."""
    limit = _median_at_most(old.seen.stable, trial.alpha / 6)
    if limit is None:
        return old.slower
    limit += _cells(trial)
    total = sum(block.latency)
    beyond = sum(block.latency[limit + 1 :])
    guesses = [odds * 0.5 / (0.5 + odds * 0.5) for odds, _ in ODDS]
    return tuple(log + _log(beyond, total, guess, 0.5) for log, guess in zip(old.slower, guesses, strict=True))


def _median_at_most(arm: Arm, alpha: float) -> int | None:
    """The first cell that surely has the median in it or below; None before that is known."""
    total, below = sum(arm.latency), 0
    for place, count in enumerate(arm.latency):
        below += count
        if below > total / 2 and not _plausible(below, total, alpha):
            return place
    return None


def _plausible(events: int, total: int, alpha: float) -> bool:
    """Whether a rate of 1/2 is within the confidence sequence of `argosy.monitoring.eprocess.interval`."""
    mean = math.lgamma(events + 0.5) + math.lgamma(total - events + 0.5) - math.lgamma(total + 1) - math.log(math.pi)
    return total * math.log(0.5) > mean + math.log(alpha)


def _cells(trial: Trial) -> int:
    """By how many cells the median may be later."""
    return math.ceil(math.log2(max(trial.slower, 1.0)) - TINY)


def _median(arm: Arm) -> int | None:
    """The cell that has the median."""
    total, below = sum(arm.latency), 0
    for place, count in enumerate(arm.latency):
        below += count
        if count and below >= total / 2:
            return place
    return None


def _median_text(arm: Arm) -> str:
    place = _median(arm)
    return "no answers" if place is None else f"half of the answers within {2.0 ** (place + FIRST) * 1000:.3g} ms"


def agrees(stable: Mapping[str, Array], candidate: Mapping[str, Array], tolerance: float) -> bool:
    """Whether two answers to one request are the same. Labels (all but floating numbers) have to be equal, and where
    there are any, they alone count; of rows of probabilities the largest has to be at the same place; other numbers
    have to be within the tolerance, relative to the largest of their row. A number that is not finite agrees with none
    but its like."""
    if stable.keys() != candidate.keys():
        return False
    pairs = [(stable[name], candidate[name]) for name in stable]
    if any(a.shape != b.shape or (a.dtype.kind == "f") != (b.dtype.kind == "f") for a, b in pairs):
        return False
    labels = [(a, b) for a, b in pairs if a.dtype.kind != "f"]
    numbers = [(a.astype(np.float64), b.astype(np.float64)) for a, b in pairs if a.dtype.kind == "f"]
    if not all(np.array_equal(np.isfinite(a), np.isfinite(b)) for a, b in numbers):
        return False
    if labels:
        return all(np.array_equal(a, b) for a, b in labels)
    return all(_near(a, b, tolerance) for a, b in numbers)


def _near(a: Array, b: Array, tolerance: float) -> bool:
    width = a.shape[-1] if a.ndim > 1 else 1
    if not a.size:
        return True
    a, b = a.reshape(-1, width), b.reshape(-1, width)
    if width > 1 and all(_probable(each) for each in (a, b)):
        return bool(np.array_equal(a.argmax(1), b.argmax(1)))
    finite = np.isfinite(a)
    x, y = np.where(finite, a, 0.0), np.where(finite, b, 0.0)
    scale = np.maximum(np.abs(x), np.abs(y)).max(axis=1, keepdims=True, initial=1e-6)
    near: Array = np.abs(x - y) <= tolerance * scale
    return bool(np.all(np.where(finite, near, (a == b) | (np.isnan(a) & np.isnan(b)))))


def _probable(rows: Array) -> bool:
    return bool(np.all(rows >= 0) and np.all(np.abs(rows.sum(axis=1) - 1) <= PROBABILITIES))
