"""From a model's score to the probability that it is right: isotonic regression on labelled rows, weighted or not."""

import msgspec
import numpy as np
import numpy.typing as npt

from argosy.engines.base import require
from argosy.monitoring.eprocess import Floats, Number

BINS = 10
SPLITS = 3
HELD_OUT = 0.1


class Curve(msgspec.Struct, frozen=True, eq=False):
    """A rising curve through `score` and `probability` (k,), straight between its knots and level beyond them.

    `ends` (b,) are the last scores of its steps, `variances` (b,) how surely each step's height is known.
    """

    score: Floats
    probability: Floats
    ends: Floats
    variances: Floats

    def __call__(self, score: Number) -> Floats:
        """The probability at each score."""
        return np.asarray(np.interp(np.asarray(score, float), self.score, self.probability), float)

    def variance(self, score: Floats, slope: Floats) -> float:
        """The variance of a metric by what is not known of the curve, from the metric's slope by row.

        Rows on one step move together, the steps independently of each other.
        """
        steps = np.minimum(np.searchsorted(self.ends, score), len(self.ends) - 1)
        return float((np.bincount(steps, slope, len(self.ends)) ** 2 * self.variances).sum())


def fit(score: Number, label: Number, weight: Number | None = None) -> Curve:
    """The rising curve nearest to the labels (0 or 1), in weighted squares. All (n,), n ≥ 1."""
    isotonic = require("sklearn.isotonic", "monitoring", "Calibration")
    score, label = np.asarray(score, float), np.asarray(label, float)
    weight = np.ones(len(score)) if weight is None else np.asarray(weight, float)
    known, group = np.unique(score, return_inverse=True)
    mass = np.maximum(np.bincount(group, weight), 1e-12)
    height: Floats = isotonic.isotonic_regression(np.bincount(group, weight * label) / mass, sample_weight=mass)
    rises = np.flatnonzero(np.diff(height) > 0)
    ends = np.append(rises, len(known) - 1)
    knots = np.unique(np.concatenate([[0], rises, rises + 1, [len(known) - 1]]))
    step = np.searchsorted(ends, np.arange(len(known)))[group]
    total, squares = np.bincount(step, weight), np.bincount(step, weight**2)
    size = total**2 / np.maximum(squares, 1e-300)
    shrunk = (height[ends] * size + 0.5) / (size + 1)
    return Curve(known[knots], height[knots], known[ends], shrunk * (1 - shrunk) / np.maximum(size, 1))


def calibration_error(p: Floats, label: Floats) -> float:
    """The mean distance of probability and frequency over ten equal bins, weighted by rows (ECE; Naeini 2015)."""
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, p - label, BINS)).sum() / len(p))


def helps(score: Floats, label: npt.NDArray[np.int64], seed: int = 0) -> bool:
    """Whether calibration lowers the calibration error on held-out rows, on average over three stratified splits."""
    if score.min() < 0 or score.max() > 1:
        return True
    rng = np.random.default_rng(seed)
    before = after = 0.0
    for _ in range(SPLITS):
        test = np.zeros(len(score), bool)
        for value in np.unique(label):
            rows = np.flatnonzero(label == value)
            test[rng.permutation(rows)[: max(1, round(HELD_OUT * len(rows)))]] = True
        if test.all():
            return False
        curve = fit(score[~test], label[~test])
        before += calibration_error(score[test], label[test].astype(float))
        after += calibration_error(curve(score[test]), label[test].astype(float))
    return after < before
