"""Has a rate risen above a bound? A detector for any traffic, which needs counts only and no least number of them.

For each guess q above the bound p, requests that are bad (k of n) multiply e = (q/p)^k · ((1-q)/(1-p))^(n-k), whose
mean is ≤ 1 as long as the rate is at most p. The CUSUM M ← max(M, 1)·e is an e-detector, and so is a weighted mean of
several (Shin, Ramdas, Rinaldo 2023, "E-detectors: a nonparametric framework for sequential change detection"): with
alarms at M ≥ A there are on average at least A looks until a false one, whatever the traffic and its rhythm.
"""

import math
from collections.abc import Sequence

import msgspec

TINY = 1e-9


class Burst(msgspec.Struct, frozen=True):
    """ln of the CUSUM of each guess. Plain data: it may be stored and goes on after a crash."""

    logs: tuple[float, ...] = ()


def guesses(bound: float) -> tuple[float, ...]:
    """Rates above the bound: twice and five times its odds, and plain shares up to everything."""
    found = [_odds(bound, 2), _odds(bound, 5), *(bound + (1 - bound) * share for share in (0.1, 0.3, 0.6, 0.95))]
    return tuple(min(q, 1 - TINY) for q in found)


def _odds(p: float, factor: float) -> float:
    return factor * p / (1 - p + factor * p)


def look(state: Burst, bad: int, total: int, bound: float, rates: Sequence[float] = ()) -> Burst:
    """One more look: `bad` of `total` requests since the last, none being allowed. `bound` may differ between looks."""
    p = min(max(bound, TINY), 1 - TINY)
    rates = rates or guesses(p)
    logs = state.logs or (0.0,) * len(rates)
    return Burst(
        tuple(
            max(log, 0.0) + bad * math.log(q / p) + (total - bad) * math.log((1 - q) / (1 - p))
            for log, q in zip(logs, rates, strict=True)
        )
    )


def evidence(state: Burst) -> float:
    """ln of the mean of the CUSUMs: an alarm at ln A or above."""
    if not state.logs:
        return 0.0
    top = max(state.logs)
    return top + math.log(sum(math.exp(log - top) for log in state.logs) / len(state.logs))
