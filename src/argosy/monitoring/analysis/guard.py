"""The guard of a rollout: (observation, state) → (decision, state). Pure; the controller acts on it.

In this order: a fixed threshold crossed or evidence of harm ≥ 1/α rolls back; no requests yet holds; candidate or a
metric without data for longer than `patience` pauses; every proof of no harm there and nothing missing allows to
advance; otherwise it holds. Absence of an alarm never advances.

Proofs are tested each at level α: letting a candidate through needs all of them, so one that is past any margin gets
through with probability ≤ α (intersection–union; Berger 1982). A proof stands once it is there, but a candidate
advances only while its error rate so far is within the margin as well.
"""

import math

import msgspec

from argosy.monitoring.analysis import evidence, latency, predictions
from argosy.monitoring.analysis.evidence import ERRORS, RATES, GuardObservation, GuardState, Pair, rated, vector
from argosy.monitoring.eprocess import interval
from argosy.serving.counts import Counts
from argosy.spec.guard import FIRST_TOKEN, LONGER, SHORTER, SPEED, TOKEN, Advice, Guard, Threshold

SAID = {
    FIRST_TOKEN: "time to first token",
    TOKEN: "time per token",
    SPEED: "tokens a second",
    LONGER: "length of answers",
    SHORTER: "length of answers",
}


class MetricFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One metric: both revisions, an interval, the evidence, one line of words. `low` and `high` bound the candidate's
    value at level α at all times together, where there are such.

    Errors are rates, latency seconds at the last declared quantile, outputs the distance (0 to 1) in `candidate`.
    """

    metric: str
    candidate: float
    stable: float
    low: float | None = None
    high: float | None = None
    log_e: float = 0.0
    text: str = ""


class Decision(Advice, frozen=True, kw_only=True):
    """`log_e` is ln of the evidence of harm, out of `limit` = ln 1/α."""

    log_e: float
    limit: float
    findings: tuple[MetricFinding, ...] = ()


def decide(guard: Guard, observed: GuardObservation, state: GuardState) -> tuple[Decision, GuardState]:
    """Add an observation and decide. A rollback is final: it is repeated with its reason."""
    state = evidence.absorb(guard, observed, state)
    limit = math.log(1 / guard.alpha)
    passed = (
        name for name in proofs(guard, state) if name in state.proven or evidence.log_evidence(name, state) >= limit
    )
    state = msgspec.structs.replace(state, proven=tuple(passed))
    state = msgspec.structs.replace(state, alarm=state.alarm or _alarm(guard, state))
    advice = _advice(guard, state, observed.troubles)
    decision = Decision(
        verdict=advice.verdict,
        reason=advice.reason,
        log_e=evidence.total(guard, state),
        limit=limit,
        findings=findings(guard, state),
    )
    return decision, state


def proofs(guard: Guard, state: GuardState) -> list[str]:
    """The tests of no harm that a candidate has to pass before it may advance."""
    rates = [f"{name}:safe" for name in (ERRORS, *state.timed) if name in RATES]
    times = [name for name in state.timed if name not in RATES]
    return [*rates, *(f"{name}:safe:{q:g}" for name in times for q in guard.latency_quantiles)]


def _advice(guard: Guard, state: GuardState, troubles: dict[str, str]) -> Advice:
    served = state.candidate.requests
    if state.alarm:
        return Advice(verdict="rollback", reason=state.alarm)
    silent = [name for name, seconds in state.silent.items() if seconds >= guard.patience]
    if silent:
        return Advice(verdict="pause", reason=_no_data(silent[0], state) + _because(silent[0], troubles))
    absent = [m.name for m in guard.metrics if m.name not in state.pairs]
    if not served:
        reason = "no data: the candidate has served no request yet"
    elif not state.past.requests and not state.stable.requests:
        reason = "no data: the stable revision has served no request to compare with"
    elif absent:
        reason = f"no data: the metric '{absent[0]}' has not arrived yet" + _because(absent[0], troubles)
    elif served < guard.min_requests:
        reason = f"too few requests: the candidate has served {served:,} of at least {guard.min_requests:,}"
    else:
        return _promotion(guard, state)
    return Advice(verdict="hold", reason=reason)


def _promotion(guard: Guard, state: GuardState) -> Advice:
    missing = [name for name in proofs(guard, state) if name not in state.proven]
    sure = f"{1 - guard.alpha:.0%}" if guard.alpha >= 0.01 else f"{1 - guard.alpha:.2%}"
    claims = "; ".join(_claim(guard, name) for name in missing or proofs(guard, state))
    if missing:
        return Advice(verdict="hold", reason=f"not proven yet at {sure}: {claims}")
    for name in (ERRORS, *state.timed):
        gap = rate(state.candidate, name) - rate(state.stable, name) if name in RATES else -1.0
        if gap >= _margin(guard, name):
            reason = f"proven earlier, but {name} are now {gap:.2%} above the stable's, past the margin"
            return Advice(verdict="hold", reason=reason)
    return Advice(verdict="advance", reason=f"proven at {sure}: {claims}")


def _claim(guard: Guard, name: str) -> str:
    family, _, quantile = name.partition(":safe")
    if family in RATES:
        return f"{family} at most {_margin(guard, family):.2%} above the stable's"
    place, factor = float(quantile[1:]) * 100, guard.factor(family)
    if family in (SPEED, SHORTER):
        return f"p{100 - place:g} {name_of(family)} at least the stable's / {factor:g}"
    return f"p{place:g} {name_of(family)} at most {factor:g} × the stable's"


def _margin(guard: Guard, name: str) -> float:
    return guard.margin if name == ERRORS else guard.refusal_margin


def _no_data(name: str, state: GuardState) -> str:
    seconds = state.silent[name]
    if name == "requests":
        return f"no data: the candidate has served no request for {seconds:.0f} s"
    if name in state.pairs:
        return f"no data: the metric '{name}' stopped arriving {seconds:.0f} s ago"
    return f"no data: the metric '{name}' has not arrived in {seconds:.0f} s"


def _because(name: str, troubles: dict[str, str]) -> str:
    return f": {troubles[name]}" if name in troubles else ""


def _alarm(guard: Guard, state: GuardState) -> str:
    """Why the candidate is rolled back; empty if it is not."""
    for threshold in guard.thresholds:
        if text := _crossed(threshold, state.candidate):
            return text
    if evidence.total(guard, state) < math.log(1 / guard.alpha):
        return ""
    shares = evidence.weights(guard, state)
    worst = max(shares, key=lambda name: math.log(shares[name]) + evidence.log_evidence(name, state))
    finding = next(f for f in findings(guard, state) if f.metric == worst)
    verb = "changed" if worst.startswith("output:") or worst in (LONGER, SHORTER) else "got worse"
    return f"{name_of(worst)} {verb}: {finding.text} (evidence {math.exp(min(finding.log_e, 700)):,.0f} to 1)"


def dearer(guard: Guard, state: GuardState, candidate: float, stable: float) -> str:
    """Why the candidate is rolled back for what its requests cost, if it is: both have spent so much, of the same
    unit, on the requests that they had."""
    mine, theirs = state.candidate.requests, state.stable.requests
    for each in guard.thresholds:
        if each.metric == "cost" and mine >= each.after and theirs and stable:
            factor = candidate / mine * theirs / stable
            if factor > each.above:
                than = f"× the stable's, above the threshold of {each.above:g}"
                return f"a request costs {factor:.3g} {than} after {mine:,} requests"
    return ""


def _crossed(threshold: Threshold, candidate: Counts) -> str:
    if candidate.requests < threshold.after or threshold.metric == "cost":
        return ""
    if threshold.metric == "error_rate":
        value = rate(candidate)
        text = f"error rate {value:.2%} is above the threshold of {threshold.above:.2%}"
    else:
        value = latency.quantile(latency.dense(candidate.latency), threshold.quantile)
        text = f"p{threshold.quantile * 100:g} latency {value:.3g} s is above the threshold of {threshold.above:g} s"
    return f"{text} after {candidate.requests:,} requests" if value > threshold.above else ""


def findings(guard: Guard, state: GuardState) -> tuple[MetricFinding, ...]:
    """Every metric of the rollout, in the order of their weights."""
    found: list[MetricFinding] = []
    for name in evidence.weights(guard, state):
        family, _, rest = name.partition(":")
        if family in RATES:
            finding = _rate(name, guard, state)
        elif family in state.timed:
            finding = _time(family, guard, state)
        elif family == "output":
            finding = _output(rest, state)
        else:
            finding = _metric(rest, state.pairs.get(rest, Pair()))
        found.append(msgspec.structs.replace(finding, log_e=evidence.log_evidence(name, state)))
    return tuple(found)


def _rate(name: str, guard: Guard, state: GuardState) -> MetricFinding:
    (count, bad), (others, _) = rated(state.candidate, name), rated(state.stable, name)
    mine, theirs = rate(state.candidate, name), rate(state.stable, name)
    low, high = interval(bad, count, guard.alpha)
    text = f"{mine:.2%} of {count:,} {'requests' if name == ERRORS else 'answers'} ({low:.2%} to {high:.2%}), "
    text += f"stable {theirs:.2%} of {others:,}"
    return MetricFinding(metric=name, candidate=mine, stable=theirs, low=low, high=high, text=text)


def _time(name: str, guard: Guard, state: GuardState) -> MetricFinding:
    q = guard.latency_quantiles[-1] if guard.latency_quantiles else 0.95
    c, s = latency.dense(state.candidate.timed(name)), latency.dense(state.stable.timed(name))
    if not c.sum() or not s.sum():
        return MetricFinding(metric=name, candidate=math.nan, stable=math.nan, text=f"no {name_of(name)} yet")
    q = 1 - q if name == SHORTER else q
    ends, unit = latency.quantile_interval(c, q, guard.alpha), " s"
    values, times = (latency.quantile(c, q), latency.quantile(s, q), *ends), latency.mean(c) / latency.mean(s)
    if name == SPEED:
        values, times, q, unit = [1 / each if each else math.inf for each in values], 1 / times, 1 - q, ""
    elif name in (LONGER, SHORTER):
        values, unit = [1000 * each for each in values], " tokens"
    mine, theirs, (low, high) = values[0], values[1], sorted(values[2:])
    text = f"p{q * 100:g} {mine:.3g}{unit} ({low:.3g} to {high:.3g}), stable {theirs:.3g}{unit}; mean × {times:.2f}"
    return MetricFinding(metric=name, candidate=mine, stable=theirs, low=low, high=high, text=text)


def _output(name: str, state: GuardState) -> MetricFinding:
    mine, theirs = state.candidate.outputs.get(name, {}), state.stable.outputs.get(name, {})
    known = sorted(mine.keys() | theirs.keys())
    distance = predictions.distance(vector(mine, known), vector(theirs, known))
    text = f"{distance:.1%} of the answers are distributed otherwise than the stable's" if known else "no answers yet"
    return MetricFinding(metric=f"output:{name}", candidate=distance, stable=0.0, text=text)


def _metric(name: str, pair: Pair) -> MetricFinding:
    count = max(pair.looks, 1)
    mine, theirs = pair.candidate / count, pair.stable / count
    known = f"{mine:.4g} against the stable's {theirs:.4g}, over {pair.looks:,} observations"
    text = known if pair.looks else "no numbers yet"
    return MetricFinding(metric=f"metric:{name}", candidate=mine, stable=theirs, text=text)


def rate(counts: Counts, name: str = ERRORS) -> float:
    """Errors by requests, or refusals by answers; 0 without any."""
    count, bad = rated(counts, name)
    return bad / count if count else 0.0


def name_of(metric: str) -> str:
    """A test's name as a user says it."""
    family, _, name = metric.partition(":")
    known = {"output": f"predictions of '{name}'", "metric": f"metric '{name}'"}
    return (known | SAID).get(family, family)
