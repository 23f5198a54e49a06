"""From what gateway and replicas counted to what the guard says: what both arms did since the last look. Pure."""

from collections.abc import Mapping

import msgspec

from argosy.control.rollout import LONGEST_LOOK
from argosy.gateway.traffic import Traffic
from argosy.monitoring import agreement, evidence, guard
from argosy.monitoring.agreement import Tally, tally
from argosy.monitoring.arm import add, since
from argosy.monitoring.pairs import Joined
from argosy.serving.counts import Counts, bucket
from argosy.spec.guard import Guard
from argosy.spec.rollout import Shadow

FRESH = evidence.State()
PLAIN = Guard()
COMPARISON = 0.25
"""Of alpha, what the comparison of a shadow's answers may spend where a guard judges, too: the rest is the guard's."""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """Everything counted of a revision at one moment: by the gateway, and by each of its replicas."""

    gateway: Counts = Counts()
    replicas: dict[str, Counts] = {}


NOT_COMPARED = agreement.Verdict(verdict="hold", reason="")


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a rollout's arms, and the guard's own memory and last words.

    `shadow` is the comparison of answers, with what it says in `compared`; `copied` of the candidate's requests were
    copies in the shadow, `copying` says whether they were at the last look. `looked` is the time of the last look
    (seconds since 1970), 0 before the first. Kept with the rollout, so that a controller that starts anew goes on.
    """

    looked: float = 0.0
    candidate: Arm = Arm()
    stable: Arm = Arm()
    state: evidence.State = FRESH
    verdict: guard.Verdict = "hold"
    reason: str = ""
    log_e: float = 0.0
    limit: float = 0.0
    shadow: Tally | None = None
    compared: agreement.Verdict = NOT_COMPARED
    copied: int = 0
    copying: bool = False

    @property
    def exposed(self) -> int:
        """Requests that the candidate has answered to callers in this rollout."""
        return self.state.candidate.requests - self.copied


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One look at both arms at `now`, and the user's metrics, as (candidate, stable); why some did not come. In the
    shadow: the answers that were `joined`, and for how many seconds it has gone on."""

    now: float
    candidate: Arm
    stable: Arm
    metrics: dict[str, tuple[float | None, float | None]] = {}
    troubles: dict[str, str] = {}
    joined: Joined | None = None
    spent: float = 0.0


FLOOR_MS = 5.0
"""Envoy counts whole milliseconds: below this, one more of them looks like a model that became much slower."""


def counts(traffic: Traffic) -> Counts:
    """The gateway's counters as the guard's: errors are 5xx answers and failed gRPC calls, latency whole answers."""
    latency: dict[int, int] = {}
    for each in traffic.latency:
        place = bucket(max(each.lower + each.width / 2, FLOOR_MS) / 1000)
        latency[place] = latency.get(place, 0) + each.count
    return Counts(requests=traffic.completed, errors=traffic.errors + traffic.grpc_failures, latency=latency)


def learn(look: Look, old: Evidence, declared: Guard | None, shadow: Shadow | None = None) -> Evidence:
    """One more look. The first only sets the marks from which is counted; without a guard, only counts are kept.

    Requests of the candidate that came before the end of the shadow was seen at the gateway are copies, too.
    """
    if not old.looked:
        state = evidence.start(_outputs(look), add((look.stable.gateway, _sum(look.stable.replicas))))
        return Evidence(looked=look.now, candidate=look.candidate, stable=look.stable, state=state)
    seen = evidence.Observation(
        seconds=min(max(look.now - old.looked, 0.0), LONGEST_LOOK),
        candidate=_between(look.candidate, old.candidate),
        stable=_between(look.stable, old.stable),
        metrics=look.metrics,
        troubles=look.troubles,
    )
    copies = seen.candidate.requests if look.joined is not None or old.copying else 0
    fresh = msgspec.structs.replace(
        old,
        looked=look.now,
        candidate=look.candidate,
        stable=look.stable,
        copied=old.copied + copies,
        copying=look.joined is not None,
    )
    if look.joined is not None and shadow is not None:
        fresh = _compare(look, seen.seconds, fresh, declared, shadow)
    if shadow is not None and declared is not None:
        declared = msgspec.structs.replace(declared, alpha=declared.alpha * (1 - COMPARISON))
    if declared is None:
        total = add((old.state.candidate, seen.candidate))
        return msgspec.structs.replace(fresh, state=msgspec.structs.replace(old.state, candidate=total))
    decision, state = guard.judge(declared, seen, old.state)
    return msgspec.structs.replace(
        fresh,
        state=state,
        verdict=decision.verdict,
        reason=decision.reason,
        log_e=decision.log_e,
        limit=decision.limit,
    )


def _compare(look: Look, seconds: float, old: Evidence, declared: Guard | None, shadow: Shadow) -> Evidence:
    """Fold in the answers that came."""
    found = tally(old.shadow or Tally(), look.joined or Joined(), shadow.tolerance, seconds)
    guard = declared or PLAIN
    verdict = agreement.judge(shadow, found, look.spent, comparison_alpha(declared), guard.patience)
    return msgspec.structs.replace(old, shadow=found, compared=verdict)


def comparison_alpha(declared: Guard | None) -> float:
    """At which level the answers of a shadow are compared, so that both together keep to the guard's."""
    return declared.alpha * COMPARISON if declared else PLAIN.alpha


def _outputs(look: Look) -> tuple[str, ...]:
    """The outputs that the stable revision's replicas count."""
    return tuple({name for each in look.stable.replicas.values() for name in each.outputs})


def _sum(replicas: Mapping[str, Counts]) -> Counts:
    return msgspec.structs.replace(add(replicas.values()), requests=0, errors=0, latency={})


def _between(new: Arm, old: Arm) -> Counts:
    """Requests, errors and latency by the gateway, outputs by the replicas. A gateway that started anew, or let go of
    a cluster, tells nothing for one look: its counters cannot be told apart from those of before."""
    fell = new.gateway.requests < old.gateway.requests or new.gateway.errors < old.gateway.errors
    outside = Counts() if fell else since(new.gateway, old.gateway)
    if outside is new.gateway and old.gateway != Counts():
        outside = msgspec.structs.replace(outside, requests=new.gateway.requests - old.gateway.requests, latency={})
    inside = add(since(each, old.replicas.get(name, Counts())) for name, each in new.replicas.items())
    return msgspec.structs.replace(outside, outputs=inside.outputs)
