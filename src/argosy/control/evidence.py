"""From what gateway and replicas counted to what the guard says: what both arms did since the last look. Pure."""

from collections.abc import Mapping

import msgspec

from argosy.control.rollout import LONGEST_LOOK
from argosy.gateway.traffic import Traffic
from argosy.monitoring import evidence, guard
from argosy.monitoring.arm import add, since
from argosy.serving.counts import Counts, bucket
from argosy.spec.guard import Guard

FRESH = evidence.State()


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """Everything counted of a revision at one moment: by the gateway, and by each of its replicas."""

    gateway: Counts = Counts()
    replicas: dict[str, Counts] = {}


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a rollout's arms, and the guard's own memory and last words.

    `looked` is the time of the last look (seconds since 1970), 0 before the first. Kept with the rollout, so that a
    controller that starts anew goes on with it.
    """

    looked: float = 0.0
    candidate: Arm = Arm()
    stable: Arm = Arm()
    state: evidence.State = FRESH
    verdict: guard.Verdict = "hold"
    reason: str = ""
    log_e: float = 0.0
    limit: float = 0.0

    @property
    def exposed(self) -> int:
        """Requests that the candidate has answered in this rollout."""
        return self.state.candidate.requests


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One look at both arms at `now`, and the user's metrics, as (candidate, stable); why some did not come."""

    now: float
    candidate: Arm
    stable: Arm
    metrics: dict[str, tuple[float | None, float | None]] = {}
    troubles: dict[str, str] = {}


FLOOR_MS = 5.0
"""Envoy counts whole milliseconds: below this, one more of them looks like a model that became much slower."""


def counts(traffic: Traffic) -> Counts:
    """The gateway's counters as the guard's: errors are 5xx answers and failed gRPC calls, latency whole answers."""
    latency: dict[int, int] = {}
    for each in traffic.latency:
        place = bucket(max(each.lower + each.width / 2, FLOOR_MS) / 1000)
        latency[place] = latency.get(place, 0) + each.count
    return Counts(requests=traffic.completed, errors=traffic.errors + traffic.grpc_failures, latency=latency)


def learn(look: Look, old: Evidence, declared: Guard | None) -> Evidence:
    """One more look. The first only sets the marks from which is counted; without a guard, only counts are kept."""
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
    fresh = msgspec.structs.replace(old, looked=look.now, candidate=look.candidate, stable=look.stable)
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
