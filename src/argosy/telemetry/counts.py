"""What is seen of one revision: the counts of its replicas together, and what happened between two looks at them."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from argosy.serving.counts import MAX_CATEGORIES, OTHER, Counts

K = TypeVar("K", int, str)


def add(parts: Iterable[Counts]) -> Counts:
    """The sum. Past 1,000 categories of one output, further ones count as `other`."""
    requests = errors = 0
    latency: dict[int, int] = {}
    outputs: dict[str, dict[str, int]] = {}
    for part in parts:
        requests += part.requests
        errors += part.errors
        _pour(latency, part.latency)
        for name, counts in part.outputs.items():
            _pour_bounded(outputs.setdefault(name, {}), counts)
    return Counts(requests=requests, errors=errors, latency=latency, outputs=outputs)


def since(new: Counts, old: Counts) -> Counts:
    """What happened between two looks at one replica. A count that fell means a restart: then all of `new` is new."""
    if _fell(new, old):
        return new
    return Counts(
        requests=new.requests - old.requests,
        errors=new.errors - old.errors,
        latency=_minus(new.latency, old.latency),
        outputs={name: _minus(counts, old.outputs.get(name, {})) for name, counts in new.outputs.items()},
    )


def tick(new: Mapping[str, Counts], old: Mapping[str, Counts]) -> Counts:
    """What happened on one arm between two looks at its replicas, by their names. A replica that left adds nothing."""
    return add(since(counts, old.get(name, Counts())) for name, counts in new.items())


def _fell(new: Counts, old: Counts) -> bool:
    return (
        new.requests < old.requests
        or new.errors < old.errors
        or any(new.latency.get(key, 0) < count for key, count in old.latency.items())
        or any(
            new.outputs.get(name, {}).get(key, 0) < count
            for name, counts in old.outputs.items()
            for key, count in counts.items()
        )
    )


def _minus(new: Mapping[K, int], old: Mapping[K, int]) -> dict[K, int]:
    return {key: count - old.get(key, 0) for key, count in new.items() if count != old.get(key, 0)}


def _pour(into: dict[K, int], counts: Mapping[K, int]) -> None:
    for key, count in counts.items():
        into[key] = into.get(key, 0) + count


def _pour_bounded(into: dict[str, int], counts: Mapping[str, int]) -> None:
    for key, count in counts.items():
        place = key if key in into or len(into) < MAX_CATEGORIES else OTHER
        into[place] = into.get(place, 0) + count
