"""Metrics of a classifier from the probability of each label instead of the label, and how they hang on it.

With labels (0 or 1) in place of probabilities the same functions give the metric that came true. `slope` is the
metric's derivative by each row's probability: the delta method turns it into variances, both of labels not yet drawn
and of probabilities not exactly known.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from argosy.monitoring.eprocess import Floats, Number

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
