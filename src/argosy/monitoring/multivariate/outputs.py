"""Black-box shift detection: tests on what the model answers instead of what it is asked.

A model that was trained to tell its inputs apart is the best reduction of them that is at hand, and costs nothing, as
its answers are logged anyway. Kolmogorov–Smirnov on each column of the scores, Bonferroni over the columns ("BBSDs" of
Rabanser, Günnemann, Lipton, "Failing Loudly", NeurIPS 2019); χ² on classes alone.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from argosy.engines.base import require
from argosy.monitoring.eprocess import Floats
from argosy.monitoring.multivariate.shift import CHANCE, Shift, first, largest, tables
from argosy.spec.errors import InvalidArgument

EXPECTED = 5.0


def compare(reference: Floats, current: Floats, names: Sequence[str] | None = None) -> Shift:
    """Scores (rows, classes), or one number a row; what is not a number counts as below all others.

    `effect` is the largest KS distance, less what chance alone gives it (at least 0); the causes are each class's
    signed distance, positive where the window's scores are higher; the rows are those with the most extreme score of
    the class that moved most.
    """
    stats = require("scipy.stats", "monitoring", "The test of a model's outputs")
    x, y = tables(reference, current)
    x, y = (np.where(np.isnan(side), -np.inf, side) for side in (x, y))
    tests = [stats.ks_2samp(a, b) for a, b in zip(x.T, y.T, strict=True)]
    distances = np.array([float(test.statistic) for test in tests])
    # `statistic_sign` is +1 where the first sample's distribution function is higher: there the second's values are.
    signed = np.array([float(test.statistic) * float(test.statistic_sign) for test in tests])
    p = min(1.0, len(tests) * min(float(test.pvalue) for test in tests))
    chance = CHANCE * np.sqrt(1 / len(x) + 1 / len(y))
    most = int(np.argmax(distances))
    name = names[most] if names else str(most)
    direction = "higher" if signed[most] > 0 else "lower"
    return Shift(
        method="model outputs",
        effect=max(0.0, float(distances[most] - chance)),
        p=p,
        causes=largest(signed, names),
        rows=first(y[:, most] if signed[most] > 0 else -y[:, most]),
        text=f"scores for '{name}' are {direction} than in the reference (KS {distances[most]:.3f}, p {p:.2g})",
    )


def compare_classes(
    reference: npt.NDArray[np.int64], current: npt.NDArray[np.int64], names: Sequence[str] | None = None
) -> Shift:
    """Decided classes (rows,) as codes from 0: χ², classes pooled that are expected fewer than five times.

    `effect` is the total variation distance: the share of answers that would have to move.
    """
    classes = int(max(reference.max(initial=-1), current.max(initial=-1))) + 1
    if not len(reference) or not len(current):
        raise InvalidArgument("there are no decisions to compare on one side; at least one row is needed on each")
    counts = np.stack([np.bincount(side, minlength=classes) for side in (reference, current)]).astype(float)
    shares = counts / counts.sum(axis=1, keepdims=True)
    moved = shares[1] - shares[0]
    p = chi_square(counts)
    most = int(np.argmax(np.abs(moved)))
    name = names[most] if names else str(most)
    return Shift(
        method="model decisions",
        effect=float(np.abs(moved).sum() / 2),
        p=p,
        causes=largest(moved, names),
        rows=first((current == most).astype(float)) if moved[most] > 0 else (),
        text=f"'{name}' is {shares[1, most]:.1%} of the answers, {shares[0, most]:.1%} of the reference's (p {p:.2g})",
    )


def chi_square(counts: Floats) -> float:
    """p of homogeneity of two rows of counts; columns with a small expectation are pooled."""
    stats = require("scipy.stats", "monitoring", "The test of a model's decisions")
    counts = counts[:, counts.sum(axis=0) > 0]
    expected = counts.sum(axis=0) * counts.sum(axis=1).min() / counts.sum()
    rare = expected < EXPECTED
    if rare.sum() > 1:
        counts = np.concatenate([counts[:, ~rare], counts[:, rare].sum(axis=1, keepdims=True)], axis=1)
    if counts.shape[1] < 2:
        return 1.0
    return float(stats.chi2_contingency(counts, correction=False).pvalue)
