"""What an estimator of performance answers: a figure with its interval for each metric, or the reason for none."""

import math
from collections.abc import Mapping

import msgspec

from argosy.monitoring.performance.overlap import Overlap


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """One metric over one window of rows.

    The interval is for what the labels, once they come, will say about these very rows. `sampling` is the standard
    deviation that the labels' own chance leaves, `calibration` the one of what was learnt from the reference.
    """

    value: float
    low: float
    high: float
    sampling: float
    calibration: float


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """Every metric by its name. Where the window cannot be judged `estimates` is empty and `reason` says why."""

    estimates: Mapping[str, Estimate]
    rows: int
    overlap: Overlap | None = None
    reason: str = ""

    @property
    def estimable(self) -> bool:
        """Whether there are figures."""
        return not self.reason


def within(
    value: float, sampling: float, calibration: float, z: float, bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """A normal interval of z standard deviations to each side, cut at the bounds of the metric."""
    half = z * math.hypot(sampling, calibration)
    low, high = max(bounds[0], value - half), min(bounds[1], value + half)
    return Estimate(value=value, low=low, high=high, sampling=sampling, calibration=calibration)
