"""Maximum mean discrepancy: the distance of two samples in the space of an RBF kernel, for embeddings and images.

Columns should be of one unit, as those of embeddings and pixels are.

Gretton et al., "A kernel two-sample test" (JMLR 2012); random features after Rahimi & Recht (2007). The null comes from
permutations that re-use one kernel matrix, or one table of features.
"""

import math

import numpy as np
import numpy.typing as npt

from argosy.monitoring.eprocess import Floats
from argosy.monitoring.multivariate.shift import Shift, first, tables

EXACT_ROWS = 1000
FEATURE_ROWS = 10_000
FEATURES = 512
PERMUTATIONS = 500
BLOCK = 100


def compare(
    reference: Floats,
    current: Floats,
    permutations: int = PERMUTATIONS,
    features: int | None = None,
    seed: int = 0,
) -> Shift:
    """The unbiased MMD² with its permutation p, which is never below 1/(permutations + 1).

    Exact with at most 1,000 rows of each side; with `features` (512 are enough for most) up to 10,000 of each, in
    memory that grows with rows, not with their square. Larger samples are drawn from by `seed`. The kernel's width is
    the median distance. `effect` is the MMD as a share of the kernel's spread, from 0 to 2; rows are those
    where the window is densest against the reference.
    """
    reference, current = tables(reference, current)
    rng = np.random.default_rng(seed)
    most = EXACT_ROWS if features is None else FEATURE_ROWS
    x, _ = _draw(rng, reference, most)
    y, picked = _draw(rng, current, most)
    z = centred(np.concatenate([x, y]))
    gamma = 1 / max(median_square(rng, z), 1e-300)
    side = np.repeat([0.0, 1.0], [len(x), len(y)])
    marks = np.stack([side, *(rng.permutation(side) for _ in range(permutations))])
    if features is None:
        squares, witness, spread = _exact(kernel_matrix(z, gamma), marks)
    else:
        squares, witness, spread = _by_features(random_features(rng, z, gamma, features), marks)
    p = (1 + int((squares[1:] >= squares[0]).sum())) / (permutations + 1)
    effect = math.sqrt(max(0.0, float(squares[0])) / max(spread, 1e-300))
    rows = tuple(int(picked[i]) for i in first(witness[len(x) :]))
    text = f"the window is {effect:.3f} of the kernel's spread away from the reference (p {p:.2g})"
    return Shift(method="maximum mean discrepancy", effect=effect, p=p, rows=rows, text=text)


def centred(z: Floats) -> Floats:
    """Columns around their mean, which missing values count as; constant ones are left out, but for the last."""
    there = np.isfinite(z)
    middle = np.where(there, z, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    z = np.where(there, z - middle, 0.0)
    varying = z.std(axis=0) > 0
    return z[:, varying] if varying.any() else z[:, -1:]


def median_square(rng: np.random.Generator, z: Floats) -> float:
    """The median squared distance of two different rows, from at most 1,000 of them."""
    few, _ = _draw(rng, z, EXACT_ROWS)
    return float(np.median(_squares(few)[np.triu_indices(len(few), 1)]))


def kernel_matrix(z: Floats, gamma: float) -> Floats:
    """exp(−γ·|a − b|²) for every pair of rows."""
    return np.exp(-gamma * _squares(z))


def random_features(rng: np.random.Generator, z: Floats, gamma: float, count: int) -> Floats:
    """A table (n, count) whose inner products are the kernel, but for chance."""
    waves = rng.normal(0.0, math.sqrt(2 * gamma), (z.shape[1], count // 2))
    angles = z @ waves
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / math.sqrt(count // 2)


def _exact(kernel: Floats, marks: Floats) -> tuple[Floats, Floats, float]:
    """(MMD²u of each marking, witness of each row, spread of the kernel)."""
    found: list[Floats] = []
    total = kernel.sum()
    diagonal = np.diag(kernel)
    for start in range(0, len(marks), BLOCK):
        ones = marks[start : start + BLOCK]
        products = ones @ kernel
        inside, both = (products * ones).sum(axis=1), products.sum(axis=1)
        own, all_own = ones @ diagonal, diagonal.sum()
        found.append(_unbiased(inside - own, total - 2 * both + inside - (all_own - own), both - inside, ones))
    n, m = marks[0].sum(), len(marks[0]) - marks[0].sum()
    witness = kernel @ (marks[0] / n - (1 - marks[0]) / m)
    return np.concatenate(found), witness, float(diagonal.mean() - total / len(kernel) ** 2)


def _by_features(table: Floats, marks: Floats) -> tuple[Floats, Floats, float]:
    """As `_exact`, with the kernel as the table times itself."""
    found: list[Floats] = []
    sums, own_all = table.sum(axis=0), (table**2).sum(axis=1)
    for start in range(0, len(marks), BLOCK):
        ones = marks[start : start + BLOCK]
        current = ones @ table
        reference = sums - current
        own = ones @ own_all
        inside, outside = (current**2).sum(axis=1) - own, (reference**2).sum(axis=1) - (own_all.sum() - own)
        found.append(_unbiased(inside, outside, (current * reference).sum(axis=1), ones))
    n, m = marks[0].sum(), len(marks[0]) - marks[0].sum()
    witness = table @ ((marks[0] @ table) / n - ((1 - marks[0]) @ table) / m)
    return np.concatenate(found), witness, float(own_all.mean() - ((sums / len(table)) ** 2).sum())


def _unbiased(inside: Floats, outside: Floats, across: Floats, ones: Floats) -> Floats:
    n = ones.sum(axis=1)
    m = ones.shape[1] - n
    return inside / (n * (n - 1)) + outside / (m * (m - 1)) - 2 * across / (n * m)


def _squares(z: Floats) -> Floats:
    norms = (z**2).sum(axis=1)
    return np.maximum(norms[:, None] + norms[None, :] - 2 * z @ z.T, 0.0)


def _draw(rng: np.random.Generator, table: Floats, most: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    if len(table) <= most:
        return table, np.arange(len(table))
    rows = np.sort(rng.permutation(len(table))[:most])
    return table[rows], rows
