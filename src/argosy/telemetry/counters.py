"""Sums of counters, and what was counted between two readings of them, whatever restarted meanwhile. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from argosy.gateway.traffic import Bin, Traffic
from argosy.serving.counts import FLOOR_MS, MAX_CATEGORIES, OTHER, Counts, Work, bucket

GAUGES = ("active", "hosts", "healthy_hosts")
"""Fields of `Traffic` that are of this moment."""
COUNTERS = tuple(name for name in Traffic.__struct_fields__ if name not in (*GAUGES, "latency"))


class ProcessCounts(msgspec.Struct, frozen=True):
    """What one process of a replica has counted since it was `started` (seconds since 1970)."""

    started: float
    counts: Counts
    work: Work = Work()


class RevisionCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything counted of a revision at one moment. `replicas`: by process; None for one that did not answer.

    The gateway counts every answer a caller got, also where a replica crashed; it reports latency in whole
    milliseconds. Replicas report it to 5 %, and what they predicted.
    """

    gateway: Counts = Counts()
    replicas: dict[str, ProcessCounts | None] = {}

    @property
    def answered(self) -> dict[str, ProcessCounts]:
        return {name: each for name, each in self.replicas.items() if each is not None}

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that its replicas count."""
        return tuple({name for each in self.answered.values() for name in each.counts.outputs})


def add(parts: Iterable[Counts]) -> Counts:
    """The sum. Past 1,000 categories of one output, further ones count as `other`."""
    requests = errors = 0
    latency = Counter[int]()
    outputs: defaultdict[str, Counter[str]] = defaultdict(Counter)
    times: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for part in parts:
        requests += part.requests
        errors += part.errors
        latency.update(part.latency)
        for name, buckets in part.times.items():
            times[name].update(buckets)
        for name, counts in part.outputs.items():
            total = outputs[name]
            for category, count in counts.items():
                total[category if category in total or len(total) < MAX_CATEGORIES else OTHER] += count
    return Counts(
        requests=requests,
        errors=errors,
        latency=dict(latency),
        outputs={k: dict(v) for k, v in outputs.items()},
        times={k: dict(v) for k, v in times.items()},
    )


def since(new: Counts, old: Counts) -> Counts:
    """What a replica counted between two readings. A count that fell means a restart: then all of `new` is new."""
    fell = (
        new.requests < old.requests
        or new.errors < old.errors
        or Counter(old.latency) - Counter(new.latency)
        or any(Counter(counts) - Counter(new.outputs.get(name, {})) for name, counts in old.outputs.items())
    )
    if fell:
        return new
    return Counts(
        requests=new.requests - old.requests,
        errors=new.errors - old.errors,
        latency=dict(Counter(new.latency) - Counter(old.latency)),
        outputs={
            name: dict(Counter(counts) - Counter(old.outputs.get(name, {}))) for name, counts in new.outputs.items()
        },
        times={name: dict(Counter(each) - Counter(old.timed(name))) for name, each in new.times.items()},
    )


def traffic_since(new: Traffic, old: Traffic) -> Traffic:
    """What the gateway counted between two readings; gauges are those of now.

    Counters that fell count as nothing: a gateway that restarted cannot be told from one that dropped a cluster.
    """
    gauges = {field: getattr(new, field) for field in GAUGES}
    if new.completed < old.completed:
        return Traffic(**gauges)
    counts = {field: max(0, getattr(new, field) - getattr(old, field)) for field in COUNTERS}
    before = {(each.lower, each.width): each.count for each in old.latency}
    grown = (Bin(each.lower, each.width, each.count - before.get((each.lower, each.width), 0)) for each in new.latency)
    return Traffic(**counts, **gauges, latency=tuple(each for each in grown if each.count > 0))


def traffic_sum(parts: Iterable[Traffic]) -> Traffic:
    """The sum; gauges are those of the last part."""
    total, bins, last = Counter[str](), Counter[tuple[float, float]](), Traffic()
    for last in parts:
        total.update({field: getattr(last, field) for field in COUNTERS})
        bins.update({(each.lower, each.width): each.count for each in last.latency})
    latency = tuple(Bin(lower, width, count) for (lower, width), count in sorted(bins.items()))
    return msgspec.structs.replace(last, **total, latency=latency)


def counts(traffic: Traffic, floor_ms: float = FLOOR_MS) -> Counts:
    """The gateway's counters: errors are 5xx answers and failed gRPC calls, latency is that of whole answers."""
    latency = Counter[int]()
    for each in traffic.latency:
        latency[bucket(max(each.lower + each.width / 2, floor_ms) / 1000)] += each.count
    errors = traffic.errors + traffic.grpc_failures
    return Counts(requests=traffic.completed, errors=errors, latency=dict(latency))


def history(revision: RevisionCounts, *, fine: bool) -> Counts:
    """All that was counted of a revision by now."""
    return _combined(revision.gateway, add(each.counts for each in revision.answered.values()), fine=fine)


def carried(new: RevisionCounts, old: RevisionCounts) -> RevisionCounts:
    """`new`, to compare the next reading with: for a process that did not answer, its reading in `old`."""
    replicas = {name: each or old.replicas.get(name) for name, each in new.replicas.items()}
    return msgspec.structs.replace(new, replicas=replicas)


def between(new: RevisionCounts, old: RevisionCounts, read: float, *, fine: bool) -> Counts:
    """What was counted since the reading `old`, made at `read` (seconds since 1970): requests and errors by the
    gateway, outputs by the replicas, and latency by the replicas if `fine`.

    A gateway that restarted, or dropped a cluster, counts as nothing for one reading.
    """
    fell = new.gateway.requests < old.gateway.requests or new.gateway.errors < old.gateway.errors
    outside = Counts() if fell else since(new.gateway, old.gateway)
    if outside is new.gateway and old.gateway != Counts():
        outside = msgspec.structs.replace(
            outside, requests=new.gateway.requests - old.gateway.requests, latency={}, times={}, outputs={}
        )
    return _combined(outside, add(_inside(new, old, read)), fine=fine)


def _inside(new: RevisionCounts, old: RevisionCounts, read: float) -> Iterator[Counts]:
    """By process. One that was there before and has not answered until now begins to count here."""
    for name, each in new.answered.items():
        before = old.replicas.get(name)
        if before is not None:
            yield since(each.counts, before.counts)
        elif each.started >= read:
            yield each.counts


def _combined(outside: Counts, inside: Counts, *, fine: bool) -> Counts:
    latency = inside.latency if fine else outside.latency
    return msgspec.structs.replace(outside, latency=latency, outputs=inside.outputs or outside.outputs)
