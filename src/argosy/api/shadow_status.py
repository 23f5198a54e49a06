"""A shadow as it is told: how far the comparison of answers has come, and what it has found."""

import math

import msgspec

from argosy.control.rollout.evidence import Evidence, comparison_alpha
from argosy.monitoring.analysis import latency
from argosy.monitoring.analysis.agreement import PerOutput, Tally
from argosy.monitoring.binary import interval
from argosy.spec.guard import Guard
from argosy.spec.rollout import Shadow


class OutputStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One output: the share of answers in which it agrees, and its numbers' largest and mean difference, relative to
    the largest in their row."""

    name: str
    agreement: float
    largest: float
    mean: float


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that one arm's replicas took for the compared answers; None before there are any."""

    p50: float | None
    p95: float | None


class ShadowStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What was declared (`share`, `requests`, `needed` agreement) and found. `low` to `high` holds the true agreement
    at the guard's level over all looks. `unmatched` answers, of the stable revision and the candidate, had no other
    half; `repeated` ones an id that came twice. `examples`: ids that disagree, each with the output or error.
    """

    share: float
    requests: int
    seconds: float
    needed: float
    compared: int
    agreement: float
    low: float
    high: float
    verdict: str
    reason: str
    candidate_failed: int
    stable_failed: int
    large: int
    unmatched: tuple[int, int]
    repeated: int
    outputs: tuple[OutputStatus, ...]
    stable_latency: Times
    candidate_latency: Times
    examples: tuple[tuple[str, str], ...]


def shadow_status(declared: Shadow | None, evidence: Evidence, guard: Guard | None) -> ShadowStatus | None:
    """None, where no shadow was declared."""
    if declared is None:
        return None
    found, compared = evidence.shadow or Tally(), evidence.compared
    low, high = interval(found.compared - found.disagreed, found.compared, comparison_alpha(guard))
    return ShadowStatus(
        share=declared.share,
        requests=declared.requests,
        seconds=declared.seconds,
        needed=declared.agreement,
        compared=found.compared,
        agreement=found.agreement,
        low=low,
        high=high,
        verdict=compared.verdict,
        reason=compared.reason,
        candidate_failed=found.candidate_failed,
        stable_failed=found.stable_failed,
        large=found.large,
        unmatched=found.unmatched,
        repeated=found.repeated,
        outputs=tuple(_output(name, each) for name, each in found.outputs.items()),
        stable_latency=_times(found.latency[0]),
        candidate_latency=_times(found.latency[1]),
        examples=found.examples,
    )


def _output(name: str, found: PerOutput) -> OutputStatus:
    agreed = 1 - found.disagreed / found.compared if found.compared else 1.0
    mean = found.total / found.numbers if found.numbers else 0.0
    return OutputStatus(name=name, agreement=agreed, largest=found.largest, mean=mean)


def _times(counts: dict[int, int]) -> Times:
    by_bucket = latency.dense(counts)
    quantiles = [latency.quantile(by_bucket, q) for q in (0.5, 0.95)]
    p50, p95 = (each if math.isfinite(each) else None for each in quantiles)
    return Times(p50=p50, p95=p95)
