"""The guard of a rollout: (observation, state) → (decision, state). Pure; the controller acts on it.

In this order: a fixed threshold crossed or evidence of harm ≥ 1/α rolls back; no requests yet holds; candidate or a
metric silent for longer than `patience` pauses; every proof of no harm there and nothing missing allows to advance;
otherwise it holds. Absence of an alarm never advances.

Proofs are tested each at level α: letting a candidate through needs all of them, so one that is past any margin gets
through with probability ≤ α (intersection–union; Berger 1982). What a candidate has proven it keeps, but it advances
only while its error rate so far is within the margin as well.
"""

import math
from typing import Literal

import msgspec

from argosy.monitoring.analysis import evidence, latency
from argosy.monitoring.analysis.evidence import ERRORS, LATENCY, GuardObservation, GuardState
from argosy.monitoring.analysis.findings import MetricFinding, findings, name_of, rate
from argosy.serving.counts import Counts
from argosy.spec.guard import Guard, Threshold

Verdict = Literal["hold", "advance", "pause", "rollback"]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What may happen now and why, in words. `log_e` is ln of the evidence of harm, out of `limit` = ln 1/α."""

    verdict: Verdict
    reason: str
    log_e: float
    limit: float
    findings: tuple[MetricFinding, ...] = ()


def judge(guard: Guard, seen: GuardObservation, state: GuardState) -> tuple[Decision, GuardState]:
    """Fold one look in and decide. A rollback is final: later looks repeat it with its reason."""
    state = evidence.absorb(guard, seen, state)
    proven = [name for name in proofs(guard) if name in state.proven or _passed(guard, name, state)]
    state = msgspec.structs.replace(state, proven=tuple(proven), alarm=state.alarm or _alarm(guard, state))
    verdict, reason = _decide(guard, state, seen.troubles)
    decision = Decision(
        verdict=verdict,
        reason=reason,
        log_e=evidence.total(guard, state),
        limit=math.log(1 / guard.alpha),
        findings=findings(guard, state),
    )
    return decision, state


def proofs(guard: Guard) -> list[str]:
    """The tests of no harm that a candidate has to pass before it may advance."""
    return [f"{ERRORS}:safe", *(f"{LATENCY}:safe:{q:g}" for q in guard.latency_quantiles)]


def _passed(guard: Guard, name: str, state: GuardState) -> bool:
    return evidence.log_evidence(name, state) >= math.log(1 / guard.alpha)


def _decide(guard: Guard, state: GuardState, troubles: dict[str, str]) -> tuple[Verdict, str]:
    served = state.candidate.requests
    if state.alarm:
        return "rollback", state.alarm
    silent = [name for name, seconds in state.silent.items() if seconds >= guard.patience]
    if silent:
        return "pause", _silence(silent[0], state) + _because(silent[0], troubles)
    if not served:
        return "hold", "no data: the candidate has served no request yet"
    if not state.past.requests and not state.stable.requests:
        return "hold", "no data: the stable revision has served no request to compare with"
    absent = [m.name for m in guard.metrics if m.name not in state.pairs]
    if absent:
        return "hold", f"no data: the metric '{absent[0]}' has not arrived yet" + _because(absent[0], troubles)
    if served < guard.min_requests:
        return "hold", f"too few requests: the candidate has served {served:,} of at least {guard.min_requests:,}"
    return _promotion(guard, state)


def _promotion(guard: Guard, state: GuardState) -> tuple[Verdict, str]:
    missing = [name for name in proofs(guard) if name not in state.proven]
    gap = rate(state.candidate) - rate(state.stable)
    sure = f"{1 - guard.alpha:.0%}" if guard.alpha >= 0.01 else f"{1 - guard.alpha:.2%}"
    if missing:
        return "hold", f"not proven yet at {sure}: " + "; ".join(_claim(guard, name) for name in missing)
    if gap >= guard.margin:
        return "hold", f"proven earlier, but errors are now {gap:.2%} above the stable's, past the margin"
    return "advance", f"proven at {sure}: " + "; ".join(_claim(guard, name) for name in proofs(guard))


def _claim(guard: Guard, name: str) -> str:
    if name.startswith(ERRORS):
        return f"errors at most {guard.margin:.2%} above the stable's"
    quantile = float(name.rsplit(":", 1)[1])
    return f"p{quantile * 100:g} latency at most {guard.latency_margin:g} × the stable's"


def _silence(name: str, state: GuardState) -> str:
    seconds = state.silent[name]
    if name == "requests":
        return f"no data: the candidate has served no request for {seconds:.0f} s"
    if name in state.pairs:
        return f"no data: the metric '{name}' stopped arriving {seconds:.0f} s ago"
    return f"no data: the metric '{name}' has not arrived in {seconds:.0f} s"


def _because(name: str, troubles: dict[str, str]) -> str:
    return f": {troubles[name]}" if name in troubles else ""


def _alarm(guard: Guard, state: GuardState) -> str:
    crossed = [text for threshold in guard.thresholds if (text := _crossed(threshold, state.candidate))]
    if crossed:
        return crossed[0]
    if evidence.total(guard, state) < math.log(1 / guard.alpha):
        return ""
    shares = evidence.weights(guard, state)
    worst = max(shares, key=lambda name: math.log(shares[name]) + evidence.log_evidence(name, state))
    finding = next(f for f in findings(guard, state) if f.metric == worst)
    verb = "changed" if worst.startswith("output:") else "got worse"
    return f"{name_of(worst)} {verb}: {finding.text} (evidence {math.exp(min(finding.log_e, 700)):,.0f} to 1)"


def _crossed(threshold: Threshold, candidate: Counts) -> str:
    if candidate.requests < threshold.after:
        return ""
    if threshold.metric == "error_rate":
        value = rate(candidate)
        text = f"error rate {value:.2%} is above the threshold of {threshold.above:.2%}"
    else:
        value = latency.quantile(latency.dense(candidate.latency), threshold.quantile)
        text = f"p{threshold.quantile * 100:g} latency {value:.3g} s is above the threshold of {threshold.above:g} s"
    return f"{text} after {candidate.requests:,} requests" if value > threshold.above else ""
