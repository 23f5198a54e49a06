"""Has a metric fallen below a bound? Windows are judged one after the other, for as long as one likes.

A window's shortfall in standard deviations, x, is at most standard normal while the metric is at the bound or better,
so that e = exp(λx − λ²/2) has a mean of at most 1 for any λ ≥ 0. The CUSUM M ← max(M, 1)·e is an e-detector, and so is
the mean of several (Shin, Ramdas, Rinaldo 2023, "E-detectors"): with alarms at M ≥ A there are on average at least A
windows until a false one. A large λ finds a large fall at once, a small one a small fall that stays.
"""

import math

import msgspec

GUESSES = (0.5, 1.0, 2.0, 4.0)
MOST = 30.0
"""A shortfall beyond this adds no further evidence: no normal approximation reaches there."""

WINDOWS = 2160.0
"""Windows until a false alarm, at least, on average: a quarter of hours."""


class Fall(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered: ln of the CUSUM of each guess, and whether the metric has fallen and not come back."""

    logs: tuple[float, ...] = (0.0,) * len(GUESSES)
    fallen: bool = False


def look(state: Fall, shortfall: float, deviation: float, run_length: float = WINDOWS) -> Fall:
    """One more window, `shortfall` below the bound (negative: above it), known up to `deviation`.

    Once fallen it stays so until a window is not below the bound; then evidence begins anew.
    """
    if state.fallen:
        return state if shortfall > 0 else Fall()
    x = min(shortfall / max(deviation, 1e-12), MOST)
    logs = tuple(max(log, 0.0) + g * x - g * g / 2 for log, g in zip(state.logs, GUESSES, strict=True))
    return Fall(logs=logs, fallen=evidence(logs) >= math.log(run_length))


def evidence(logs: tuple[float, ...]) -> float:
    """ln of the mean of the CUSUMs."""
    top = max(logs)
    return top + math.log(sum(math.exp(log - top) for log in logs) / len(logs))
