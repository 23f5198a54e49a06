"""One arm of a rollout as it is counted: by the gateway from outside, and by each of its replicas from inside. Pure."""

from collections.abc import Iterable

import msgspec

from argosy.gateway.traffic import Traffic
from argosy.serving.counts import Counts, bucket
from argosy.telemetry.counts import add, since

FLOOR_MS = 5.0
"""Envoy counts whole milliseconds: below this, one more of them looks like a model that became much slower."""


class Told(msgspec.Struct, frozen=True):
    """What one process of a replica has counted since it was `started` (seconds since 1970)."""

    started: float
    counts: Counts


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """Everything counted of a revision at one moment. `replicas`: by process; None for one that did not answer.

    The gateway counts every answer a caller got, also where a replica crashed; it tells latency in whole milliseconds.
    Replicas tell it to 5 %, and what they predicted.
    """

    gateway: Counts = Counts()
    replicas: dict[str, Told | None] = {}

    @property
    def told(self) -> dict[str, Told]:
        """Those that answered."""
        return {name: each for name, each in self.replicas.items() if each is not None}

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that its replicas count."""
        return tuple({name for each in self.told.values() for name in each.counts.outputs})


def counts(traffic: Traffic) -> Counts:
    """The gateway's counters as the guard's: errors are 5xx answers and failed gRPC calls, latency whole answers."""
    latency: dict[int, int] = {}
    for each in traffic.latency:
        place = bucket(max(each.lower + each.width / 2, FLOOR_MS) / 1000)
        latency[place] = latency.get(place, 0) + each.count
    return Counts(requests=traffic.completed, errors=traffic.errors + traffic.grpc_failures, latency=latency)


def history(arm: Arm, *, fine: bool) -> Counts:
    """All that is known of an arm by now."""
    return _seen(arm.gateway, add(each.counts for each in arm.told.values()), fine=fine)


def marked(new: Arm, old: Arm) -> Arm:
    """The arm as the next look is compared with it: a process that did not answer stands where it stood."""
    kept = {name: each or old.replicas.get(name) for name, each in new.replicas.items()}
    return msgspec.structs.replace(new, replicas=kept)


def between(new: Arm, old: Arm, looked: float, *, fine: bool) -> Counts:
    """What happened since the last look, at `looked`: requests and errors by the gateway, outputs by the replicas, and
    latency by the replicas if `fine`.

    A gateway that started anew, or let go of a cluster, tells nothing for one look: its counters cannot be told apart
    from those of before.
    """
    fell = new.gateway.requests < old.gateway.requests or new.gateway.errors < old.gateway.errors
    outside = Counts() if fell else since(new.gateway, old.gateway)
    if outside is new.gateway and old.gateway != Counts():
        outside = msgspec.structs.replace(outside, requests=new.gateway.requests - old.gateway.requests, latency={})
    return _seen(outside, add(_inside(new, old, looked)), fine=fine)


def _inside(new: Arm, old: Arm, looked: float) -> Iterable[Counts]:
    """By process. One that was there before and has not answered until now begins to count here."""
    for name, each in new.told.items():
        before = old.replicas.get(name)
        if before is not None:
            yield since(each.counts, before.counts)
        elif each.started >= looked:
            yield each.counts


def _seen(outside: Counts, inside: Counts, *, fine: bool) -> Counts:
    latency = inside.latency if fine else outside.latency
    return msgspec.structs.replace(outside, latency=latency, outputs=inside.outputs)
