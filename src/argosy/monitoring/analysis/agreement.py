"""Does a shadow answer as the stable revision does? Two answers compared, many counted, the count judged. Pure.

With d₀ = 1 − the agreement that was declared, and k of n compared pairs that disagree,

    E = Σ w·(a/d₀)^k·((1 − a)/(1 − d₀))^(n − k)    over guesses a > d₀

has mean ≤ 1 at every n for a candidate whose answers disagree with a probability of at most d₀ given the past: each
factor's mean is 1 + (θ − d₀)(a − d₀)/(d₀(1 − d₀)). So P(ever E ≥ 1/α) ≤ α, however often it is looked at (Ville 1939;
Robbins 1970; Waudby-Smith & Ramdas 2023, "Estimating means of bounded random variables by betting").
"""

import math
from collections.abc import Iterable
from typing import Literal

import msgspec
import numpy as np

from argosy.monitoring.analysis.pairs import Joined
from argosy.monitoring.binary import TINY, Floats, interval
from argosy.serving.answers import Output, RecordedAnswer
from argosy.serving.counts import bucket
from argosy.spec.rollout import Shadow

ODDS = (1.5, 2.5, 4.0, 8.0, 20.0)
RATES = (0.25, 0.75)
WEIGHTS = (0.15, 0.2, 0.2, 0.15, 0.1, 0.1, 0.1)
"""Guesses of disagreement: the odds of d₀ multiplied, or a plain rate."""
OK = "ok"
COUNTS = ("compared", "disagreed", "candidate_failed", "stable_failed", "large")
EXAMPLES = 5
NOTHING = 1e-6
"""A magnitude below which numbers are compared as if they had it: 0 and 1e-12 are equal."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """One output of a pair: whether it agrees, and of its numbers the largest difference, the sum and the count."""

    agrees: bool
    largest: float = 0.0
    total: float = 0.0
    numbers: int = 0


class PerOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An output over all pairs. Differences are relative to the largest magnitude in a row of the answer."""

    compared: int = 0
    disagreed: int = 0
    largest: float = 0.0
    total: float = 0.0
    numbers: int = 0


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """All pairs of a shadow. `compared` of them had an answer of the stable revision to compare with; `disagreed` of
    those differ, or the candidate failed (`candidate_failed`). `stable_failed` pairs, where the stable revision did,
    are no reference; `large` ones were more than a replica keeps. `latency` counts (stable, candidate) of good pairs by
    `serving.counts.bucket`. `examples` are ids that disagree, each with the output or error; `silent` the seconds since
    the last compared pair.
    """

    compared: int = 0
    disagreed: int = 0
    candidate_failed: int = 0
    stable_failed: int = 0
    large: int = 0
    unmatched: tuple[int, int] = (0, 0)
    repeated: int = 0
    outputs: dict[str, PerOutput] = {}
    latency: tuple[dict[int, int], dict[int, int]] = ({}, {})
    examples: tuple[tuple[str, str], ...] = ()
    silent: float = 0.0

    @property
    def agreement(self) -> float:
        """The share that agrees; 1 before anything was compared."""
        return 1 - self.disagreed / self.compared if self.compared else 1.0


class AgreementVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What may happen now, and why."""

    verdict: Literal["hold", "advance", "pause", "rollback"]
    reason: str


def compare(stable: Output, candidate: Output, tolerance: float) -> Compared:
    """Labels (strings, booleans, integers) must be equal, other numbers within the tolerance; NaN equals NaN.

    The tolerance is relative to the largest magnitude in the row, so that a probability near 0 is held to its vector.
    """
    if (stable.name, stable.datatype, stable.shape) != (candidate.name, candidate.datatype, candidate.shape):
        return Compared(agrees=False)
    if not stable.datatype.startswith(("FP", "BF")):
        return Compared(agrees=stable.data == candidate.data)
    a, b = _rows(stable), _rows(candidate)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    finite = np.isfinite(a) & np.isfinite(b)
    scale = np.max(np.where(finite, np.maximum(np.abs(a), np.abs(b)), 0.0), axis=1, keepdims=True, initial=NOTHING)
    x, y = np.where(finite, a, 0.0) / scale, np.where(finite, b, 0.0) / scale
    apart = np.abs(x - y)
    return Compared(
        agrees=bool(np.all(same | (finite & (apart <= tolerance)))),
        largest=float(apart.max(initial=0.0)),
        total=float(apart.sum()),
        numbers=int(finite.sum()),
    )


def _rows(output: Output) -> Floats:
    """The numbers by rows; a vector is rows of one."""
    array = output.tensor().array
    if output.datatype == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    width = output.shape[-1] if len(output.shape) > 1 else 1
    return array.astype(np.float64).reshape(array.size // width if width else 0, width)


def tally(old: Tally, joined: Joined, tolerance: float, seconds: float) -> Tally:
    """One more look: `seconds` since the last."""
    new = _Adding(old)
    for stable, candidate in joined.pairs:
        new.pair(stable, candidate, tolerance)
    unmatched = (old.unmatched[0] + joined.unmatched[0], old.unmatched[1] + joined.unmatched[1])
    return msgspec.structs.replace(
        old,
        **new.counts,
        unmatched=unmatched,
        repeated=old.repeated + joined.repeated,
        outputs=new.outputs,
        latency=new.latency,
        examples=tuple(new.examples[-EXAMPLES:]),
        silent=0.0 if new.counts["compared"] > old.compared else old.silent + seconds,
    )


class _Adding:
    """Pairs on their way into a tally."""

    def __init__(self, old: Tally) -> None:
        self.counts = {name: getattr(old, name) for name in COUNTS}
        self.outputs, self.examples = dict(old.outputs), list(old.examples)
        self.latency = (dict(old.latency[0]), dict(old.latency[1]))

    def pair(self, stable: RecordedAnswer, candidate: RecordedAnswer, tolerance: float) -> None:
        if stable.code != OK:
            self.counts["stable_failed"] += 1
            return
        if candidate.code != OK:
            self.counts["candidate_failed"] += 1
        elif stable.outputs is None and candidate.outputs is None:
            self.counts["large"] += 1
            return
        else:
            for arm, each in zip(self.latency, (stable, candidate), strict=True):
                place = bucket(each.ns / 1e9)
                arm[place] = arm.get(place, 0) + 1
        self.counts["compared"] += 1
        if wrong := _differs(stable, candidate, tolerance, self.outputs):
            self.counts["disagreed"] += 1
            self.examples.append((stable.id[:64], wrong[:64]))


def _differs(stable: RecordedAnswer, candidate: RecordedAnswer, tolerance: float, outputs: dict[str, PerOutput]) -> str:
    """What differs, if anything: the first output that does, or the candidate's error. Counts every output."""
    if candidate.code != OK:
        return f"error: {candidate.code}"
    mine, theirs = stable.outputs or (), {each.name: each for each in candidate.outputs or ()}
    wrong = "" if theirs.keys() == {each.name for each in mine} else "other outputs"
    for each in mine:
        found = compare(each, theirs[each.name], tolerance) if each.name in theirs else Compared(agrees=False)
        old = outputs.get(each.name, PerOutput())
        outputs[each.name] = PerOutput(
            compared=old.compared + 1,
            disagreed=old.disagreed + (not found.agrees),
            largest=max(old.largest, found.largest),
            total=old.total + found.total,
            numbers=old.numbers + found.numbers,
        )
        wrong = wrong or ("" if found.agrees else f"output '{each.name}'")
    return wrong


def log_evidence(disagreed: int, compared: int, agreement: float) -> float:
    """ln E against the claim that at least this share agrees."""
    if disagreed and agreement >= 1:
        return math.inf
    d = min(max(1 - agreement, TINY), 1 - 1e-3)
    terms = [
        math.log(weight) + disagreed * math.log(a / d) + (compared - disagreed) * math.log((1 - a) / (1 - d))
        for weight, a in zip(WEIGHTS, _guesses(d), strict=True)
    ]
    top = max(terms)
    return top + math.log(sum(math.exp(term - top) for term in terms))


def _guesses(d: float) -> Iterable[float]:
    for factor in ODDS:
        odds = d / (1 - d) * factor
        yield odds / (1 + odds)
    for rate in RATES:
        yield max(rate, d + (1 - d) * rate / 4)


def judge(declared: Shadow, found: Tally, spent: float, alpha: float, patience: float) -> AgreementVerdict:
    """Whether a shadow has ended well (advance), has been shown to disagree (rollback), goes on or lacks data (pause).

    `spent`: seconds since it began; `alpha` bounds the chance that a candidate which agrees often enough is rolled
    back, over all looks.
    """
    text = f"{found.agreement:.2%} of {found.compared:,} answers agree"
    log_e = log_evidence(found.disagreed, found.compared, declared.agreement)
    if log_e >= math.log(1 / alpha):
        surely = f"surely fewer than {declared.agreement:.2%} (evidence {math.exp(min(log_e, 700)):,.0f} to 1)"
        return AgreementVerdict(verdict="rollback", reason=f"{text}, {surely}{_example(found)}")
    if found.silent >= patience:
        return AgreementVerdict(verdict="pause", reason=f"no data: no answers to compare for {found.silent:.0f} s")
    if found.compared < declared.requests:
        return AgreementVerdict(
            verdict="hold", reason=f"shadow: {found.compared:,} of {declared.requests:,} answers compared"
        )
    if spent < declared.seconds:
        return AgreementVerdict(verdict="hold", reason=f"shadow: {spent:.0f} of {declared.seconds:g} s")
    if found.agreement < declared.agreement:
        return AgreementVerdict(
            verdict="hold", reason=f"{text}, which is below {declared.agreement:.2%} but no proof yet"
        )
    low, high = interval(found.compared - found.disagreed, found.compared, alpha)
    return AgreementVerdict(verdict="advance", reason=f"{text} ({low:.2%} to {high:.2%})")


def _example(found: Tally) -> str:
    return f"; one that does not: {found.examples[-1][0]}, {found.examples[-1][1]}" if found.examples else ""
