"""What is known of each metric: estimates of both arms, an interval, the evidence, one line of words."""

import math

import msgspec

from argosy.monitoring.analysis import latency, predictions
from argosy.monitoring.analysis.evidence import ERRORS, LATENCY, GuardState, Pair, log_evidence, vector, weights
from argosy.monitoring.binary import interval
from argosy.serving.counts import Counts
from argosy.spec.guard import Guard


class MetricFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One metric. `low` and `high` bound the candidate's value at level α over all looks, where there are such.

    Errors are rates, latency seconds at the last declared quantile, outputs the distance (0 to 1) in `candidate`.
    """

    metric: str
    candidate: float
    stable: float
    low: float | None = None
    high: float | None = None
    log_e: float = 0.0
    text: str = ""


def rate(counts: Counts) -> float:
    """Errors by requests; 0 without requests."""
    return counts.errors / counts.requests if counts.requests else 0.0


def name_of(metric: str) -> str:
    """A test's name as a user says it."""
    family, _, name = metric.partition(":")
    return {"output": f"predictions of '{name}'", "metric": f"metric '{name}'"}.get(family, family)


def findings(guard: Guard, state: GuardState) -> tuple[MetricFinding, ...]:
    """Every metric of the rollout, in the order of their weights."""
    found: list[MetricFinding] = []
    for name in weights(guard, state):
        family, _, rest = name.partition(":")
        if family == ERRORS:
            finding = _errors(guard, state)
        elif family == LATENCY:
            finding = _latency(guard, state)
        elif family == "output":
            finding = _output(rest, state)
        else:
            finding = _metric(rest, state.pairs.get(rest, Pair()))
        found.append(msgspec.structs.replace(finding, log_e=log_evidence(name, state)))
    return tuple(found)


def _errors(guard: Guard, state: GuardState) -> MetricFinding:
    candidate, stable = state.candidate, state.stable
    low, high = interval(candidate.errors, candidate.requests, guard.alpha)
    text = f"{rate(candidate):.2%} of {candidate.requests:,} requests ({low:.2%} to {high:.2%}), "
    text += f"stable {rate(stable):.2%} of {stable.requests:,}"
    return MetricFinding(metric=ERRORS, candidate=rate(candidate), stable=rate(stable), low=low, high=high, text=text)


def _latency(guard: Guard, state: GuardState) -> MetricFinding:
    q = guard.latency_quantiles[-1] if guard.latency_quantiles else 0.95
    c, s = latency.dense(state.candidate.latency), latency.dense(state.stable.latency)
    if not c.sum() or not s.sum():
        return MetricFinding(metric=LATENCY, candidate=math.nan, stable=math.nan, text="no latencies yet")
    low, high = latency.quantile_interval(c, q, guard.alpha)
    mine, theirs = latency.quantile(c, q), latency.quantile(s, q)
    text = f"p{q * 100:g} {mine:.3g} s ({low:.3g} to {high:.3g}), stable {theirs:.3g} s; "
    text += f"mean × {latency.mean(c) / latency.mean(s):.2f}"
    return MetricFinding(metric=LATENCY, candidate=mine, stable=theirs, low=low, high=high, text=text)


def _output(name: str, state: GuardState) -> MetricFinding:
    mine, theirs = state.candidate.outputs.get(name, {}), state.stable.outputs.get(name, {})
    known = sorted(mine.keys() | theirs.keys())
    distance = predictions.distance(vector(mine, known), vector(theirs, known))
    text = f"{distance:.1%} of the answers are distributed otherwise than the stable's" if known else "no answers yet"
    return MetricFinding(metric=f"output:{name}", candidate=distance, stable=0.0, text=text)


def _metric(name: str, pair: Pair) -> MetricFinding:
    looks = max(pair.looks, 1)
    mine, theirs = pair.candidate / looks, pair.stable / looks
    text = (
        f"{mine:.4g} against the stable's {theirs:.4g}, over {pair.looks:,} looks" if pair.looks else "no numbers yet"
    )
    return MetricFinding(metric=f"metric:{name}", candidate=mine, stable=theirs, text=text)
