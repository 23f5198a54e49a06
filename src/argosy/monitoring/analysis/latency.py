"""Latency: is the candidate slower than the stable revision anywhere, and surely not at the quantiles that count?

Harm. Cells are cut at quantiles of what the stable did before the block. A guess is a convex G: [0, 1] → [0, 1] with
G(0) = 0, G(1) = 1: the candidate's distribution function in terms of the stable's rank. Its slope g over each cell is
the likelihood ratio. With ρ the candidate's share of the block, c and s the counts by cell,

    ln E = Σ c·ln g − Σ (c + s)·ln(1 + ρ(g − 1))

which is the two-sample e-value of Turner, Ly, Grünwald for categories. As G is convex, g and
g / (1 + ρ(g − 1)) grow with latency, so E has mean ≤ 1 not only for equal arms but whenever the candidate is
stochastically not slower, whatever the distributions (ln(1+z) ≤ z, as in `eprocess`). No shape is assumed; ranks do not
change under any rescaling. `tolerance`, in buckets, first moves the stable's latencies up: then only what is
slower than that factor is harm.

Safety. With y the stable's quantile so far and m the margin, `eprocess.log_e` tests "the candidate exceeds m·y at least
as often as the stable exceeds y" for each declared quantile.
"""

import math
from statistics import NormalDist
from typing import cast

import numpy as np

from argosy.monitoring.eprocess import Floats, Number, log_e, plausible
from argosy.serving.counts import BUCKETS, GROWTH, edge

RANKS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
WARM_UP = 200
"""Requests of the stable before its quantiles may cut cells."""

SHIFTS = (0.15, 0.35, 1.0, 2.5)
TAILS = ((0.05, 3.0), (0.3, 3.0))
HARM_WEIGHTS = np.array([0.15, 0.35, 0.15, 0.1, 0.15, 0.1])
"""Guesses of harm: everything slower by so many standard deviations of a normal score; a share far slower."""

SAFE_FACTORS = (0.8, 1.0)
SAFE_WEIGHTS = np.array([0.5, 0.5])

_NORMAL = NormalDist()
_MIDDLES = np.array([edge(min(index, BUCKETS - 2)) / math.sqrt(GROWTH) for index in range(BUCKETS)])


def dense(latency: dict[int, int], shift: int = 0) -> Floats:
    """Counts by bucket as an array of BUCKETS, each `shift` buckets slower (the ends hold what falls off)."""
    counts = np.zeros(BUCKETS)
    for index, count in latency.items():
        counts[min(BUCKETS - 1, max(0, index + shift))] += count
    return counts


def falling(latency: dict[int, int], shift: int = 0) -> Floats:
    """The same from the largest bucket down, so that what is shorter counts as slower."""
    return dense(latency, -shift)[::-1]


def factor_buckets(factor: float) -> int:
    """How many whole buckets a factor ≥ 1 is, rounded down (1.25 → 4: a strict reading of a margin)."""
    return int(math.log(factor) / math.log(GROWTH) + 1e-9)


def cuts(past: Floats) -> list[int]:
    """First buckets of the cells but the first, at RANKS of the stable's past counts by bucket."""
    cumulative = np.cumsum(past)
    found = (int(np.count_nonzero(cumulative < rank * cumulative[-1])) + 1 for rank in RANKS)
    return sorted({index for index in found if index < BUCKETS})


def cells(counts: Floats, at: list[int]) -> Floats:
    """Counts by bucket summed into the cells that `cuts` made."""
    return np.add.reduceat(counts, [0, *at])


def slopes(past: Floats) -> Floats:
    """The slope g of every guess over every cell, shape (guesses, cells), from the stable's past counts by cell."""
    mass = (past + 0.5) / (past.sum() + 0.5 * len(past))
    ranks = np.minimum(np.concatenate([[0.0], np.cumsum(mass)]), 1.0)
    ranks[-1] = 1.0
    guesses = [[_shifted(u, d) for u in ranks] for d in SHIFTS]
    guesses += [[(1 - w) * u + w * _shifted(u, d) for u in ranks] for w, d in TAILS]
    return np.maximum(np.diff(np.array(guesses), axis=1) / np.diff(ranks), 1e-6)


def _shifted(u: float, d: float) -> float:
    return u if u <= 0 or u >= 1 else _NORMAL.cdf(_NORMAL.inv_cdf(u) - d)


def harm(logs: Number, g: Floats, c: Number, s: Number) -> Floats:
    """One more block: ln E for every guess. `g` (guesses, cells); `c`, `s` (…, cells); `logs` (…, guesses)."""
    n_c, n_s = np.sum(c, axis=-1), np.sum(s, axis=-1)
    rho = n_c / np.maximum(n_c + n_s, 1)
    pooled = np.log1p(rho[..., None, None] * (g - 1))
    block = np.sum(c[..., None, :] * np.log(g) - (c + s)[..., None, :] * pooled, axis=-1)
    return logs + np.where((n_c > 0) & (n_s > 0), block.T, 0.0).T


def safe(logs: Number, past: Floats, quantile: float, margin: int, c: Floats, s: Floats) -> Floats:
    """One more block of evidence that the candidate exceeds the stable's quantile, `margin` buckets later, less often
    than the stable exceeds it. `past`, `c`, `s` by bucket; ln E for every guess."""
    y = _place(past, quantile)
    late = min(BUCKETS - 1, y + margin)
    total = past.sum() + 1.0
    b = (past[y + 1 :].sum() + 0.5) / total
    a = np.minimum((past[late + 1 :].sum() + 0.5) / total * np.array(SAFE_FACTORS), b)
    return logs + log_e(c.sum(), c[late + 1 :].sum(), s.sum(), s[y + 1 :].sum(), a, b)


def _place(counts: Floats, q: float) -> int:
    """The bucket that holds the q-quantile."""
    return int(np.count_nonzero(np.cumsum(counts) < q * counts.sum()))


def quantile(counts: Floats, q: float) -> float:
    """The q-quantile in seconds (upper edge of its bucket); NaN without data."""
    total = counts.sum()
    return math.nan if not total else edge(_place(counts, q))


def quantile_interval(counts: Floats, q: float, alpha: float) -> tuple[float, float]:
    """A confidence sequence of a quantile: the edges whose share below may, at level α, be q (inverted test)."""
    total, below = int(counts.sum()), cast("list[float]", np.cumsum(counts).tolist())
    low, high = 0.0, math.inf
    for index in np.flatnonzero(counts):
        if plausible(int(below[index]), total, q, alpha):
            continue
        if below[index] > q * total:
            high = edge(int(index))
            break
        low = edge(int(index))
    return low, high


def mean(counts: Floats) -> float:
    """The mean in seconds from the middles of the buckets, so within 2.5 %; NaN without data."""
    total = counts.sum()
    return float((counts * _MIDDLES).sum() / total) if total else math.nan
