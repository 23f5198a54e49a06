"""From what gateway and replicas counted to what the guard says: what both arms did since the last reading. Pure."""

from typing import Literal

import msgspec

from argosy.control.rollout.progress import LONGEST_GAP
from argosy.monitoring.analysis import agreement, evidence, guard
from argosy.monitoring.analysis.agreement import Joined, Tally, tally
from argosy.spec.guard import LATENCY, Advice, Guard
from argosy.spec.rollout import Shadow
from argosy.telemetry.counters import RevisionCounts, add, between, carried, history

FRESH = evidence.GuardState()
FINISH = "finish_reason"
"""What of a language model is compared as predictions are."""
PLAIN = Guard()
COMPARISON = 0.25
"""Of alpha, what the comparison of a shadow's answers may spend where a guard judges, too: the rest is the guard's."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The last reading of candidate and stable, and the guard's state and last decision.

    `shadow` is the comparison of answers, with what it says in `compared`; `copied` of the candidate's requests were
    copies in the shadow, `copying` says whether they were at the last reading. `looked` is the time of the last reading
    (seconds since 1970), 0 before the first; `fine`: replicas report latency. Stored with the rollout, so that a
    controller that restarts goes on.
    """

    looked: float = 0.0
    candidate: RevisionCounts = RevisionCounts()
    stable: RevisionCounts = RevisionCounts()
    fine: bool = False
    state: evidence.GuardState = FRESH
    verdict: Literal["hold", "advance", "pause", "rollback"] = "hold"
    reason: str = ""
    log_e: float = 0.0
    limit: float = 0.0
    shadow: Tally | None = None
    compared: Advice = Advice()
    copied: int = 0
    copying: bool = False

    @property
    def exposed(self) -> int:
        """Requests that the candidate has answered to callers in this rollout."""
        return self.state.candidate.requests - self.copied


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of candidate and stable at `now`, and the user's metrics, as (candidate, stable), with the `troubles`
    of those that are missing. In the shadow: the answers that were `joined`, and its length by now, in seconds.
    `streams`: it is a language model's, whose streams have times."""

    now: float
    candidate: RevisionCounts
    stable: RevisionCounts
    metrics: dict[str, tuple[float | None, float | None]] = {}
    troubles: dict[str, str] = {}
    joined: Joined | None = None
    spent: float = 0.0
    streams: bool = False


def learn(reading: Reading, old: Evidence, declared: Guard | None, shadow: Shadow | None = None) -> Evidence:
    """Take in a reading. The first only sets where counting begins; without a guard, only counts are added.

    Requests of the candidate before the gateway had the end of the shadow are copies, too.
    """
    if not old.looked:
        fine = bool(reading.stable.answered)
        timed = (declared or PLAIN).of_language if reading.streams else (LATENCY,)
        outputs = (FINISH,) if reading.streams else reading.stable.outputs
        state = evidence.start(outputs, history(reading.stable, fine=fine), timed)
        return Evidence(looked=reading.now, candidate=reading.candidate, stable=reading.stable, fine=fine, state=state)
    observed = evidence.GuardObservation(
        seconds=min(max(reading.now - old.looked, 0.0), LONGEST_GAP),
        candidate=between(reading.candidate, old.candidate, old.looked, fine=old.fine),
        stable=between(reading.stable, old.stable, old.looked, fine=old.fine),
        metrics=reading.metrics,
        troubles=reading.troubles,
    )
    copies = observed.candidate.requests if reading.joined is not None or old.copying else 0
    fresh = msgspec.structs.replace(
        old,
        looked=reading.now,
        candidate=carried(reading.candidate, old.candidate),
        stable=carried(reading.stable, old.stable),
        copied=old.copied + copies,
        copying=reading.joined is not None,
    )
    if reading.joined is not None and shadow is not None:
        fresh = _compare(reading, observed.seconds, fresh, declared, shadow)
    if shadow is not None and declared is not None:
        declared = msgspec.structs.replace(declared, alpha=declared.alpha * (1 - COMPARISON))
    if declared is None:
        total = add((old.state.candidate, observed.candidate))
        return msgspec.structs.replace(fresh, state=msgspec.structs.replace(old.state, candidate=total))
    decision, state = guard.decide(declared, observed, old.state)
    return msgspec.structs.replace(
        fresh,
        state=state,
        verdict=decision.verdict,
        reason=decision.reason,
        log_e=decision.log_e,
        limit=decision.limit,
    )


def _compare(reading: Reading, seconds: float, old: Evidence, declared: Guard | None, shadow: Shadow) -> Evidence:
    """Fold in the answers that came."""
    found = tally(old.shadow or Tally(), reading.joined or Joined(), shadow.tolerance, seconds)
    guard = declared or PLAIN
    verdict = agreement.decide(shadow, found, reading.spent, comparison_alpha(declared), guard.patience)
    return msgspec.structs.replace(old, shadow=found, compared=verdict)


def comparison_alpha(declared: Guard | None) -> float:
    """At which level the answers of a shadow are compared, so that both together keep to the guard's."""
    return declared.alpha * COMPARISON if declared else PLAIN.alpha
