"""How good predictions were, by the time they were made: counts, metrics, maturity."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

import msgspec

from argosy.monitoring.feedback import sql
from argosy.monitoring.feedback.folder import LabelFolder
from argosy.monitoring.feedback.sql import GROWTH
from argosy.store import duck


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


COUNTS = "version, hour, decision, label, n, absolute, squared"
MATURE = 0.8
"""The maturity from which a cohort's metric is worth an alarm: before it, those labelled may be a special kind."""


class Cohort(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions of one version made from `start` (UTC) on. `served` of them were logged, `labelled` have a label.

    `matrix` counts (predicted, true); `absolute` and `squared` are sums of errors where predictions are numbers.
    """

    version: str
    start: datetime
    served: int = 0
    labelled: int = 0
    matrix: Mapping[tuple[str, str], int] = {}
    absolute: Decimal = Decimal(0)
    squared: Decimal = Decimal(0)

    @property
    def accuracy(self) -> float | None:
        """The share of labelled predictions that were right; None for numbers and without labels."""
        total = sum(self.matrix.values())
        right = sum(count for (predicted, true), count in self.matrix.items() if predicted == true)
        return right / total if total else None

    @property
    def mae(self) -> float | None:
        """Mean absolute error; None without labels."""
        return float(self.absolute) / self.labelled if self.labelled else None

    @property
    def rmse(self) -> float | None:
        """Root of the mean squared error; None without labels."""
        return math.sqrt(max(0.0, float(self.squared) / self.labelled)) if self.labelled else None


class Performance(msgspec.Struct, frozen=True):
    """Every cohort by version and start, and how long labels take."""

    cohorts: tuple[Cohort, ...]
    delays: Delays

    def maturity(self, cohort: Cohort, now: datetime, length: timedelta) -> float:
        """The share of the labels it will ever get that a cohort of this length has, by the age of its middle."""
        return self.delays.maturity((now - cohort.start - length / 2).total_seconds())


def performance(folder: LabelFolder, now: datetime, by: Literal["hour", "day"] = "day") -> Performance:
    manifest = folder.manifest()
    if not manifest.served:
        return Performance((), Delays())
    made: dict[tuple[str, datetime], Cohort] = {}
    waiting: dict[tuple[str, datetime], int] = {}
    by_delay: dict[int, int] = {}

    def cohort(version: str, hour: datetime) -> Cohort:
        start = hour if by == "hour" else hour.replace(hour=0)
        return made.get((version, start), Cohort(version=version, start=start))

    with duck.opened(memory="256MB") as connection:
        files = sql.parquet([folder.path(name) for name in manifest.served])
        query = f"SELECT version, hour, sum(n) FROM {files} GROUP BY ALL"
        for version, hour, count in connection.execute(query).fetchall():
            old = cohort(version, hour)
            made[version, old.start] = msgspec.structs.replace(old, served=old.served + int(count))
            waiting[version, hour] = int(count)
        if manifest.cohorts:
            files = sql.parquet([folder.path(name) for name in manifest.cohorts.values()])
            query = f"SELECT {COUNTS} FROM {files} WHERE hour IS NOT NULL"
            for version, hour, decision, label, n, absolute, squared in connection.execute(query).fetchall():
                old, pair = cohort(version, hour), (decision, label)
                made[version, old.start] = msgspec.structs.replace(
                    old,
                    labelled=old.labelled + n,
                    matrix={**old.matrix, pair: old.matrix.get(pair, 0) + n} if pair != ("", "") else old.matrix,
                    absolute=old.absolute + absolute,
                    squared=old.squared + squared,
                )
                waiting[version, hour] = waiting.get((version, hour), 0) - n
            query = f"SELECT delay, sum(n) FROM {files} WHERE hour IS NULL GROUP BY delay"
            by_delay = {int(delay): int(count) for delay, count in connection.execute(query).fetchall()}
    ages = [((now - hour).total_seconds() - 1800, count) for (_, hour), count in waiting.items() if count > 0]
    return Performance(tuple(made[key] for key in sorted(made)), estimate(by_delay, ages))
