"""E-processes: evidence against a null that may be read at every moment, for monitors and rollouts alike.

An e-process has mean ≤ 1 under its null whenever it is stopped, so that P(ever ≥ 1/α) ≤ α (Ville). A weighted mean of
several is one too, however they depend on each other (`mixture`; Vovk, Wang, "E-values", 2021). To find a change that
begins at an unknown time, e-values are accumulated to a CUSUM, M ← max(M, 1)·e, or a Shiryaev-Roberts statistic,
R ← (R + 1)·e, or means of such: an alarm at A then comes after A windows on average or later while nothing changes
(Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", 2024). Evidence is
in natural logarithms throughout; arrays broadcast, as the proofs run thousands of rollouts at once.

`log_e` compares two samples of yes-or-no outcomes. One block is `n_c` requests of the candidate with `k_c` events and
`n_s` of the stable with `k_s`. For a null that is a half-plane θ_c ≤ θ_s + δ (or ≥) and a guess (a, b) outside of it,
made from what came before alone,

    E = Π p_a(candidate) / p_{x+δ}(candidate) · Π p_b(stable) / p_x(stable)

where x minimises n_c·KL(a ‖ x+δ) + n_s·KL(b ‖ x). E has mean ≤ 1 under every point of the null: each factor's mean is
linear in θ, ln(1+z) ≤ z, and what remains is minus the derivative of the KL sum at its minimum towards the null, which
is ≤ 0 as the null is convex. By the same step only the mean rates within a block matter, and they may change from block
to block (daily rhythm). Sources: Turner, Ly, Grünwald, "Generic e-variables for exact sequential k-sample tests that
allow for optional stopping" (2024); Turner, Grünwald, "Exact anytime-valid confidence intervals for contingency tables
and beyond" (2023).
"""

import math
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Number = Any
"""A float or an array that broadcasts."""

TINY = 1e-12
WINDOWS_PER_ALARM = 2160.0
"""Windows between two false alarms, at least, on average: a quarter of hours."""


def mixture(logs: Number, weights: Number | None = None) -> Floats:
    """ln Σ w·E along the last axis, of the plain mean without `weights`."""
    logs = np.asarray(logs, float)
    top = logs.max(axis=-1, keepdims=True)
    top = np.where(top == -np.inf, 0.0, top)
    scaled = np.exp(logs - top)
    with np.errstate(divide="ignore"):
        return top[..., 0] + np.log(scaled.mean(axis=-1) if weights is None else np.sum(weights * scaled, axis=-1))


def cusum(logs: Iterable[float], steps: Iterable[float]) -> tuple[float, ...]:
    """ln of each CUSUM after one more window with e-values of these logarithms."""
    return tuple(max(log, 0.0) + step for log, step in zip(logs, steps, strict=True))


def accumulate(roberts: Number, sums: Number, windows: Number, step: Number) -> tuple[Floats, Floats, Ints]:
    """ln of Shiryaev-Roberts statistic and CUSUM after one more window, and how many windows the CUSUM is above 1 for:
    where it last was at most 1, a change most likely began."""
    goes_on = np.asarray(sums) > 0
    return (
        np.logaddexp(0.0, roberts) + step,
        np.where(goes_on, sums, 0.0) + step,
        np.where(goes_on, windows, 0) + 1,
    )


def e_bh(logs: Floats, needed: float) -> Ints:
    """The k hypotheses of largest evidence, for the largest k whose k-th has at least D·needed/k: indices, largest
    first. With e-values and 1/α for `needed`, at most a share α of those named is named falsely, on average, however
    they depend on each other (Wang, Ramdas, "False discovery rate control with e-values", 2022)."""
    order = np.argsort(-logs, kind="stable")
    least = np.log(len(logs) * needed) - np.log(np.arange(1, len(logs) + 1))
    passing = np.flatnonzero(logs[order] >= least)
    return order[: passing[-1] + 1] if len(passing) else order[:0]


def named(logs: Floats, run_length: float) -> Ints:
    """Hypotheses to blame: none unless the mean of all evidence reaches the run length; then those of `e_bh`, or the
    first one alone where only all together pass."""
    if not len(logs) or mixture(logs) < math.log(run_length):
        return np.zeros(0, np.int64)
    found = e_bh(logs, run_length)
    return found if len(found) else np.argsort(-logs, kind="stable")[:1]


def calibrated(p: float) -> float:
    """ln of the e-value of a p-value: the mixture of all calibrators κ·p^(κ−1) over κ from 0 to 1 (Vovk, Wang 2021),
    (1 − p + p·ln p) / (p·ln² p). Below 1e-12 no approximation of a null can be trusted."""
    p = min(max(p, 1e-12), 1.0)
    if 1 - p < 1e-4:
        return math.log(0.5)
    log = math.log(p)
    return math.log((1 - p + p * log) / (p * log * log))


class RateRise(msgspec.Struct, frozen=True):
    """Has a rate risen above a bound? ln of the CUSUM of each guess of the risen rate.

    For a guess q above the bound p, k bad requests of n multiply e = (q/p)^k · ((1-q)/(1-p))^(n-k), whose mean is ≤ 1
    as long as the rate is at most p: for any traffic, and with no least number of requests.
    """

    logs: tuple[float, ...] = ()

    def after(self, bad: int, total: int, bound: float) -> "RateRise":
        """One more window. `bound` may differ between windows. Guesses are twice and five times its odds, and plain
        shares of what lies above it."""
        p = min(max(bound, 1e-9), 1 - 1e-9)
        odds = [factor * p / (1 - p + factor * p) for factor in (2, 5)]
        rates = [min(q, 1 - 1e-9) for q in (*odds, *(p + (1 - p) * share for share in (0.1, 0.3, 0.6, 0.95)))]
        steps = [bad * math.log(q / p) + (total - bad) * math.log((1 - q) / (1 - p)) for q in rates]
        return RateRise(cusum(self.logs or (0.0,) * len(rates), steps))

    @property
    def log_e(self) -> float:
        """Evidence of a rise: an alarm at ln A or above."""
        return float(mixture(self.logs)) if self.logs else 0.0


class Fall(msgspec.Struct, frozen=True, kw_only=True):
    """Has a metric fallen below a bound? ln of the CUSUM of each guess, and whether it has fallen and not come back.

    A window's shortfall in standard deviations, x, is at most standard normal while the metric is at the bound or
    better, so that e = exp(λx − λ²/2) has a mean of at most 1 for any λ ≥ 0. A large λ finds a large fall at once, a
    small one a small fall that stays. x counts as 30 at most: no normal approximation reaches beyond.
    """

    logs: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    fallen: bool = False

    def after(self, shortfall: float, deviation: float, run_length: float = WINDOWS_PER_ALARM) -> "Fall":
        """One more window, `shortfall` below the bound (negative: above it), known up to `deviation`.

        Once fallen it stays so until a window is not below the bound; then evidence begins anew.
        """
        if self.fallen:
            return self if shortfall > 0 else Fall()
        x = min(shortfall / max(deviation, 1e-12), 30.0)
        logs = cusum(self.logs, (guess * x - guess * guess / 2 for guess in (0.5, 1.0, 2.0, 4.0)))
        return Fall(logs=logs, fallen=bool(mixture(logs) >= math.log(run_length)))


def log_e(n_c: Number, k_c: Number, n_s: Number, k_s: Number, a: Number, b: Number, delta: float = 0.0) -> Floats:
    """ln E of one block for the guess (a, b) against the half-plane bounded by θ_c = θ_s + δ. All arrays broadcast.

    Zero where one side has no request: such a block says nothing.
    """
    x = boundary(n_c, n_s, a, b, delta)
    y = x + delta
    candidate = k_c * np.log(a / y) + (n_c - k_c) * np.log((1 - a) / (1 - y))
    stable = k_s * np.log(b / x) + (n_s - k_s) * np.log((1 - b) / (1 - x))
    return np.where((n_c > 0) & (n_s > 0), candidate + stable, 0.0)


def boundary(n_c: Number, n_s: Number, a: Number, b: Number, delta: float) -> Floats:
    """The x in (0, 1) for which (x+δ, x) is nearest in KL to (a, b): the pooled rate for δ = 0, else by Newton steps
    within a bracket of the root of the increasing derivative."""
    share: Floats = np.asarray(n_c / np.maximum(n_c + n_s, 1))
    pooled: Floats = share * (a - delta) + (1 - share) * b
    low, high = max(0.0, -delta) + TINY, 1.0 - max(0.0, delta) - TINY
    if delta == 0:
        return np.clip(pooled, low, high)
    left = np.clip(np.minimum(a - delta, b), low, high)
    right = np.clip(np.maximum(a - delta, b), low, high)
    x: Floats = np.clip(pooled, left, right)
    for _ in range(60):
        y = x + delta
        slope = share * (y - a) / (y * (1 - y)) + (1 - share) * (x - b) / (x * (1 - x))
        bend = share * (a / y**2 + (1 - a) / (1 - y) ** 2) + (1 - share) * (b / x**2 + (1 - b) / (1 - x) ** 2)
        left, right = np.where(slope < 0, x, left), np.where(slope > 0, x, right)
        following: Floats = x - slope / bend
        following = np.where((following > left) & (following < right), following, (left + right) / 2)
        done = np.max(np.abs(following - x)) < 1e-13
        x = following
        if done:
            break
    return x


def interval(events: int, total: int, alpha: float) -> tuple[float, float]:
    """A confidence sequence of one rate, valid at all times together: the rates p whose beta-binomial mixture with
    prior Beta(½, ½) stays below 1/α (Robbins 1970; Howard et al. 2021, "Time-uniform confidence sequences")."""
    if total == 0:
        return 0.0, 1.0
    ends: list[float] = []
    for bad in (0.0, 1.0):
        good = events / total
        for _ in range(50 if good != bad else 0):
            middle = (good + bad) / 2
            good, bad = (middle, bad) if plausible(events, total, middle, alpha) else (good, middle)
        ends.append(bad)
    return ends[0], ends[1]


def plausible(events: int, total: int, p: float, alpha: float) -> bool:
    """Whether a rate strictly between 0 and 1 lies inside `interval`."""
    mean = math.lgamma(events + 0.5) + math.lgamma(total - events + 0.5) - math.lgamma(total + 1) - math.log(math.pi)
    likelihood = events * math.log(p) + (total - events) * math.log1p(-p)
    return likelihood > mean + math.log(alpha)
