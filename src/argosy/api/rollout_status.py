"""The status of a rollout: its progress, who has which share, what guard and shadow have found."""

import math

import msgspec

from argosy.control.rollout.evidence import Evidence, comparison_alpha
from argosy.control.rollout.strategy import WHOLE
from argosy.control.rollout.table import RolloutRow
from argosy.monitoring.analysis import latency
from argosy.monitoring.analysis.agreement import Tally
from argosy.monitoring.analysis.guard import findings, name_of
from argosy.monitoring.eprocess import interval
from argosy.spec.endpoint import Endpoint
from argosy.spec.guard import Guard
from argosy.spec.revision import Revision
from argosy.spec.rollout import Shadow
from argosy.store.endpoints import RolloutPhase


class FindingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A finding of the guard, as in `monitoring.findings`; what is not known is left out."""

    metric: str
    candidate: float | None = None
    stable: float | None = None
    low: float | None = None
    high: float | None = None
    log_e: float | None = None
    text: str


class OutputStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One output: the share of answers in which it agrees, and its numbers' largest and mean difference, relative to
    the largest in their row."""

    name: str
    agreement: float
    largest: float
    mean: float


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that the replicas of one revision took for the compared answers; None before there are any."""

    p50: float | None
    p95: float | None


class ShadowStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What was declared (`share`, `requests`, `needed` agreement) and found. `low` to `high` contains the true
    agreement at the guard's level over all evaluations. `unmatched` answers, of the stable revision and the candidate,
    had no other half; `repeated` ones an id that came twice. `examples`: ids that disagree, each with the output or
    error.
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


class RolloutStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The `number`-th rollout of an endpoint, from `stable` to `candidate` (as `model:version`).

    `weight` is the candidate's percent of the traffic; `step` of `steps` counts from 1, 0 before the first. `exposed`
    is how many requests it has answered to callers. `shadow` compares its answers with the stable revision's, where one
    was declared. `verdict` and `evidence` (ln of the evidence of harm, out of `limit`) are the
    guard's, where there is one.
    """

    endpoint: str
    number: int
    strategy: str
    phase: RolloutPhase
    live: bool
    stable: str
    candidate: str
    weight: int
    step: int
    steps: int
    spent: float
    exposed: int
    paused: bool
    order: str
    reason: str
    guarded: bool
    verdict: str
    verdict_reason: str
    evidence: float
    limit: float
    findings: tuple[FindingStatus, ...]
    shadow: ShadowStatus | None
    began: str
    ended: str | None


def rollout_status(endpoint: Endpoint, row: RolloutRow, revisions: dict[str, Revision]) -> RolloutStatus:
    """The status that follows from the row that was written last."""
    steps, guard, progress, evidence = endpoint.rollout.path, endpoint.guard, row.progress, row.evidence
    shadow = endpoint.rollout.shadow
    return RolloutStatus(
        endpoint=endpoint.name,
        number=progress.number,
        strategy=endpoint.rollout.strategy,
        phase=progress.phase,
        live=progress.live,
        stable=_ref(revisions, progress.stable),
        candidate=_ref(revisions, progress.candidate),
        weight=WHOLE if progress.phase == "done" else progress.weight,
        step=min(progress.step + 1, len(steps)) if progress.phase == "shifting" and steps else 0,
        steps=len(steps),
        spent=progress.spent,
        exposed=evidence.exposed,
        paused=progress.paused,
        order=progress.order,
        reason=progress.reason,
        guarded=guard is not None,
        verdict=evidence.verdict,
        verdict_reason=evidence.reason,
        evidence=evidence.log_e,
        limit=evidence.limit,
        findings=_findings(guard, evidence) if guard else (),
        shadow=_shadow(shadow, evidence, guard) if shadow else None,
        began=row.began,
        ended=row.ended,
    )


def _ref(revisions: dict[str, Revision], revision: str) -> str:
    found = revisions.get(revision)
    return f"{found.model}:{found.version}" if found else revision


def _findings(guard: Guard, evidence: Evidence) -> tuple[FindingStatus, ...]:
    shown: list[FindingStatus] = []
    for each in findings(guard, evidence.state):
        numbers = {field: getattr(each, field) for field in ("candidate", "stable", "low", "high", "log_e")}
        known = {field: value for field, value in numbers.items() if value is not None and math.isfinite(value)}
        shown.append(FindingStatus(metric=name_of(each.metric), text=each.text, **known))
    return tuple(shown)


def _shadow(declared: Shadow, evidence: Evidence, guard: Guard | None) -> ShadowStatus:
    found, compared = evidence.shadow or Tally(), evidence.compared
    low, high = interval(found.compared - found.disagreed, found.compared, comparison_alpha(guard))
    outputs = [
        OutputStatus(
            name=name,
            agreement=1 - each.disagreed / each.compared if each.compared else 1.0,
            largest=each.largest,
            mean=each.total / each.numbers if each.numbers else 0.0,
        )
        for name, each in found.outputs.items()
    ]
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
        outputs=tuple(outputs),
        stable_latency=_times(found.latency[0]),
        candidate_latency=_times(found.latency[1]),
        examples=found.examples,
    )


def _times(counts: dict[int, int]) -> Times:
    by_bucket = latency.dense(counts)
    quantiles = [latency.quantile(by_bucket, q) for q in (0.5, 0.95)]
    p50, p95 = (each if math.isfinite(each) else None for each in quantiles)
    return Times(p50=p50, p95=p95)
