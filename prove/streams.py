"""Simulated rollouts by the thousand, through the same functions of `argosy.monitoring` the guard calls.

100 requests a second, each given to the candidate with probability 5 %; a look every second; ten metrics: errors,
latency, the predictions of ten classes, four bounded and three unbounded user metrics. The stable has a history.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from argosy.monitoring.analysis import errors, evidence, latency, predictions
from argosy.monitoring.analysis.evidence import SHARES
from argosy.monitoring.eprocess import log_e, mixture
from argosy.serving.counts import bucket, edge
from argosy.spec.guard import Guard

Arrays = npt.NDArray[np.float64]
RATE, SHARE, STABLE_ERRORS = 100, 0.05, 0.005
MEDIAN, SIGMA = 0.05, 0.6
HISTORY = 20_000
BOUNDED, UNBOUNDED, CLASSES = 4, 3, 10
ALPHA = 0.01
TOLERATED = latency.factor_buckets(Guard().latency_tolerance)


@dataclass(frozen=True)
class Scenario:
    """What the candidate does: its error rate, and a factor on the latency of a share of its requests."""

    name: str
    errors: float = STABLE_ERRORS
    factor: float = 1.0
    of: float = 1.0
    share: float = SHARE

    def latencies(self, rng: np.random.Generator, n: int) -> Arrays:
        """Seconds of n requests: lognormal, with median 50 ms and σ 0.6."""
        plain = MEDIAN * np.exp(SIGMA * rng.standard_normal(n))
        return plain if self.factor == 1 else plain * np.where(rng.random(n) < self.of, self.factor, 1.0)

    def below(self, seconds: float) -> float:
        """The share of requests faster than that."""
        return self.of * _below(seconds / self.factor) + (1 - self.of) * _below(seconds)


def _below(seconds: float) -> float:
    return 0.5 * math.erfc(-math.log(seconds / MEDIAN) / SIGMA / math.sqrt(2)) if seconds < math.inf else 1.0


@dataclass
class Watched:
    """The outcome over rollouts: seconds and candidate requests until the decision (inf: none)."""

    seconds: Arrays
    requests: Arrays


class Harm:
    """All ten e-processes of many rollouts at once."""

    def __init__(self, rng: np.random.Generator, scenario: Scenario, rollouts: int) -> None:
        self.rng, self.size = rng, rollouts
        self.scenario = scenario
        past = np.bincount(
            [bucket(float(x)) + TOLERATED for x in Scenario("").latencies(rng, HISTORY)], minlength=latency.BUCKETS
        )
        at = latency.cuts(past.astype(float))
        self.g = latency.slopes(latency.cells(past.astype(float), at))
        self.cells = [_masses(scenario, at), _masses(Scenario(""), at, TOLERATED)]
        self.past_n, self.past_k = (
            np.full(rollouts, float(HISTORY)),
            rng.binomial(HISTORY, STABLE_ERRORS, rollouts) * 1.0,
        )
        self.seen_c, self.seen_s = np.zeros((rollouts, CLASSES)), np.full((rollouts, CLASSES), HISTORY / CLASSES)
        self.errors = np.zeros((rollouts, len(errors.HARM_WEIGHTS)))
        self.latency = np.zeros((rollouts, len(latency.HARM_WEIGHTS)))
        self.predictions = np.zeros((rollouts, len(predictions.WEIGHTS)))
        self.bounded = np.zeros((BOUNDED, rollouts, len(evidence.WEIGHTS)))
        self.unbounded = np.zeros((UNBOUNDED, rollouts, len(evidence.WEIGHTS)))
        self.square, self.looks = np.zeros((UNBOUNDED, rollouts)), 0

    def tick(self, n_c: npt.NDArray[np.int64], n_s: npt.NDArray[np.int64]) -> Arrays:
        """One second: ln of the weighted average of E, by rollout."""
        rng = self.rng
        k_c, k_s = rng.binomial(n_c, self.scenario.errors), rng.binomial(n_s, STABLE_ERRORS)
        rate = errors.stable_rate(self.past_k, self.past_n)
        self.errors = errors.harm(self.errors, rate, n_c, k_c, n_s, k_s, 0.0)
        self.past_n, self.past_k = self.past_n + n_s, self.past_k + k_s
        c, s = rng.multinomial(n_c - k_c, self.cells[0]), rng.multinomial(n_s - k_s, self.cells[1])
        self.latency = latency.harm(self.latency, self.g, c, s)
        self._predictions(n_c - k_c, n_s - k_s)
        self._metrics()
        logs = [mixture(self.errors, errors.HARM_WEIGHTS), mixture(self.latency, latency.HARM_WEIGHTS)]
        logs += [mixture(self.predictions, predictions.WEIGHTS)]
        logs += [mixture(one, evidence.WEIGHTS) for one in (*self.bounded, *self.unbounded)]
        rest = (1 - sum(SHARES.values())) / (len(logs) - 2)
        return mixture(np.stack(logs, axis=-1), np.array([*SHARES.values(), *[rest] * (len(logs) - 2)]))

    def _predictions(self, n_c: npt.NDArray[np.int64], n_s: npt.NDArray[np.int64]) -> None:
        even = np.full(CLASSES, 1 / CLASSES)
        c, s = self.rng.multinomial(n_c, even), self.rng.multinomial(n_s, even)
        p, q = predictions.guesses(self.seen_c, self.seen_s)
        self.predictions = predictions.differ(self.predictions, p, q, c, s, 0.0)
        self.seen_c, self.seen_s = self.seen_c + c, self.seen_s + s

    def _metrics(self) -> None:
        d = self.rng.random((BOUNDED, self.size)) - self.rng.random((BOUNDED, self.size))
        self.bounded = evidence.bounded(self.bounded, d, 1.0)
        d = self.rng.standard_normal((UNBOUNDED, self.size)) - self.rng.standard_normal((UNBOUNDED, self.size))
        self.unbounded = evidence.unbounded(self.unbounded, d, self.square, np.float64(self.looks))
        self.square, self.looks = self.square + d * d, self.looks + 1


def _masses(scenario: Scenario, at: list[int], moved: int = 0) -> Arrays:
    ends = [scenario.below(edge(index - 1 - moved)) for index in at]
    return np.diff([0.0, *ends, 1.0])


def harm(scenario: Scenario, rollouts: int, seconds: int, seed: int) -> Watched:
    """Watch every second until the evidence of harm is 1/α."""
    rng = np.random.default_rng(seed)
    process = Harm(rng, scenario, rollouts)
    out = Watched(np.full(rollouts, np.inf), np.full(rollouts, np.inf))
    served = np.zeros(rollouts)
    for second in range(1, seconds + 1):
        n_c = rng.binomial(RATE, SHARE, rollouts)
        served += n_c
        new = (process.tick(n_c, RATE - n_c) >= math.log(1 / ALPHA)) & ~np.isfinite(out.seconds)
        out.seconds[new], out.requests[new] = second, served[new]
        if np.isfinite(out.seconds).all():
            break
    return out


class Safe:
    """The proofs a candidate needs before it may advance: errors within 0.5 points, p50 and p95 within × 1.25."""

    def __init__(self, rng: np.random.Generator, scenario: Scenario, rollouts: int, margin: float) -> None:
        self.rng, self.scenario, self.margin = rng, scenario, margin
        self.past_n, self.past_k = (
            np.full(rollouts, float(HISTORY)),
            rng.binomial(HISTORY, STABLE_ERRORS, rollouts) * 1.0,
        )
        self.errors, self.seen_c, self.seen_s = np.zeros((3, rollouts))
        self.latency = np.zeros((2, rollouts, len(latency.SAFE_WEIGHTS)))
        self.proven = np.zeros((3, rollouts), bool)

    def tick(self, n_c: npt.NDArray[np.int64], n_s: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """One second: which rollouts have every proof by now."""
        k_c, k_s = self.rng.binomial(n_c, self.scenario.errors), self.rng.binomial(n_s, STABLE_ERRORS)
        rate = errors.stable_rate(self.past_k, self.past_n)
        before = errors.paired(self.seen_c, self.seen_s)
        self.errors = errors.safe(self.errors, rate, before, n_c, k_c, n_s, k_s, self.margin, ALPHA)
        self.past_n, self.past_k = self.past_n + n_s, self.past_k + k_s
        self.seen_c, self.seen_s = self.seen_c + n_c, self.seen_s + n_s
        self._latency(n_c - k_c, n_s - k_s)
        evidence = [self.errors, *(mixture(one, latency.SAFE_WEIGHTS) for one in self.latency)]
        self.proven |= np.stack(evidence) >= math.log(1 / ALPHA)
        return self.proven.all(axis=0)

    def _latency(self, n_c: npt.NDArray[np.int64], n_s: npt.NDArray[np.int64]) -> None:
        for index, z in enumerate((0.0, 1.6449)):
            y = edge(bucket(MEDIAN * math.exp(SIGMA * z)))
            late = y * 1.05 ** latency.factor_buckets(1.25)
            b, a = 1 - _below(y), (1 - _below(late)) * np.array(latency.SAFE_FACTORS)
            over_c = self.rng.binomial(n_c, 1 - self.scenario.below(late))
            over_s = self.rng.binomial(n_s, b)
            block = log_e(*(x[:, None] for x in (n_c, over_c, n_s, over_s)), a, b)
            self.latency[index] += block


def safe(scenario: Scenario, rollouts: int, seconds: int, seed: int, margin: float = 0.005) -> Watched:
    """Watch every second until everything is proven."""
    rng = np.random.default_rng(seed)
    process = Safe(rng, scenario, rollouts, margin)
    out = Watched(np.full(rollouts, np.inf), np.full(rollouts, np.inf))
    served = np.zeros(rollouts)
    for second in range(1, seconds + 1):
        n_c = rng.binomial(RATE, SHARE, rollouts)
        served += n_c
        new = process.tick(n_c, RATE - n_c) & ~np.isfinite(out.seconds)
        out.seconds[new], out.requests[new] = second, served[new]
    return out
