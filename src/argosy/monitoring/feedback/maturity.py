"""How long labels take: the distribution of delays where most predictions still wait for theirs. Pure.

Kaplan and Meier (1958), "Nonparametric estimation from incomplete observations": a prediction without a label is
censored at its age. Delays are counted in buckets 5 % wide, so counts of any number of predictions merge by adding.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

GROWTH = 1.05


def bucket(seconds: float) -> int:
    """The bucket of a delay: 0 up to a second, then 5 % wide each."""
    return 0 if seconds <= 1 else 1 + math.floor(math.log(seconds) / math.log(GROWTH))


def edge(index: int) -> float:
    """The upper edge of a bucket in seconds."""
    return GROWTH**index


class Delays(msgspec.Struct, frozen=True, kw_only=True):
    """The share of predictions that have a label within a time: `share[i]` within `edge(buckets[i])`.

    `error[i]` is its standard error (Greenwood). `coverage` is the share that ever gets one, as far as is known: it
    is too low as long as the oldest predictions still get labels.
    """

    buckets: tuple[int, ...] = ()
    share: tuple[float, ...] = ()
    error: tuple[float, ...] = ()

    @property
    def coverage(self) -> float:
        """The share at the end."""
        return self.share[-1] if self.share else 0.0

    def within(self, seconds: float) -> float:
        """The share of all predictions that have a label at this age; interpolated within a bucket."""
        if not self.buckets or seconds < 0:
            return 0.0
        before = 0.0
        for index, share in zip(self.buckets, self.share, strict=True):
            low, high = (0.0 if index == 0 else edge(index - 1)), edge(index)
            if seconds < high:
                return before + (share - before) * max(0.0, (seconds - low) / (high - low))
            before = share
        return before

    def maturity(self, seconds: float) -> float:
        """Of those that ever get a label, the share that has it at this age."""
        return min(1.0, self.within(seconds) / self.coverage) if self.coverage else 0.0


def estimate(labelled: Mapping[int, int], waiting: Sequence[tuple[float, int]]) -> Delays:
    """The distribution from labelled predictions by bucket of delay, and those that wait: (age in s, count).

    Within a bucket labels come before censoring, as usual.
    """
    censored: dict[int, int] = {}
    for age, count in waiting:
        place = bucket(max(0.0, age))
        censored[place] = censored.get(place, 0) + count
    risk = sum(labelled.values()) + sum(censored.values())
    survival, greenwood = 1.0, 0.0
    found: list[tuple[int, float, float]] = []
    for index in sorted(labelled.keys() | censored.keys()):
        events = labelled.get(index, 0)
        if events and risk > 0:
            survival *= 1 - events / risk
            greenwood += events / (risk * (risk - events)) if risk > events else 0.0
            found.append((index, 1 - survival, survival * math.sqrt(greenwood)))
        risk -= events + censored.get(index, 0)
    if not found:
        return Delays()
    buckets, share, error = zip(*found, strict=True)
    return Delays(buckets=buckets, share=share, error=error)
