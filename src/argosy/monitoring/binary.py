"""Two arms of yes-or-no outcomes: the exact e-value everything about errors and exceedances is built on.

One block is `n_c` requests of the candidate with `k_c` events and `n_s` of the stable with `k_s`. For a null that is a
half-plane θ_c ≤ θ_s + δ (or ≥) and a guess (a, b) outside of it, made from the past alone,

    E = Π p_a(candidate) / p_{x+δ}(candidate) · Π p_b(stable) / p_x(stable)

where x minimises n_c·KL(a ‖ x+δ) + n_s·KL(b ‖ x). E has mean ≤ 1 under every point of the null: each factor's mean is
linear in θ, ln(1+z) ≤ z, and what remains is minus the derivative of the KL sum at its minimum towards the null, which
is ≤ 0 as the null is convex. By the same step only the mean rates within a block matter, and they may change from block
to block (daily rhythm). Products over blocks are test martingales; P(ever ≥ 1/α) ≤ α (Ville).

Sources: Turner, Ly, Grünwald, "Generic e-variables for exact sequential k-sample tests that allow for optional
stopping" (2024); Turner, Grünwald, "Exact anytime-valid confidence intervals for contingency tables and beyond" (2023).
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Number = Any
"""A float or an array that broadcasts: the proofs run thousands of rollouts at once through this very code."""

TINY = 1e-12


def log_e(n_c: Number, k_c: Number, n_s: Number, k_s: Number, a: Number, b: Number, delta: float = 0.0) -> Floats:
    """ln E of one block for the guess (a, b) against the half-plane bounded by θ_c = θ_s + δ. All arrays broadcast.

    Zero where one arm has no request: such a block says nothing.
    """
    x = boundary(n_c, n_s, a, b, delta)
    y = x + delta
    candidate = k_c * np.log(a / y) + (n_c - k_c) * np.log((1 - a) / (1 - y))
    stable = k_s * np.log(b / x) + (n_s - k_s) * np.log((1 - b) / (1 - x))
    return np.where((n_c > 0) & (n_s > 0), candidate + stable, 0.0)


def boundary(n_c: Number, n_s: Number, a: Number, b: Number, delta: float) -> Floats:
    """The x in (0, 1) for which (x+δ, x) is nearest in KL to (a, b): the pooled rate for δ = 0, else by Newton steps
    kept within a bracket that always holds the root of the increasing derivative."""
    share: Floats = np.asarray(n_c / np.maximum(n_c + n_s, 1))
    pooled: Floats = share * (a - delta) + (1 - share) * b
    low, high = max(0.0, -delta) + TINY, 1.0 - max(0.0, delta) - TINY
    if delta == 0:
        return np.clip(pooled, low, high)
    left = np.clip(np.minimum(a - delta, b), low, high)
    right = np.clip(np.maximum(a - delta, b), low, high)
    x: Floats = np.clip(pooled, left, right)
    for _ in range(60):
        slope, bend = _derivatives(share, a, b, x, delta)
        left, right = np.where(slope < 0, x, left), np.where(slope > 0, x, right)
        following: Floats = x - slope / bend
        following = np.where((following > left) & (following < right), following, (left + right) / 2)
        done = np.max(np.abs(following - x)) < 1e-13
        x = following
        if done:
            break
    return x


def _derivatives(share: Number, a: Number, b: Number, x: Floats, delta: float) -> tuple[Floats, Floats]:
    y = x + delta
    first = share * (y - a) / (y * (1 - y)) + (1 - share) * (x - b) / (x * (1 - x))
    second = share * (a / y**2 + (1 - a) / (1 - y) ** 2) + (1 - share) * (b / x**2 + (1 - b) / (1 - x) ** 2)
    return first, second


def mix(logs: Number, weights: Number) -> Floats:
    """ln Σ w·E along the last axis: an average of e-processes is one, whichever guess turns out right."""
    top = np.max(logs, axis=-1, keepdims=True)
    return top[..., 0] + np.log(np.sum(weights * np.exp(logs - top), axis=-1))


def interval(events: int, total: int, alpha: float) -> tuple[float, float]:
    """A confidence sequence of one rate, valid at all times together: the rates p whose beta-binomial mixture with
    prior Beta(½, ½) stays below 1/α (Robbins 1970; Howard et al. 2021, "Time-uniform confidence sequences")."""
    if total == 0:
        return 0.0, 1.0
    middle = events / total

    def inside(p: float) -> bool:
        return plausible(events, total, p, alpha)

    return _end(inside, middle, 0.0), _end(inside, middle, 1.0)


def plausible(events: int, total: int, p: float, alpha: float) -> bool:
    """Whether a rate strictly between 0 and 1 lies inside `interval`."""
    mixture = math.lgamma(events + 0.5) + math.lgamma(total - events + 0.5) - math.lgamma(total + 1) - math.log(math.pi)
    return _log_likelihood(events, total, p) > mixture + math.log(alpha)


def _log_likelihood(events: int, total: int, p: float) -> float:
    yes = events * math.log(p) if events else 0.0
    return yes + ((total - events) * math.log1p(-p) if total > events else 0.0)


def _end(inside: Any, good: float, bad: float) -> float:
    if good == bad:
        return bad
    for _ in range(50):
        middle = (good + bad) / 2
        good, bad = (middle, bad) if inside(middle) else (good, middle)
    return bad
