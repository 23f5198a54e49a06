"""Axes: round ticks for values and for times."""

import math
from datetime import UTC, datetime

STEPS = (60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400)


def ticks(low: float, high: float, count: int = 3) -> list[float]:
    """Round numbers from `low` to at least `high`."""
    span = high - low
    if not math.isfinite(span) or span < 1e-300:
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [each * step for each in range(first, last + 1)]


def moments(start: float, end: float, count: int = 6) -> list[tuple[float, str]]:
    """Round times (UTC) between two, with their labels."""
    span = end - start
    step = next((each for each in STEPS if span / each <= count), STEPS[-1])
    first = math.ceil(start / step) * step
    form = "%H:%M" if step < 86400 else "%d %b"
    return [
        (at, datetime.fromtimestamp(at, UTC).strftime("%d %b" if form == "%H:%M" and at % 86400 == 0 else form))
        for at in range(int(first), int(end) + 1, int(step))
    ]
