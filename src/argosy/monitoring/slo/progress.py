"""How an endpoint does against its objectives: (what was counted, what is remembered) → (verdicts, memory). Pure."""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from argosy.alerting.incident import Finding
from argosy.gateway.clusters import WAITING
from argosy.monitoring.slo import policy
from argosy.monitoring.slo.policy import SloObservation, SloState, SloVerdict
from argosy.serving.counts import Counts
from argosy.spec.slo import Slo
from argosy.spec.status import SloStatus
from argosy.telemetry.counters import RevisionCounts, add, between, carried


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An objective and what is remembered of it."""

    slo: Slo
    state: SloState = SloState()


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of an endpoint: the counts at the last look, at `looked` (seconds since 1970; 0: none yet), by
    revision; which revisions got copies only; its objectives by name."""

    looked: float = 0.0
    marks: dict[str, RevisionCounts] = {}
    copies: frozenset[str] = frozenset()
    kept: dict[str, Kept] = {}


def step(
    course: Course,
    slos: Sequence[Slo],
    arms: Mapping[str, RevisionCounts],
    copies: Collection[str],
    now: float,
    every: float,
) -> tuple[dict[str, SloVerdict], Course]:
    """One look, of those `every` so many seconds: by objective what is to be said. The first look only sets the marks.

    What came while nobody looked counts as coming now.
    """
    came = counted(course, arms, copies)
    kept = {slo.name: same(course.kept.get(slo.name), slo) for slo in slos}
    verdicts: dict[str, SloVerdict] = {}
    for name, each in kept.items():
        total, bad = policy.count(each.slo, came)
        seen = SloObservation(now=now, seconds=every, total=total, bad=bad)
        verdicts[name], state = policy.judge(each.slo, seen, each.state)
        kept[name] = msgspec.structs.replace(each, state=state)
    marks = {name: carried(_lean(name, arm), course.marks.get(name, RevisionCounts())) for name, arm in arms.items()}
    return verdicts, Course(looked=now, marks=marks, copies=frozenset(copies), kept=kept)


def counted(course: Course, arms: Mapping[str, RevisionCounts], copies: Collection[str]) -> Counts:
    """What was asked since the last look, of all revisions. What was a copy then or is one now is left out."""
    if not course.looked:
        return Counts()
    return add(
        between(arm, course.marks.get(name, RevisionCounts()), course.looked, fine=name != WAITING)
        for name, arm in arms.items()
        if name not in course.copies and name not in copies
    )


def same(kept: Kept | None, slo: Slo) -> Kept:
    """What is remembered of an objective as it is declared now. Another bound of latency begins anew; with another
    objective the traffic stays what it was, and only the evidence begins anew."""
    if kept is None or kept.slo.latency != slo.latency:
        return Kept(slo=slo)
    return kept if kept.slo == slo else Kept(slo=slo, state=SloState(traffic=kept.state.traffic))


def _lean(name: str, arm: RevisionCounts) -> RevisionCounts:
    """Without what is not looked at again: what replicas predicted, and latencies that they tell better."""
    lean = {
        name: each and msgspec.structs.replace(each, counts=msgspec.structs.replace(each.counts, outputs={}))
        for name, each in arm.replicas.items()
    }
    gateway = arm.gateway if name == WAITING else msgspec.structs.replace(arm.gateway, latency={})
    return RevisionCounts(gateway=gateway, replicas=lean)


def standing(course: Course, verdicts: Mapping[str, SloVerdict]) -> tuple[SloStatus, ...]:
    """As users are told."""
    return tuple(
        SloStatus(
            name=name,
            objective=each.slo.objective,
            latency=each.slo.latency,
            days=each.slo.days,
            budget=verdicts[name].budget,
            severity=verdicts[name].severity or "",
            reason=verdicts[name].reason,
        )
        for name, each in course.kept.items()
    )


def wrong(endpoint: str, standing: Sequence[SloStatus]) -> list[Finding]:
    """The objectives whose budget burns too fast."""
    return [
        Finding(
            endpoint=endpoint,
            kind="slo",
            subject=each.name,
            severity="page" if each.severity == "page" else "ticket",
            title=f"{each.name}: the error budget burns too fast",
            reason=f"{each.reason}; {told(each.budget, each.days)}",
        )
        for each in standing
        if each.severity
    ]


def told(budget: float, days: float) -> str:
    """What is left of a budget, for people."""
    if budget >= 0:
        return f"{budget:.0%} of the budget of {days:g} days is left"
    return f"the budget of {days:g} days is spent {1 - budget:.1f} times over"
