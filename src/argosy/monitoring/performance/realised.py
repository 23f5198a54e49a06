"""Metrics once labels are there, from counts, each with its standard deviation over draws of as many rows."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from argosy.engines.base import require
from argosy.monitoring.eprocess import Floats, Ints
from argosy.monitoring.feedback.windows import Errors, Matrix
from argosy.monitoring.performance.estimate import Estimate, within
from argosy.spec.monitor import CLASSIFICATION

MOST_CLASSES = 50
"""With more, only the accuracy is counted."""


def classification(matrix: Matrix, classes: Sequence[str] = (), positive: str = "") -> dict[str, Estimate]:
    """Accuracy, precision, recall and F1: of the `positive` class, or else the plain mean over the classes, as in
    `metrics.multiclass`. `classes` are those there may be; others that occur are added.

    Deviations by the delta method over the counts. A metric without a meaning is left out.
    """
    known = list(dict.fromkeys([*classes, *sorted({name for pair in matrix for name in pair})]))
    counts = np.zeros((len(known), len(known)))
    for (predicted, true), count in matrix.items():
        counts[known.index(predicted), known.index(true)] += count
    place = known.index(positive) if positive in known else -1
    names = CLASSIFICATION[: 4 if len(known) <= MOST_CLASSES else 1]
    found = {name: _counted(name, counts, place) for name in names} if counts.sum() else {}
    return {name: each for name, each in found.items() if math.isfinite(each.value)}


def _counted(name: str, counts: Floats, positive: int) -> Estimate:
    value, variance = _value(name, counts, positive), 0.0
    for cell in zip(*np.nonzero(counts), strict=True):
        step = max(1e-3, 1e-4 * counts[cell])
        more = counts.copy()
        more[cell] += step
        slope = (_value(name, more, positive) - value) / step
        variance += counts[cell] * slope**2
    return within(value, max(math.sqrt(variance), 1 / (float(counts.sum()) + 1)))


def _value(name: str, counts: Floats, positive: int) -> float:
    hits, said, real = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    if name == "accuracy":
        return float(hits.sum() / counts.sum())
    over = {"precision": (hits, said), "recall": (hits, real), "f1": (2 * hits, said + real)}[name]
    each = np.divide(*over, out=np.full(len(hits), np.nan), where=over[1] > 0)
    if positive >= 0:
        return float(each[positive])
    each = np.nan_to_num(each) if name == "precision" else each[np.isfinite(each)]
    return float(each.mean()) if len(each) else math.nan


def area(scores: Floats, positive: Floats) -> Estimate | None:
    """AUROC with DeLong's deviation (DeLong, DeLong & Clarke-Pearson 1988); None where there is only one class."""
    stats = require("scipy.stats", "monitoring", "The area under the ROC curve")
    ups, downs = scores[positive == 1], scores[positive != 1]
    m, n = len(ups), len(downs)
    if not m or not n:
        return None
    ranks = np.asarray(stats.rankdata(np.concatenate([ups, downs])), float)
    above = (ranks[:m] - stats.rankdata(ups)) / n
    below = 1 - (ranks[m:] - stats.rankdata(downs)) / m
    value = float(above.mean())
    variance = float(above.var()) / m + float(below.var()) / n
    return within(value, max(math.sqrt(variance), 1 / (m + n + 1)))


def regression(errors: Errors) -> dict[str, Estimate]:
    """MAE and RMSE."""
    root = math.sqrt(errors.squared)
    spread = math.sqrt(errors.squared_variance / errors.n) / (2 * root) if root else 0.0
    bounds = (0.0, math.inf)
    return {
        "mae": within(errors.absolute, math.sqrt(errors.absolute_variance / errors.n), 0.0, bounds),
        "rmse": within(root, spread, 0.0, bounds),
    }


def matrix_of(decided: Ints, labels: Ints, classes: Sequence[str]) -> Matrix:
    """Counts from codes."""
    pairs, counts = np.unique(np.column_stack([decided, labels]), axis=0, return_counts=True)
    return {(classes[int(p)], classes[int(t)]): int(n) for (p, t), n in zip(pairs, counts, strict=True)}


def errors_of(predictions: Floats, targets: Floats) -> Errors:
    """Sums from numbers."""
    absolute = np.abs(predictions - targets)
    squared = absolute**2
    return Errors(
        n=len(absolute),
        absolute=float(absolute.mean()),
        squared=float(squared.mean()),
        absolute_variance=float(absolute.var()),
        squared_variance=float(squared.var()),
    )


def right(matrix: Mapping[tuple[str, str], int]) -> int:
    """How many were right."""
    return sum(count for (predicted, true), count in matrix.items() if predicted == true)
