"""Figures of performance with their intervals, and what they say beside those of the reference. Pure."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from argosy.monitoring.eprocess import Fall
from argosy.monitoring.performance.ratio import Overlap
from argosy.spec.monitor import REGRESSION
from argosy.store.findings import Finding, Span, Verdict

Z = 1.959964
"""Each end of an interval errs with probability 2.5 %."""


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
    """Every metric by its name. Where nothing can be estimated there are none, and `reason` says why."""

    estimates: Mapping[str, Estimate]
    rows: int
    overlap: Overlap | None = None
    reason: str = ""


def within(
    value: float, sampling: float, calibration: float = 0.0, bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """A normal interval, cut at the bounds of the metric."""
    half = Z * math.hypot(sampling, calibration)
    low, high = max(bounds[0], value - half), min(bounds[1], value + half)
    return Estimate(value=value, low=low, high=high, sampling=sampling, calibration=calibration)


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

    def after(self, found: Estimate, state: Fall) -> Fall:
        """One more window. What is not known of the reference and of the calibration is no evidence, since it is the
        same in every window."""
        slack = 2 * math.hypot(self.reference.sampling, found.calibration)
        return state.after(self.shortfall(found.value) - slack, found.sampling)

    def verdict(self, value: float, fallen: bool) -> Verdict:
        """`fallen`: whether the evidence says so by now."""
        if self.shortfall(value) <= 0:
            return Verdict.EXPECTED
        return Verdict.FELL if fallen else Verdict.BELOW


def figure(
    span: Span,
    kind: str,
    metric: str,
    found: Estimate,
    rows: int,
    bar: Bar | None,
    *,
    fallen: bool,
    detail: Mapping[str, Any],
) -> Finding:
    """The finding of a metric with its interval."""
    text = f"{metric} {found.value:.3f} ({found.low:.3f} to {found.high:.3f}) over {rows:,} rows"
    more: dict[str, Any] = {}
    verdict = Verdict.MEASURED
    if bar is not None:
        text += f", {bar.reference.value:.3f} on the reference"
        more = {"margin": bar.margin, "reference": bar.reference.value}
        verdict = bar.verdict(found.value, fallen)
    more = {**detail, "text": text, **more}
    return span.finding(kind, metric, rows, verdict, effect=found.value, low=found.low, high=found.high, detail=more)
