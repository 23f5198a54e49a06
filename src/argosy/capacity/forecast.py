"""The load one cold start ahead: what it is now, its trend, and how far such forecasts were off. Pure.

The load is smoothed over `window`. One horizon of growth is regressed on the one before it, which tells
how much of a trend lasts (none in noise, all of it in a ramp); the errors that this forecast would have made over the
history give the quantile that is added. While the history is short, the sampling error of the mean stands in.
"""

import math
from statistics import NormalDist
from typing import Any

import msgspec
import numpy as np

from argosy.capacity.load import Load

Floats = np.ndarray[Any, np.dtype[np.float64]]

SURPRISE = 3.0
"""Standard errors by which the latest load must exceed the mean to be believed at once."""
PEAKEDNESS = 20.0
"""The most that bursts may inflate the variance of the load."""


class Forecast(msgspec.Struct, frozen=True, gc=False):
    """Slots: `now` (smoothed), `trend` (expected growth), `margin` (for being wrong); `peakedness` at least 1."""

    now: float
    trend: float
    margin: float
    peakedness: float

    @property
    def high(self) -> float:
        """The load to be ready for."""
        return self.now + self.trend + self.margin


def predict(load: Load, *, horizon: float, window: float, confidence: float, service_time: float) -> Forecast:
    """Forecast the load `horizon` seconds from now, to be exceeded with probability 1 - `confidence`."""
    series = np.array(load.means or (load.now,))
    span = max(round(window / load.width), 1) if load.width else 1
    smooth = _smooth(series, span)
    peakedness = _peakedness(load, smooth, span, service_time)
    seconds = min(span, len(series)) * load.width
    error = _standard_error(smooth[-1], service_time, seconds, peakedness)
    now = max(float(smooth[-1]), _sudden(load, series, span, service_time, peakedness))
    steps = max(round(horizon / load.width), 1) if load.width else 1
    trend, margin = _growth(smooth[span:], steps, confidence) or (
        0.0,
        NormalDist().inv_cdf(confidence) * error * math.sqrt(2),
    )
    return Forecast(now, max(trend, -now), max(margin, 0.0), peakedness)


def _sudden(load: Load, series: Floats, span: int, service_time: float, peakedness: float) -> float:
    """What the load has risen to at least, by its latest value and its means over shorter times than the window."""
    found = load.now - SURPRISE * _standard_error(load.now, service_time, load.width, peakedness)
    length = 1
    while length < min(span, len(series)):
        mean = float(series[-length:].mean())
        found = max(found, mean - SURPRISE * _standard_error(mean, service_time, length * load.width, peakedness))
        length *= 2
    return found


def _smooth(series: Floats, span: int) -> Floats:
    """The mean of the last `span` values at each place, of fewer at the beginning."""
    sums = np.concatenate(([0.0], np.cumsum(series)))
    last = np.arange(1, len(series) + 1)
    first = np.maximum(last - span, 0)
    return (sums[last] - sums[first]) / (last - first)


def _standard_error(load: float, service_time: float, seconds: float, peakedness: float) -> float:
    """Of a mean over `seconds` of a load whose requests last `service_time`: two such times make one sample."""
    share = 2 * service_time / (2 * service_time + seconds) if service_time > 0 else 1.0
    return math.sqrt(max(load, 0.0) * peakedness * share)


def _peakedness(load: Load, smooth: Floats, span: int, service_time: float) -> float:
    """Variance of the load around its smoothed series, over what Poisson arrivals would show."""
    if len(load.means) < 2 * span:
        return 1.0
    variance = np.mean(np.array(load.squares) - 2 * smooth * np.array(load.means) + smooth * smooth)
    expected = float(np.mean(smooth))
    ratio = float(variance) / expected if expected > 0 else 1.0
    return min(max(ratio, 1.0), PEAKEDNESS)


def _growth(smooth: Floats, steps: int, confidence: float) -> tuple[float, float] | None:
    """Expected growth over the next `steps`, and the quantile of what such expectations missed.

    None unless the series spans more than two horizons.
    """
    growth = smooth[steps:] - smooth[:-steps]
    before, after = growth[:-steps], growth[steps:]
    if not len(after):
        return None
    power = float(before @ before)
    lasting = min(max(float(before @ after) / power, 0.0), 1.0) if power > 0 else 0.0
    return lasting * float(growth[-1]), float(np.quantile(after - lasting * before, confidence))
