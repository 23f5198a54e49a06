"""The rules other rollout tools apply, re-implemented from their documentation, on the same simulated streams.

Each function gives two arrays over rollouts: seconds until the rollback (inf: never) and requests the candidate served.
Errors are judged by all three, latency by Kayenta and by Flagger's sample; what a rule does not look at it cannot see.
"""

import math

import numpy as np
from scipy.special import ndtri

from prove.streams import RATE, STABLE_ERRORS, Arrays, Scenario

MINUTE = 60


def kayenta(scenario: Scenario, rollouts: int, seed: int) -> tuple[Arrays, Arrays]:
    """Mann–Whitney on per-minute aggregates of candidate and an equal-sized baseline, after 30 and 60 minutes.

    A metric fails when the 98 % interval of the Hodges–Lehmann shift lies beyond 25 % of its estimate; any that fails
    rolls back. Ten metrics: error ratio, mean latency, and eight that are drawn alike on both arms.
    """
    rng = np.random.default_rng(seed)
    per = int(RATE * scenario.share * MINUTE)
    hit = np.full(rollouts, np.inf)
    for index in range(rollouts):
        arms = [_minutes(rng, per, errors, scenario if errors else None) for errors in (scenario.errors, None)]
        for minutes in (30, 60):
            if any(_worse(a[:minutes], b[:minutes]) for a, b in zip(*arms, strict=True)):
                hit[index] = minutes * MINUTE
                break
    return hit, np.minimum(hit, 3600) * RATE * scenario.share


def _minutes(rng: np.random.Generator, per: int, errors: float | None, scenario: Scenario | None) -> list[Arrays]:
    ratio = rng.binomial(per, STABLE_ERRORS if errors is None else errors, 60) / per
    latency = (scenario or Scenario("")).latencies(rng, 60 * per).reshape(60, per).mean(axis=1)
    return [ratio, latency, *rng.standard_normal((8, 60))]


def _worse(candidate: Arrays, stable: Arrays) -> bool:
    n = len(candidate)
    differences = np.sort((candidate[:, None] - stable[None, :]).ravel())
    rank = n * n / 2 - float(ndtri(0.99)) * math.sqrt(n * n * (2 * n + 1) / 12)
    return bool(differences[int(rank)] > 0.25 * abs(float(np.median(differences))))


def flagger(scenario: Scenario, rollouts: int, seed: int) -> tuple[Arrays, Arrays]:
    """The sample canary: every minute, success ≥ 99 % and p99 ≤ 500 ms over the last minute; five failed checks roll
    back; every good check adds 5 % of traffic up to 50 %, then it is promoted."""
    rng = np.random.default_rng(seed)
    hit, served = np.full(rollouts, np.inf), np.zeros(rollouts)
    for index in range(rollouts):
        weight, failed = 0.05, 0
        for minute in range(1, 61):
            n = int(RATE * weight * MINUTE)
            served[index] += n
            slow = float(np.quantile(scenario.latencies(rng, n), 0.99)) > 0.5
            if rng.binomial(n, scenario.errors) / n > 0.01 or slow:
                failed += 1
            else:
                weight += 0.05
            if failed >= 5:
                hit[index] = minute * MINUTE
            if failed >= 5 or weight > 0.501:
                break
    return hit, served


def argo(scenario: Scenario, rollouts: int, seed: int) -> tuple[Arrays, Arrays]:
    """The documentation's example: every five minutes, success ≥ 95 %; the fourth failure aborts (failureLimit 3);
    20 % more traffic every ten minutes, so that the rollout ends after 50."""
    rng = np.random.default_rng(seed)
    hit, served, failed = np.full(rollouts, np.inf), np.zeros(rollouts), np.zeros(rollouts)
    for check in range(1, 11):
        n = int(RATE * 0.2 * math.ceil(check / 2) * 300)
        going = ~np.isfinite(hit)
        served += n * going
        failed += rng.binomial(n, scenario.errors, rollouts) / n > 0.05
        hit[going & (failed > 3)] = check * 300
    return hit, served
