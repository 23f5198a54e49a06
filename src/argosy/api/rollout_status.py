"""A rollout as it is told: where it stands, who has which share, what the guard has found."""

import math

import msgspec

from argosy.api.shadow_status import ShadowStatus, shadow_status
from argosy.control.rollout.evidence import Evidence
from argosy.control.rollout.strategy import WHOLE
from argosy.monitoring.analysis.findings import MetricFinding, findings, name_of
from argosy.spec.endpoint import Endpoint
from argosy.spec.revision import Revision
from argosy.store.endpoints import Progress, RolloutPhase


class FindingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A finding of the guard, as in `monitoring.findings`; what is not known is left out."""

    metric: str
    candidate: float | None = None
    stable: float | None = None
    low: float | None = None
    high: float | None = None
    log_e: float | None = None
    text: str


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


def rollout_status(
    endpoint: Endpoint,
    progress: Progress,
    evidence: Evidence,
    revisions: dict[str, Revision],
    times: tuple[str, str | None],
) -> RolloutStatus:
    """The status that follows from what was written last."""
    steps, guard = endpoint.rollout.path, endpoint.guard
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
        findings=tuple(map(_told, findings(guard, evidence.state))) if guard else (),
        shadow=shadow_status(endpoint.rollout.shadow, evidence, guard),
        began=times[0],
        ended=times[1],
    )


def _told(finding: MetricFinding) -> FindingStatus:
    numbers = {field: getattr(finding, field) for field in ("candidate", "stable", "low", "high", "log_e")}
    known = {field: value for field, value in numbers.items() if value is not None and math.isfinite(value)}
    return FindingStatus(metric=name_of(finding.metric), text=finding.text, **known)


def _ref(revisions: dict[str, Revision], revision: str) -> str:
    found = revisions.get(revision)
    return f"{found.model}:{found.version}" if found else revision
