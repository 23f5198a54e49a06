"""All evidence about one rollout: what is stored between observations, and how one more is added. Pure."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import msgspec
import numpy as np

from argosy.monitoring.analysis import errors, latency, predictions
from argosy.monitoring.eprocess import Floats, Number, mixture
from argosy.serving.counts import Counts
from argosy.spec.guard import LATENCY, LONGER, REFUSALS, SHORTER, TIMES, Guard, Metric
from argosy.telemetry.counters import add

BETS = (0.02, 0.06, 0.2, 0.5, 0.9)
WEIGHTS = np.full(5, 0.2)

ERRORS = "errors"
RATES = (ERRORS, REFUSALS)
SHARES = {ERRORS: 0.55, LATENCY: 0.2}
"""Of the evidence; what remains is shared by predictions and user metrics evenly. What a language model's answers are
compared by shares that of latency."""
MIXTURES = {
    **dict.fromkeys(RATES, errors.HARM_WEIGHTS),
    **dict.fromkeys((*TIMES, LONGER, SHORTER), latency.HARM_WEIGHTS),
    "output": predictions.WEIGHTS,
    "metric": WEIGHTS,
}
SAFE_MIXTURES = {
    **dict.fromkeys(RATES, np.ones(1)),
    **dict.fromkeys((*TIMES, LONGER, SHORTER), latency.SAFE_WEIGHTS),
}
"""Weights of the guesses of each family of tests."""


def bounded(logs: Number, d: Number, spread: float, tolerance: float = 0.0) -> Floats:
    """One more observation of a bounded metric. `d` (…) within ±spread; `logs` (…, bets)."""
    scaled = (np.asarray(d, float) - tolerance) / (spread + abs(tolerance))
    return logs + np.log1p(np.clip(scaled, -1.0, 1.0)[..., None] * np.array(BETS))


def unbounded(logs: Number, d: Number, square: Number, count: Number, tolerance: float = 0.0) -> Floats:
    """One more observation of an unbounded metric. `square` and `count`: sum of earlier d² and their number; the first
    one only sets the scale."""
    scale = np.sqrt(square / np.maximum(count, 1))
    moved = np.asarray(d, float) - tolerance
    x = np.minimum((moved / np.where(scale > 0, scale, 1.0))[..., None] * np.array(BETS), 1.0)
    step = x - x**2 / 2
    return logs + np.where((np.asarray(count) > 0)[..., None] & (scale > 0)[..., None], step, 0.0)


class GuardObservation(msgspec.Struct, frozen=True, kw_only=True):
    """`seconds` since the last observation, what both revisions did meanwhile, and the user metrics that arrived, as
    (candidate, stable); None or NaN is no data. `troubles` says of a metric that did not arrive why, where that is
    known."""

    seconds: float
    candidate: Counts = Counts()
    stable: Counts = Counts()
    metrics: dict[str, tuple[float | None, float | None]] = {}
    troubles: dict[str, str] = {}

    def pair(self, metric: Metric) -> tuple[float, float] | None:
        """The numbers of a metric, if both came and are finite."""
        candidate, stable = self.metrics.get(metric.name, (None, None))
        if candidate is None or stable is None or not (math.isfinite(candidate) and math.isfinite(stable)):
            return None
        return candidate, stable


class Pair(msgspec.Struct, frozen=True):
    """Running sums of a user metric: observations, Σ candidate, Σ stable, Σ (difference)²."""

    looks: int = 0
    candidate: float = 0.0
    stable: float = 0.0
    square: float = 0.0


class GuardState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the guard. Plain data: it is stored with the rollout and outlives a crash.

    `past` is all the stable did, before the rollout too; `candidate` and `stable` since it began; `waiting` is a block
    in which one of them has no request, or nothing of `timed` or `outputs`, yet. `logs` has ln E of every guess by
    test, `silent` the seconds since requests or a metric last came, `proven` the tests of no harm that have been
    passed, `alarm` why it was rolled back.
    """

    past: Counts = Counts()
    candidate: Counts = Counts()
    stable: Counts = Counts()
    waiting: tuple[Counts, Counts] = (Counts(), Counts())
    logs: dict[str, tuple[float, ...]] = {}
    outputs: tuple[str, ...] = ()
    timed: tuple[str, ...] = (LATENCY,)
    pairs: dict[str, Pair] = {}
    silent: dict[str, float] = {}
    proven: tuple[str, ...] = ()
    alarm: str = ""


def start(
    outputs: tuple[str, ...] = (),
    history: Counts = Counts(),  # noqa: B008
    timed: tuple[str, ...] = (LATENCY,),
) -> GuardState:
    """A rollout's first state. `outputs` are the predictions to compare, `timed` the times and what else answers of a
    language model have; `history` is what the stable did before: it makes the first guesses good, and can make no false
    alarm."""
    return GuardState(past=history, outputs=tuple(sorted(set(outputs))), timed=timed)


def absorb(guard: Guard, observed: GuardObservation, state: GuardState) -> GuardState:
    """One more observation. A block waits until both revisions have requests, as one alone tells nothing."""
    candidate, stable = add((state.waiting[0], observed.candidate)), add((state.waiting[1], observed.stable))
    block = _Block(guard, state, candidate, stable, dict(state.logs))
    pairs = block.metrics(observed)
    whole = candidate.requests > 0 and stable.requests > 0
    early = [name for name in candidate.times | stable.times if not (candidate.timed(name) and stable.timed(name))]
    early += [
        name
        for name in candidate.outputs | stable.outputs
        if not (candidate.outputs.get(name) and stable.outputs.get(name))
    ]
    if whole:
        block.rate(ERRORS, guard.margin, guard.error_tolerance)
        for name in state.timed:
            if not (candidate.timed(name) and stable.timed(name)):
                continue
            if name == REFUSALS:
                block.rate(name, guard.refusal_margin, guard.refusal_margin)
            else:
                block.time(name)
        for name in state.outputs:
            block.output(name)
    came = {"requests": observed.candidate.requests > 0} | {m.name: observed.pair(m) is not None for m in guard.metrics}
    silent = {name: 0.0 if yes else state.silent.get(name, 0.0) + observed.seconds for name, yes in came.items()}
    return msgspec.structs.replace(
        state,
        past=add((state.past, _split(stable, early)[0])) if whole else state.past,
        candidate=add((state.candidate, observed.candidate)),
        stable=add((state.stable, observed.stable)),
        waiting=(_split(candidate, early)[1], _split(stable, early)[1]) if whole else (candidate, stable),
        logs=block.logs,
        pairs=pairs,
        silent=silent,
    )


def _split(counts: Counts, early: Collection[str]) -> tuple[Counts, Counts]:
    """Without the times and outputs that only one revision has, and these alone: streams are counted when they end."""
    times = {name: each for name, each in counts.times.items() if name in early}
    outputs = {name: each for name, each in counts.outputs.items() if name in early}
    rest = msgspec.structs.replace(
        counts,
        times={name: each for name, each in counts.times.items() if name not in early},
        outputs={name: each for name, each in counts.outputs.items() if name not in early},
    )
    return rest, Counts(times=times, outputs=outputs)


def rated(counts: Counts, name: str) -> tuple[int, int]:
    """How many requests, and how many of them are bad: ERRORS or REFUSALS."""
    if name == ERRORS:
        return counts.requests, counts.errors
    found = counts.timed(name)
    return sum(found.values()), found.get(1, 0)


@dataclass
class _Block:
    """Counts of both revisions that are added to the logs of the tests."""

    guard: Guard
    state: GuardState
    candidate: Counts
    stable: Counts
    logs: dict[str, tuple[float, ...]]

    def old(self, name: str, weights: Floats) -> Floats:
        return np.array(self.logs.get(name) or (0.0,) * len(weights))

    def rate(self, name: str, margin: float, tolerance: float) -> None:
        state, was = self.state, rated(self.state.past, name)
        rate = errors.stable_rate(was[1], was[0])
        counts = (*rated(self.candidate, name), *rated(self.stable, name))
        harm = errors.harm(self.old(name, errors.HARM_WEIGHTS), rate, *counts, tolerance)
        both = zip((state.candidate, state.stable), state.waiting, strict=True)
        before = errors.paired(*(rated(all_of, name)[0] - rated(late, name)[0] for all_of, late in both))
        proof = f"{name}:safe"
        safe = errors.safe(self.old(proof, np.ones(1)), rate, before, *counts, margin, self.guard.alpha)
        self.logs |= {name: tuple(harm.tolist()), proof: tuple(safe.tolist())}

    def time(self, time: str) -> None:
        past, guard = self.state.past.timed(time), self.guard
        dense = latency.falling if time == SHORTER else latency.dense
        before = dense(past)
        if before.sum() < latency.WARM_UP:
            return
        c, s = dense(self.candidate.timed(time)), dense(self.stable.timed(time))
        shift = latency.factor_buckets(guard.tolerated(time))
        moved = dense(past, shift)
        at = latency.cuts(moved)
        g = latency.slopes(latency.cells(moved, at))
        both = (latency.cells(c, at), latency.cells(dense(self.stable.timed(time), shift), at))
        self.logs[time] = tuple(latency.harm(self.old(time, latency.HARM_WEIGHTS), g, *both).tolist())
        margin = latency.factor_buckets(guard.factor(time))
        for q in guard.latency_quantiles:
            name = f"{time}:safe:{q:g}"
            safe = latency.safe(self.old(name, latency.SAFE_WEIGHTS), before, q, margin, c, s)
            self.logs[name] = tuple(safe.tolist())

    def output(self, name: str) -> None:
        old_c = self.state.candidate.outputs.get(name, {})
        old_s = self.state.past.outputs.get(name, {})
        if sum(old_s.values()) < latency.WARM_UP:
            return
        known = sorted(old_c.keys() | old_s.keys())
        p, q = predictions.guesses(vector(old_c, known), vector(old_s, known))
        c, s = (vector(each.outputs.get(name, {}), known) for each in (self.candidate, self.stable))
        logs = self.old(f"output:{name}", predictions.WEIGHTS)
        logs = predictions.differ(logs, p, q, c, s, self.guard.prediction_tolerance)
        self.logs[f"output:{name}"] = tuple(logs.tolist())

    def metrics(self, observed: GuardObservation) -> dict[str, Pair]:
        pairs = dict(self.state.pairs)
        for m in self.guard.metrics:
            if (pair := observed.pair(m)) is None:
                continue
            old = pairs.get(m.name, Pair())
            d = (pair[0] - pair[1]) * (1 if m.worse == "higher" else -1)
            logs = self.old(f"metric:{m.name}", WEIGHTS)
            if m.spread is not None:
                logs = bounded(logs, d, m.spread, m.tolerance)
            else:
                logs = unbounded(logs, d, old.square, old.looks, m.tolerance)
            self.logs[f"metric:{m.name}"] = tuple(logs.tolist())
            pairs[m.name] = Pair(old.looks + 1, old.candidate + pair[0], old.stable + pair[1], old.square + d * d)
        return pairs


def vector(counts: dict[str, int], known: list[str]) -> Floats:
    """Counts of the categories known before the block, and of all others together."""
    named = [counts.get(key, 0) for key in known]
    return np.array([*named, sum(counts.values()) - sum(named)], float)


def weights(guard: Guard, state: GuardState) -> dict[str, float]:
    """Each test's share of the evidence, fixed for the rollout; they sum to 1."""
    others = [f"output:{name}" for name in state.outputs] + [f"metric:{m.name}" for m in guard.metrics]
    shares = {ERRORS: SHARES[ERRORS]} | {name: SHARES[LATENCY] / len(state.timed) for name in state.timed}
    if not others:
        total = sum(SHARES.values())
        return {name: share / total for name, share in shares.items()}
    return shares | {name: (1 - sum(SHARES.values())) / len(others) for name in others}


def log_evidence(name: str, state: GuardState) -> float:
    """ln E of one test by its name in `logs`; 0 before its first block."""
    if name not in state.logs:
        return 0.0
    family, _, rest = name.partition(":")
    mixtures = SAFE_MIXTURES if rest and family in SAFE_MIXTURES else MIXTURES
    return float(mixture(state.logs[name], mixtures[family]))


def total(guard: Guard, state: GuardState) -> float:
    """ln of the weighted average of all tests' E.

    An average of e-processes is one under the null that all of them share ("harmless in every respect"), however they
    depend on each other: so P(ever ≥ 1/α) ≤ α for all metrics and observations together. It is never below the largest
    weight·E, so no worse than splitting α.
    """
    shares = weights(guard, state)
    return float(mixture([log_evidence(name, state) for name in shares], np.array([*shares.values()])))
