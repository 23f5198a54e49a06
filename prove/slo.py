"""`python -m prove.slo`: 4 requests a minute with 99.9 %: how soon an outage pages, how rarely nothing does.

Outages go through `monitoring.slo.policy`, observation by observation. False pages are counted over many simulated
years: looks between two bad requests are folded into one, which changes nothing (tests/monitoring/test_eprocess.py), so
that a year takes milliseconds. Beside it what tools of burn rates alone do with the same traffic: the table, without a
least number.
"""

import argparse
import math
import sys
import time

import numpy as np

from argosy.monitoring.eprocess import RateRise
from argosy.monitoring.slo import policy
from argosy.monitoring.slo.policy import SloObservation, SloState
from argosy.spec.slo import Slo

NINES = Slo(objective=0.999)
PER_MINUTE, TICK, WITHIN = 4.0, 10.0, 300.0
MINUTES = 365 * 1440


def outage(share: float, seed: int, longest: float = 3600.0) -> float:
    """Seconds from the start of an outage until the page; infinite if there is none within `longest`."""
    rng, state, now = np.random.default_rng(seed), SloState(), 1.8e9
    for moment in range(int((7200 + longest) / TICK)):
        now += TICK
        total = int(rng.poisson(PER_MINUTE * TICK / 60))
        bad = int(rng.binomial(total, share if moment * TICK >= 7200 else 0.001))
        verdict, state = policy.evaluate(NINES, SloObservation(now=now, seconds=TICK, total=total, bad=bad), state)
        if verdict.severity == "page" and moment * TICK >= 7200:
            return (moment + 1) * TICK - 7200
    return math.inf


def false_pages(rate: float, years: int, seed: int) -> tuple[int, int]:
    """Pages in so many years in which requests are bad at this rate all the time: ours, and the table's alone."""
    rng = np.random.default_rng(seed)
    count = int(rng.poisson(rate * PER_MINUTE * MINUTES * years))
    times = np.sort(rng.random(count) * MINUTES * years * 60)
    good = rng.poisson(np.diff(times, prepend=0.0) / 60 * PER_MINUTE * (1 - rate))
    bound = min(rule.factor for rule in policy.rules(NINES) if rule.severity == "page") * NINES.budget
    limit, state, pages = math.log(policy.YEAR / TICK / NINES.false_pages), RateRise(), 0
    for between in good.tolist():
        state = state.after(0, between, bound).after(1, 1, bound)
        if state.log_e >= limit:
            pages, state = pages + 1, RateRise()
    return pages, table_pages(times)


def table_pages(times: np.ndarray) -> int:
    """Incidents of the table's pages: at a bad request both windows have as many as the burn asks for, of requests that
    come evenly. What pages within six hours of another is the same incident."""
    index = np.arange(len(times))
    fires = np.zeros(len(times), dtype=bool)
    for rule in policy.rules(NINES):
        if rule.severity == "page":
            both = np.ones(len(times), dtype=bool)
            for seconds in (rule.long, rule.short):
                bad = index - np.searchsorted(times, times - seconds) + 1
                both &= bad >= rule.factor * NINES.budget * PER_MINUTE * seconds / 60
            fires |= both
    at = times[fires]
    return int((np.diff(at, prepend=-math.inf) > 6 * 3600).sum()) if len(at) else 0


def main() -> int:
    """1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m prove.slo", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs")
    options = parser.parse_args()
    runs, years, began = (40, 30, time.monotonic()) if options.quick else (400, 300, time.monotonic())
    good = True
    for share in (1.0, 0.5, 0.2, 0.1):
        found = np.array([outage(share, seed) for seed in range(runs)])
        within = float((found <= WITHIN).mean())
        print(
            f"outage of {share:.0%}: page after {np.median(found) / 60:.1f} minutes (median), "
            f"{np.quantile(found, 0.95, method='higher') / 60:.1f} (95 %); {within:.1%} within five; {runs} outages"
        )
        good &= share < 0.5 or within >= 0.95
    for name, rate in (("half the budget", 0.0005), ("exactly the budget", 0.001), ("the bound itself", 0.006)):
        ours, table = false_pages(rate, years, 1)
        print(
            f"{rate:.2%} bad all year ({name}): {ours / years:.2f} pages a year; the burn-rate table alone "
            f"{table / years:.2f}; {years} years"
        )
        good &= ours <= years
    print(f"{time.monotonic() - began:.0f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
