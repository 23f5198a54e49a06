"""Metrics of a classifier from the probability of each label instead of the label, and how they hang on it.

With labels (0 or 1) in place of probabilities the same functions give the metric that came true. `slope` is the
metric's derivative by each row's probability: the delta method turns it into variances, both of labels not yet drawn
and of probabilities not exactly known.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from argosy.engines.base import require
from argosy.monitoring.eprocess import Floats, Ints, Number
from argosy.monitoring.feedback.windows import Errors, Matrix
from argosy.monitoring.performance.estimate import Estimate, within
from argosy.spec.monitor import CLASSIFICATION

METRICS = ("accuracy", "precision", "recall", "f1", "auroc")


class Value(NamedTuple):
    """A metric and its slope by row (n,), or by row and class (n, classes). NaN where the metric has no meaning."""

    value: float
    slope: Floats


def binary(p: Number, decided: Number, score: Number) -> dict[str, Value]:
    """The five metrics of the positive class.

    `p` (n,) is the probability that a row is positive (or its label), `decided` (n,) what the model said, 0 or 1, and
    `score` (n,) its score, of which more means "rather positive". Expected counts as in CBPE (NannyML's name for it).
    """
    p, d = np.asarray(p, float), np.asarray(decided, float)
    n, said, real = len(p), float(d.sum()), float(p.sum())
    right, hits = float((p * d + (1 - p) * (1 - d)).sum()), float((p * d).sum())
    recall, f1 = _over(hits, real), _over(2 * hits, said + real)
    return {
        "accuracy": Value(_over(right, n), (2 * d - 1) / max(n, 1)),
        "precision": Value(_over(hits, said), d / max(said, 1)),
        "recall": Value(recall, (d - recall) / real if real else np.zeros(n)),
        "f1": Value(f1, (2 * d - f1) / (said + real) if said + real else np.zeros(n)),
        "auroc": auroc(p, score),
    }


def auroc(p: Number, score: Number) -> Value:
    """The chance that a positive row scores above a negative one, ties by half."""
    p = np.asarray(p, float)
    _, group = np.unique(np.asarray(score), return_inverse=True)
    ups, downs = np.bincount(group, p), np.bincount(group, 1 - p)
    below = (np.cumsum(downs) - downs / 2)[group]
    above = (ups.sum() - np.cumsum(ups) + ups / 2)[group]
    positives, negatives = float(p.sum()), float((1 - p).sum())
    if positives <= 0 or negatives <= 0:
        return Value(float("nan"), np.zeros(len(p)))
    area = float((p * below).sum()) / (positives * negatives)
    slope = (below - above) / (positives * negatives) - area * (1 / positives - 1 / negatives)
    return Value(area, slope)


def multiclass(p: Number, decided: Number, scores: Number) -> dict[str, Value]:
    """Accuracy, and the plain mean over the classes (macro, one against the rest) of the other four.

    `p` (n, classes) sums to 1 in each row, `decided` (n,) is the index of the class, `scores` (n, classes). A class
    that was never decided has precision 0; one that certainly does not occur has no recall, F1 or AUROC and is left
    out.
    """
    p = np.asarray(p, float)
    decided, scores = np.asarray(decided, np.int64), np.asarray(scores, float)
    n, classes = len(p), int(p.shape[-1])
    said: npt.NDArray[np.bool_] = np.equal(decided[:, None], np.arange(classes))
    each = [binary(p[:, k], said[:, k], scores[:, k]) for k in range(classes)]
    found = {"accuracy": Value(_over(float(p[said].sum()), n), said / max(n, 1))}
    for name in METRICS[1:]:
        values = np.array([one[name].value for one in each])
        if name == "precision":
            values = np.nan_to_num(values)
        there = np.isfinite(values)
        share = there / max(int(there.sum()), 1)
        slope = np.stack([one[name].slope for one in each], axis=1) * share
        found[name] = Value(float(values[there].mean()) if there.any() else float("nan"), slope)
    return found


def sampling_variance(p: Floats, slope: Floats) -> float:
    """The variance that drawing the labels from `p` gives a metric. Both (n,), or (n, classes)."""
    if p.ndim == 1:
        return float((p * (1 - p) * slope**2).sum())
    return float(((p * slope**2).sum(axis=1) - (p * slope).sum(axis=1) ** 2).sum())


def _over(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


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
