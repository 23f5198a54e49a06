"""What is seen of one revision: counts that only grow, and what happened between two looks at them.

Latency is counted in log-spaced buckets of 5 %, so that histograms of replicas merge by adding and a factor is a shift.
"""

import math
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

GROWTH = 1.05
SMALLEST = 1e-4
BUCKETS = 332
MAX_CATEGORIES = 1000
OTHER = "other"

K = TypeVar("K", int, str)


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of one replica or one arm, counted since its start or over one tick.

    `errors` is a part of `requests`. `latency` counts successful requests by `bucket`. `outputs` counts predictions by
    output and category; numbers are named by `number_bin`.
    """

    requests: int = 0
    errors: int = 0
    latency: dict[int, int] = {}
    outputs: dict[str, dict[str, int]] = {}


def bucket(seconds: float) -> int:
    """The bucket of a latency: 0 up to 0.1 ms, then 5 % wide each, the last one for all from about 1,000 s."""
    if not seconds > SMALLEST:
        return 0
    return min(BUCKETS - 1, 1 + int(math.log(min(seconds, 1e9) / SMALLEST) / math.log(GROWTH)))


def edge(index: int) -> float:
    """The upper edge of a bucket in seconds; infinite for the last."""
    return math.inf if index >= BUCKETS - 1 else SMALLEST * GROWTH**index


def number_bin(value: float) -> str:
    """The bin of a predicted number: its sign and its power of two to a half, as `+3`, `-0`, `0` or `nan`."""
    if math.isnan(value):
        return "nan"
    if abs(value) < 1e-9:
        return "0"
    power = math.floor(2 * math.log2(min(abs(value), 1e18)))
    return f"{'-' if value < 0 else '+'}{power}"


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
