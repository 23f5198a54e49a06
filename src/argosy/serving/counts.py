"""What is counted of one replica or one revision: numbers that only grow.

Latency is counted in log-spaced buckets of 5 %, so that histograms of replicas merge by adding and a factor is a shift.
"""

import math

import msgspec

from argosy.spec.guard import LATENCY, LONGER, SHORTER

GROWTH = 1.05
SMALLEST = 1e-4
BUCKETS = 332
MAX_CATEGORIES = 1000
OTHER = "other"
FLOOR_MS = 5.0
"""Envoy counts whole milliseconds: below this, one more of them looks like a model that became much slower."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of one replica or one revision, counted since its start or over one tick.

    `errors` is a part of `requests`. `latency` counts successful requests by `bucket`. `outputs` counts predictions by
    output and category; numbers are named by `number_bin`. `times` are those of a language model's answers, by
    FIRST_TOKEN, TOKEN and SPEED of `spec.guard`, each by `bucket`; LONGER has their lengths, with a millisecond for
    each token; REFUSALS how many were one (1) and how many were not (0).
    """

    requests: int = 0
    errors: int = 0
    latency: dict[int, int] = {}
    outputs: dict[str, dict[str, int]] = {}
    times: dict[str, dict[int, int]] = {}

    def timed(self, name: str) -> dict[int, int]:
        """Times of this name by `bucket`; latency is one."""
        return self.latency if name == LATENCY else self.times.get(LONGER if name == SHORTER else name, {})


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica did since its start: requests `answered`, failures included; seconds that the `engine` ran and the
    event `loop` computed; and how many requests are `queued` now. An engine that answers callers itself has `slots`,
    and its seconds are those of all of them."""

    answered: int = 0
    engine: float = 0.0
    loop: float = 0.0
    queued: int = 0
    slots: int = 0

    @property
    def busy(self) -> float:
        """Seconds of the one that was busy longer: the other can take as many requests at least."""
        return max(self.engine, self.loop)


class ReplicaCounts(Counts, frozen=True, kw_only=True):
    """What a replica reports of a model."""

    work: Work = Work()


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
