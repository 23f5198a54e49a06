"""All evidence about one rollout: what is kept between looks, and how one more look is folded in. Pure."""

import math
from dataclasses import dataclass
from operator import itemgetter

import msgspec
import numpy as np

from argosy.monitoring.analysis import errors, latency, predictions
from argosy.monitoring.binary import Floats, Number, mix
from argosy.serving.counts import Counts
from argosy.spec.guard import Guard, Metric
from argosy.telemetry.counters import add

BETS = (0.02, 0.06, 0.2, 0.5, 0.9)
WEIGHTS = np.full(5, 0.2)


def bounded(logs: Number, d: Number, spread: float, tolerance: float = 0.0) -> Floats:
    """One more look at a bounded metric. `d` (…) within ±spread; `logs` (…, bets)."""
    scaled = (np.asarray(d, float) - tolerance) / (spread + abs(tolerance))
    return logs + np.log1p(np.clip(scaled, -1.0, 1.0)[..., None] * np.array(BETS))


def unbounded(logs: Number, d: Number, square: Number, looks: Number, tolerance: float = 0.0) -> Floats:
    """One more look at an unbounded metric. `square` and `looks`: sum of past d² and their number; the first look only
    sets the scale."""
    scale = np.sqrt(square / np.maximum(looks, 1))
    moved = np.asarray(d, float) - tolerance
    x = np.minimum((moved / np.where(scale > 0, scale, 1.0))[..., None] * np.array(BETS), 1.0)
    step = x - x**2 / 2
    return logs + np.where((np.asarray(looks) > 0)[..., None] & (scale > 0)[..., None], step, 0.0)


def evidence(logs: Number) -> Floats:
    """ln E of the mixture over bets."""
    return mix(logs, WEIGHTS)


ERRORS, LATENCY = "errors", "latency"
SHARES = {ERRORS: 0.55, LATENCY: 0.2}
"""Of the evidence; what remains is shared by predictions and user metrics evenly."""


class GuardObservation(msgspec.Struct, frozen=True, kw_only=True):
    """One look: seconds since the last, what both arms did meanwhile (`arm.tick`), and the user metrics that arrived,
    as (candidate, stable); None or NaN is no data. `troubles` says of a metric that did not arrive why, where that is
    known."""

    seconds: float
    candidate: Counts = Counts()
    stable: Counts = Counts()
    metrics: dict[str, tuple[float | None, float | None]] = {}
    troubles: dict[str, str] = {}


class Pair(msgspec.Struct, frozen=True):
    """Running sums of a user metric: looks, Σ candidate, Σ stable, Σ (difference)²."""

    looks: int = 0
    candidate: float = 0.0
    stable: float = 0.0
    square: float = 0.0


class GuardState(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard remembers. Plain data: it is stored with the rollout and goes on after a crash.

    `past` is all the stable did, before the rollout too; `candidate` and `stable` since it began; `waiting` is a block
    that lacks one arm yet. `logs` holds ln E of every guess by test, `silent` the seconds since requests or a metric
    last came, `proven` the tests of no harm that have been passed, `alarm` why it was rolled back.
    """

    past: Counts = Counts()
    candidate: Counts = Counts()
    stable: Counts = Counts()
    waiting: tuple[Counts, Counts] = (Counts(), Counts())
    logs: dict[str, tuple[float, ...]] = {}
    outputs: tuple[str, ...] = ()
    pairs: dict[str, Pair] = {}
    silent: dict[str, float] = {}
    proven: tuple[str, ...] = ()
    alarm: str = ""


@dataclass
class _Fold:
    """One block on its way into the logs."""

    guard: Guard
    state: GuardState
    candidate: Counts
    stable: Counts
    logs: dict[str, tuple[float, ...]]

    def keep(self, name: str, logs: Floats) -> None:
        self.logs[name] = tuple(logs.tolist())

    def old(self, name: str, size: int) -> Floats:
        return np.array(self.logs.get(name) or (0.0,) * size)


def start(outputs: tuple[str, ...] = (), history: Counts = Counts()) -> GuardState:  # noqa: B008
    """A rollout's first state. `outputs` are the predictions to judge; `history` what the stable did before: it makes
    the first guesses good, and can make no false alarm."""
    return GuardState(past=history, outputs=tuple(sorted(set(outputs))))


def absorb(guard: Guard, seen: GuardObservation, state: GuardState) -> GuardState:
    """One more look. A block waits until both arms have requests, as one arm alone tells nothing."""
    block = (add((state.waiting[0], seen.candidate)), add((state.waiting[1], seen.stable)))
    fold = _Fold(guard, state, *block, dict(state.logs))
    pairs = _metrics(fold, seen)
    whole = block[0].requests > 0 and block[1].requests > 0
    if whole:
        _errors(fold)
        _latency(fold)
        for name in state.outputs:
            _output(fold, name)
    return msgspec.structs.replace(
        state,
        past=add((state.past, block[1])) if whole else state.past,
        candidate=add((state.candidate, seen.candidate)),
        stable=add((state.stable, seen.stable)),
        waiting=(Counts(), Counts()) if whole else block,
        logs=fold.logs,
        pairs=pairs,
        silent=_silence(guard, seen, state),
    )


def _silence(guard: Guard, seen: GuardObservation, state: GuardState) -> dict[str, float]:
    came = {"requests": seen.candidate.requests > 0}
    came |= {m.name: _pair(seen, m) is not None for m in guard.metrics}
    return {name: 0.0 if yes else state.silent.get(name, 0.0) + seen.seconds for name, yes in came.items()}


def _errors(fold: _Fold) -> None:
    c, s, past = fold.candidate, fold.stable, fold.state.past
    rate = errors.stable_rate(past.errors, past.requests)
    counts = (c.requests, c.errors, s.requests, s.errors)
    harm = fold.old(ERRORS, len(errors.HARM_WEIGHTS))
    fold.keep(ERRORS, errors.harm(harm, rate, *counts, fold.guard.error_tolerance))
    safe = fold.old(f"{ERRORS}:safe", 1)
    waited, state = fold.state.waiting, fold.state
    before = errors.paired(state.candidate.requests - waited[0].requests, state.stable.requests - waited[1].requests)
    fold.keep(f"{ERRORS}:safe", errors.safe(safe, rate, before, *counts, fold.guard.margin, fold.guard.alpha))


def _latency(fold: _Fold) -> None:
    before = latency.dense(fold.state.past.latency)
    if before.sum() < latency.WARM_UP:
        return
    c, s = latency.dense(fold.candidate.latency), latency.dense(fold.stable.latency)
    shift = latency.factor_buckets(fold.guard.latency_tolerance)
    moved = latency.dense(fold.state.past.latency, shift)
    at = latency.cuts(moved)
    g = latency.slopes(latency.cells(moved, at))
    arms = (latency.cells(c, at), latency.cells(latency.dense(fold.stable.latency, shift), at))
    fold.keep(LATENCY, latency.harm(fold.old(LATENCY, len(latency.HARM_WEIGHTS)), g, *arms))
    margin = latency.factor_buckets(fold.guard.latency_margin)
    for q in fold.guard.latency_quantiles:
        name = f"{LATENCY}:safe:{q:g}"
        fold.keep(name, latency.safe(fold.old(name, len(latency.SAFE_WEIGHTS)), before, q, margin, c, s))


def _output(fold: _Fold, name: str) -> None:
    old_c = fold.state.candidate.outputs.get(name, {})
    old_s = fold.state.past.outputs.get(name, {})
    if sum(old_s.values()) < latency.WARM_UP:
        return
    known = sorted(old_c.keys() | old_s.keys())
    p, q = predictions.guesses(vector(old_c, known), vector(old_s, known))
    c, s = (vector(arm.outputs.get(name, {}), known) for arm in (fold.candidate, fold.stable))
    key = f"output:{name}"
    logs = fold.old(key, len(predictions.WEIGHTS))
    fold.keep(key, predictions.differ(logs, p, q, c, s, fold.guard.prediction_tolerance))


def vector(counts: dict[str, int], known: list[str]) -> Floats:
    """Counts of the categories known before the block, and of all others together."""
    named = [counts.get(key, 0) for key in known]
    return np.array([*named, sum(counts.values()) - sum(named)], float)


def _metrics(fold: _Fold, seen: GuardObservation) -> dict[str, Pair]:
    pairs = dict(fold.state.pairs)
    for m in fold.guard.metrics:
        pair = _pair(seen, m)
        if pair is None:
            continue
        old = pairs.get(m.name, Pair())
        d = (pair[0] - pair[1]) * (1 if m.worse == "higher" else -1)
        logs = fold.old(f"metric:{m.name}", len(WEIGHTS))
        if m.spread is not None:
            logs = bounded(logs, d, m.spread, m.tolerance)
        else:
            logs = unbounded(logs, d, old.square, old.looks, m.tolerance)
        fold.keep(f"metric:{m.name}", logs)
        pairs[m.name] = Pair(old.looks + 1, old.candidate + pair[0], old.stable + pair[1], old.square + d * d)
    return pairs


def _pair(seen: GuardObservation, m: Metric) -> tuple[float, float] | None:
    candidate, stable = seen.metrics.get(m.name, (None, None))
    if candidate is None or stable is None or not (math.isfinite(candidate) and math.isfinite(stable)):
        return None
    return candidate, stable


def weights(guard: Guard, state: GuardState) -> dict[str, float]:
    """Each test's share of the evidence, fixed for the rollout; they sum to 1."""
    others = [f"output:{name}" for name in state.outputs] + [f"metric:{m.name}" for m in guard.metrics]
    if not others:
        total = sum(SHARES.values())
        return {name: share / total for name, share in SHARES.items()}
    return SHARES | {name: (1 - sum(SHARES.values())) / len(others) for name in others}


def log_evidence(name: str, state: GuardState) -> float:
    """ln E of one test by its name in `logs`; 0 while it has seen nothing."""
    logs = state.logs.get(name)
    if logs is None:
        return 0.0
    family, _, rest = name.partition(":")
    mixtures = {
        ERRORS: itemgetter(0) if rest else errors.harm_evidence,
        LATENCY: latency.safe_evidence if rest else latency.harm_evidence,
        "output": predictions.evidence,
        "metric": evidence,
    }
    return float(mixtures[family](np.array(logs)))


def total(guard: Guard, state: GuardState) -> float:
    """ln of the weighted average of all tests' E.

    An average of e-processes is one under the null that all of them share ("harmless in every respect"), however they
    depend on each other: so P(ever ≥ 1/α) ≤ α for all metrics and looks together (Ville; Vovk & Wang 2021, "E-values:
    calibration, combination and applications"). It is never below the largest weight·E, so no worse than splitting α.
    """
    shares = weights(guard, state)
    terms = [math.log(share) + log_evidence(name, state) for name, share in shares.items()]
    top = max(terms)
    return top + math.log(sum(math.exp(term - top) for term in terms))
