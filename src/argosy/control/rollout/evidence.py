"""From what gateway and replicas counted to what the guard says: what both arms did since the last reading. Pure."""

from typing import Literal

import msgspec

from argosy.capacity.costs import busy
from argosy.control.rollout.progress import LONGEST_GAP
from argosy.monitoring.analysis import agreement, evidence, guard
from argosy.monitoring.analysis.agreement import Joined, Tally, tally
from argosy.serving.counts import Work
from argosy.spec.guard import LATENCY, Advice, Guard
from argosy.spec.rollout import Shadow
from argosy.telemetry.counters import RevisionCounts, add, between, carried, history

FRESH = evidence.GuardState()
FINISH = "finish_reason"
"""What of a language model is compared as predictions are."""
PLAIN = Guard()
COMPARISON = 0.25
"""Of alpha, what the comparison of a shadow's answers may spend where a guard judges, too: the rest is the guard's."""


HALF_LIFE = 60.0
"""Seconds after which the tokens of a prompt count half."""


class Prompts(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of a revision's prompts and those of them that were found in a KV cache: as they were `counted` last,
    and the `recent` ones, which count less with their age."""

    counted: tuple[int, int] = (0, 0)
    recent: tuple[float, float] = (0.0, 0.0)

    @property
    def cached(self) -> float:
        """The share that was found; 0 before there is a prompt."""
        return self.recent[1] / self.recent[0] if self.recent[0] else 0.0

    def after(self, counted: tuple[int, int], seconds: float) -> "Prompts":
        """With what was counted in the last `seconds`. Counts that fell began anew."""
        old = self.counted if counted[0] >= self.counted[0] else (0, 0)
        weight = 0.5 ** (seconds / HALF_LIFE)
        recent = [weight * sum_ + max(0, new - was) for sum_, new, was in zip(self.recent, counted, old, strict=True)]
        return Prompts(counted=counted, recent=(recent[0], recent[1]))


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The last reading of candidate and stable, and the guard's state and last decision.

    `shadow` is the comparison of answers, with what it says in `compared`; `copied` of the candidate's requests were
    copies in the shadow, `copying` says whether they were at the last reading. `looked` is the time of the last reading
    (seconds since 1970), 0 before the first; `fine`: replicas report latency. Stored with the rollout, so that a
    controller that restarts goes on. `prompts` are those of candidate and stable, of a language model; `spent` is what
    both have spent on requests.
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
    prompts: tuple[Prompts, Prompts] | None = None
    spent: tuple[float, float] = (0.0, 0.0)

    @property
    def exposed(self) -> int:
        """Requests that the candidate has answered to callers in this rollout."""
        return self.state.candidate.requests - self.copied


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of candidate and stable at `now`, and the user's metrics, as (candidate, stable), with the `troubles`
    of those that are missing. In the shadow: the answers that were `joined`, and its length by now, in seconds.
    `prompts`: of a language model, the tokens of both revisions' prompts, and those found in a cache. `prices` are
    those of a second of their replicas, in any unit."""

    now: float
    candidate: RevisionCounts
    stable: RevisionCounts
    metrics: dict[str, tuple[float | None, float | None]] = {}
    troubles: dict[str, str] = {}
    joined: Joined | None = None
    spent: float = 0.0
    prompts: tuple[tuple[int, int], tuple[int, int]] | None = None
    prices: tuple[float, float] = (1.0, 1.0)


def learn(reading: Reading, old: Evidence, declared: Guard | None, shadow: Shadow | None = None) -> Evidence:
    """Take in a reading. The first only sets where counting begins; without a guard, only counts are added.

    Requests of the candidate before the gateway had the end of the shadow are copies, too.
    """
    if not old.looked:
        fine = bool(reading.stable.answered)
        timed = (declared or PLAIN).of_language if reading.prompts else (LATENCY,)
        outputs = (FINISH,) if reading.prompts else reading.stable.outputs
        state = evidence.start(outputs, history(reading.stable, fine=fine), timed)
        first = reading.prompts and (Prompts(counted=reading.prompts[0]), Prompts(counted=reading.prompts[1]))
        return Evidence(
            looked=reading.now,
            candidate=reading.candidate,
            stable=reading.stable,
            fine=fine,
            state=state,
            prompts=first,
        )
    observed = evidence.GuardObservation(
        seconds=min(max(reading.now - old.looked, 0.0), LONGEST_GAP),
        candidate=between(reading.candidate, old.candidate, old.looked, fine=old.fine),
        stable=between(reading.stable, old.stable, old.looked, fine=old.fine),
        metrics=reading.metrics,
        troubles=reading.troubles,
    )
    copies = observed.candidate.requests if reading.joined is not None or old.copying else 0
    (mine, theirs), gap = old.prompts or (Prompts(), Prompts()), observed.seconds
    fresh = msgspec.structs.replace(
        old,
        looked=reading.now,
        candidate=carried(reading.candidate, old.candidate),
        stable=carried(reading.stable, old.stable),
        copied=old.copied + copies,
        copying=reading.joined is not None,
        prompts=reading.prompts and (mine.after(reading.prompts[0], gap), theirs.after(reading.prompts[1], gap)),
        spent=(
            old.spent[0] + reading.prices[0] * _busy(reading.candidate, old.candidate, old.looked, gap),
            old.spent[1] + reading.prices[1] * _busy(reading.stable, old.stable, old.looked, gap),
        ),
    )
    if reading.joined is not None and shadow is not None:
        fresh = _compare(reading, observed.seconds, fresh, declared, shadow)
    if shadow is not None and declared is not None:
        declared = msgspec.structs.replace(declared, alpha=declared.alpha * (1 - COMPARISON))
    if declared is None:
        total = add((old.state.candidate, observed.candidate))
        return msgspec.structs.replace(fresh, state=msgspec.structs.replace(old.state, candidate=total))
    decision, state = guard.decide(declared, observed, old.state)
    if not state.alarm and (why := guard.dearer(declared, state, *fresh.spent)):
        state = msgspec.structs.replace(state, alarm=why)
        decision = msgspec.structs.replace(decision, verdict="rollback", reason=why)
    return msgspec.structs.replace(
        fresh,
        state=state,
        verdict=decision.verdict,
        reason=decision.reason,
        log_e=decision.log_e,
        limit=decision.limit,
    )


def _busy(new: RevisionCounts, old: RevisionCounts, read: float, seconds: float) -> float:
    """Seconds that replicas worked since the last reading. One that has not answered until now counts from here on."""
    before = {name: each.work for name, each in old.answered.items()}
    before |= {name: Work() for name, each in new.answered.items() if name not in before and each.started >= read}
    return sum(busy(each.work, before[name], seconds) for name, each in new.answered.items() if name in before)


def _compare(reading: Reading, seconds: float, old: Evidence, declared: Guard | None, shadow: Shadow) -> Evidence:
    """Fold in the answers that came."""
    found = tally(old.shadow or Tally(), reading.joined or Joined(), shadow.tolerance, seconds)
    guard = declared or PLAIN
    verdict = agreement.decide(shadow, found, reading.spent, comparison_alpha(declared), guard.patience)
    return msgspec.structs.replace(old, shadow=found, compared=verdict)


def comparison_alpha(declared: Guard | None) -> float:
    """At which level the answers of a shadow are compared, so that both together keep to the guard's."""
    return declared.alpha * COMPARISON if declared else PLAIN.alpha
