"""What a figure says beside that of the reference. Pure."""

import math

import msgspec

from argosy.monitoring.performance.estimate import Estimate
from argosy.monitoring.performance.fall import Fall, look
from argosy.spec.monitor import REGRESSION

FELL, BELOW, EXPECTED, MEASURED = "fell", "below", "as expected", "measured"
"""Beyond the margin, and proven; beyond it, by chance perhaps; within it; without a reference to compare with."""


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """Where a metric becomes too bad: its value on the reference and what the margin leaves of it."""

    metric: str
    reference: Estimate
    margin: float

    @property
    def bound(self) -> float:
        """The worst value within the margin."""
        value = self.reference.value
        return value * (1 + self.margin) if self.metric in REGRESSION else value - self.margin

    def shortfall(self, value: float) -> float:
        """By how much a value is worse than the bound; negative where it is better."""
        return value - self.bound if self.metric in REGRESSION else self.bound - value

    def judged(self, found: Estimate, state: Fall) -> Fall:
        """One more window. What is not known of the reference and of the calibration is no evidence, since it is the
        same in every window."""
        slack = 2 * math.hypot(self.reference.sampling, found.calibration)
        return look(state, self.shortfall(found.value) - slack, found.sampling)

    def verdict(self, value: float, fallen: bool) -> str:
        """In a word. `fallen`: whether the evidence says so by now."""
        if self.shortfall(value) <= 0:
            return EXPECTED
        return FELL if fallen else BELOW
