"""Does a shadow answer as the stable revision does? Answers are paired, compared and counted; the count decides. Pure.

With d₀ = 1 − the agreement that was declared, and k of n compared pairs that disagree,

    E = Σ w·(a/d₀)^k·((1 − a)/(1 − d₀))^(n − k)    over guesses a > d₀

has mean ≤ 1 at every n for a candidate whose answers disagree with a probability of at most d₀ given the past: each
factor's mean is 1 + (θ − d₀)(a − d₀)/(d₀(1 − d₀)). So P(ever E ≥ 1/α) ≤ α (Ville 1939; Robbins 1970; Waudby-Smith &
Ramdas 2023, "Estimating means of bounded random variables by betting").
"""

import math
from collections.abc import Iterable

import msgspec
import numpy as np

from argosy.monitoring.eprocess import TINY, Floats, interval, mixture
from argosy.serving.answers import Output, RecordedAnswer
from argosy.serving.counts import bucket
from argosy.spec.guard import Advice
from argosy.spec.rollout import Shadow
from argosy.spec.tensor import bf16_to_fp32

MOST = 10_000
"""Answers of each revision that may wait for their other half."""
MOST_BYTES = 64 * 1024 * 1024
"""Their size together."""
PATIENCE = 30.0
"""Seconds for which an answer waits for its other half, and for which a matched id is remembered."""

ODDS = (1.5, 2.5, 4.0, 8.0, 20.0)
RATES = (0.25, 0.75)
WEIGHTS = (0.15, 0.2, 0.2, 0.15, 0.1, 0.1, 0.1)
"""Guesses of disagreement: the odds of d₀ multiplied, or a plain rate."""
OK = "ok"
EXAMPLES = 5
NOTHING = 1e-6
"""A magnitude below which numbers are compared as if they had it: 0 and 1e-12 are equal."""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of the stable revision and of the candidate that lack the other's, each with the time it came, the oldest
    first; and when each id was matched or repeated."""

    stable: dict[str, tuple[float, RecordedAnswer]] = {}
    candidate: dict[str, tuple[float, RecordedAnswer]] = {}
    done: dict[str, float] = {}


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """New pairs (stable, candidate); how many answers of each revision were given up as having no other half; how many
    had an id that was there before, so that they match nothing."""

    pairs: tuple[tuple[RecordedAnswer, RecordedAnswer], ...] = ()
    unmatched: tuple[int, int] = (0, 0)
    repeated: int = 0


def join(
    waiting: Waiting, stable: Iterable[RecordedAnswer], candidate: Iterable[RecordedAnswer], now: float
) -> tuple[Joined, Waiting]:
    """Pair new answers with those that wait. An id that one revision answers twice (a retry, a caller's own) pairs
    nothing.

    Memory is bounded by MOST, MOST_BYTES and PATIENCE: what does not fit is given up, the oldest first.
    """
    done = {id: since for id, since in waiting.done.items() if now - since < PATIENCE}
    sides = (dict(waiting.stable), dict(waiting.candidate))
    repeated = 0
    for side, came in zip(sides, (stable, candidate), strict=True):
        for each in came:
            if each.id in done or each.id in side:
                repeated += 1 + (side.pop(each.id, None) is not None)
                done[each.id] = now
            else:
                side[each.id] = (now, each)
    both = [id for id in sides[0] if id in sides[1]]
    pairs = tuple((sides[0].pop(id)[1], sides[1].pop(id)[1]) for id in both)
    done |= dict.fromkeys(both, now)
    unmatched = (_expire(sides[0], now), _expire(sides[1], now))
    joined = Joined(pairs=pairs, unmatched=unmatched, repeated=repeated)
    return joined, Waiting(stable=sides[0], candidate=sides[1], done=dict(list(done.items())[-MOST:]))


def _expire(side: dict[str, tuple[float, RecordedAnswer]], now: float) -> int:
    """Drop the oldest until all is young, few and small enough. How many."""
    size, lost = sum(each.size for _, each in side.values()), 0
    while side:
        oldest = next(iter(side))
        since, answer = side[oldest]
        if now - since < PATIENCE and len(side) <= MOST and size <= MOST_BYTES:
            break
        size -= answer.size
        del side[oldest]
        lost += 1
    return lost


class PerOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An output over all pairs: of its numbers the largest difference, their sum and count. Differences are relative to
    the largest magnitude in a row of the answer."""

    compared: int = 0
    disagreed: int = 0
    largest: float = 0.0
    total: float = 0.0
    numbers: int = 0

    def __add__(self, other: "PerOutput") -> "PerOutput":
        return PerOutput(
            compared=self.compared + other.compared,
            disagreed=self.disagreed + other.disagreed,
            largest=max(self.largest, other.largest),
            total=self.total + other.total,
            numbers=self.numbers + other.numbers,
        )


DIFFERENT = PerOutput(compared=1, disagreed=1)


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """All pairs of a shadow. `compared` of them had an answer of the stable revision to compare with; `disagreed` of
    those differ, or the candidate failed (`candidate_failed`). `stable_failed` pairs, where the stable revision did,
    are no reference; `large` ones were more than a replica stores. `latency` counts (stable, candidate) of good pairs
    by `serving.counts.bucket`. `examples` are ids that disagree, each with the output or error; `silent` the seconds
    since the last compared pair.
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


def compare(stable: Output, candidate: Output, tolerance: float) -> PerOutput:
    """Labels (strings, booleans, integers) must be equal, other numbers within the tolerance; NaN equals NaN.

    The tolerance is relative to the largest magnitude in the row: for a probability near 0, of its vector.
    """
    if (stable.name, stable.datatype, stable.shape) != (candidate.name, candidate.datatype, candidate.shape):
        return DIFFERENT
    if not stable.datatype.startswith(("FP", "BF")):
        return PerOutput(compared=1, disagreed=int(stable.data != candidate.data))
    a, b = _rows(stable), _rows(candidate)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    finite = np.isfinite(a) & np.isfinite(b)
    scale = np.max(np.where(finite, np.maximum(np.abs(a), np.abs(b)), 0.0), axis=1, keepdims=True, initial=NOTHING)
    x, y = np.where(finite, a, 0.0) / scale, np.where(finite, b, 0.0) / scale
    apart = np.abs(x - y)
    return PerOutput(
        compared=1,
        disagreed=int(not np.all(same | (finite & (apart <= tolerance)))),
        largest=float(apart.max(initial=0.0)),
        total=float(apart.sum()),
        numbers=int(finite.sum()),
    )


def _rows(output: Output) -> Floats:
    """The numbers by rows; a vector is rows of one."""
    array = output.tensor().array
    if output.datatype == "BF16":
        array = bf16_to_fp32(array)
    width = output.shape[-1] if len(output.shape) > 1 else 1
    return array.astype(np.float64).reshape(array.size // width if width else 0, width)


def tally(old: Tally, joined: Joined, tolerance: float, seconds: float) -> Tally:
    """Add the pairs that came in so many `seconds`."""
    outputs, examples = dict(old.outputs), list(old.examples)
    latency = (dict(old.latency[0]), dict(old.latency[1]))
    compared = disagreed = candidate_failed = stable_failed = large = 0
    for stable, candidate in joined.pairs:
        if stable.code != OK:
            stable_failed += 1
            continue
        if candidate.code != OK:
            candidate_failed += 1
        elif stable.outputs is None and candidate.outputs is None:
            large += 1
            continue
        else:
            for counts, each in zip(latency, (stable, candidate), strict=True):
                place = bucket(each.ns / 1e9)
                counts[place] = counts.get(place, 0) + 1
        compared += 1
        if wrong := _difference(stable, candidate, tolerance, outputs):
            disagreed += 1
            examples.append((stable.id[:64], wrong[:64]))
    return Tally(
        compared=old.compared + compared,
        disagreed=old.disagreed + disagreed,
        candidate_failed=old.candidate_failed + candidate_failed,
        stable_failed=old.stable_failed + stable_failed,
        large=old.large + large,
        unmatched=(old.unmatched[0] + joined.unmatched[0], old.unmatched[1] + joined.unmatched[1]),
        repeated=old.repeated + joined.repeated,
        outputs=outputs,
        latency=latency,
        examples=tuple(examples[-EXAMPLES:]),
        silent=0.0 if compared else old.silent + seconds,
    )


def _difference(
    stable: RecordedAnswer, candidate: RecordedAnswer, tolerance: float, outputs: dict[str, PerOutput]
) -> str:
    """The first output that differs, or the candidate's error; empty if none. Counts every output."""
    if candidate.code != OK:
        return f"error: {candidate.code}"
    mine, theirs = stable.outputs or (), {each.name: each for each in candidate.outputs or ()}
    wrong = "" if theirs.keys() == {each.name for each in mine} else "other outputs"
    for each in mine:
        found = compare(each, theirs[each.name], tolerance) if each.name in theirs else DIFFERENT
        outputs[each.name] = outputs.get(each.name, PerOutput()) + found
        wrong = wrong or (f"output '{each.name}'" if found.disagreed else "")
    return wrong


def log_evidence(disagreed: int, compared: int, agreement: float) -> float:
    """ln E against the claim that at least this share agrees."""
    if disagreed and agreement >= 1:
        return math.inf
    d = min(max(1 - agreement, TINY), 1 - 1e-3)
    odds = [d / (1 - d) * factor for factor in ODDS]
    guesses = [*(each / (1 + each) for each in odds), *(max(rate, d + (1 - d) * rate / 4) for rate in RATES)]
    logs = [disagreed * math.log(a / d) + (compared - disagreed) * math.log((1 - a) / (1 - d)) for a in guesses]
    return float(mixture(logs, WEIGHTS))


def decide(declared: Shadow, found: Tally, spent: float, alpha: float, patience: float) -> Advice:
    """Whether a shadow has ended well (advance), has been shown to disagree (rollback), goes on or lacks data (pause).

    `spent`: seconds since it began; `alpha` bounds the chance that a candidate which agrees often enough is rolled
    back at any time.
    """
    text = f"{found.agreement:.2%} of {found.compared:,} answers agree"
    log_e = log_evidence(found.disagreed, found.compared, declared.agreement)
    if log_e >= math.log(1 / alpha):
        surely = f"surely fewer than {declared.agreement:.2%} (evidence {math.exp(min(log_e, 700)):,.0f} to 1)"
        example = f"; one that does not: {', '.join(found.examples[-1])}" if found.examples else ""
        return Advice(verdict="rollback", reason=f"{text}, {surely}{example}")
    if found.silent >= patience:
        return Advice(verdict="pause", reason=f"no data: no answers to compare for {found.silent:.0f} s")
    if found.compared < declared.requests:
        return Advice(verdict="hold", reason=f"shadow: {found.compared:,} of {declared.requests:,} answers compared")
    if spent < declared.seconds:
        return Advice(verdict="hold", reason=f"shadow: {spent:.0f} of {declared.seconds:g} s")
    if found.agreement < declared.agreement:
        return Advice(verdict="hold", reason=f"{text}, which is below {declared.agreement:.2%} but no proof yet")
    low, high = interval(found.compared - found.disagreed, found.compared, alpha)
    return Advice(verdict="advance", reason=f"{text} ({low:.2%} to {high:.2%})")
