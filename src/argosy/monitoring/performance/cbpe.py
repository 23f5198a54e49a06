"""Confidence-based performance estimation: what the model's own, calibrated, probabilities say of its decisions.

Each row is right with the probability that calibration gives it; summed up, these are the expected counts of a
confusion matrix, and from them come the metrics. It holds as long as a score means what it meant in the reference (no
concept drift) and the window stays where the reference has rows. The name is NannyML's.
"""

import math

import msgspec
import numpy as np

from argosy.monitoring.binary import Floats
from argosy.monitoring.performance import calibration, metrics
from argosy.monitoring.performance.calibration import Curve
from argosy.monitoring.performance.estimate import Estimate, Performance, within
from argosy.monitoring.performance.metrics import Value
from argosy.monitoring.performance.window import Reference, Window, check
from argosy.spec.errors import InvalidArgument

Z = 1.959964


class Calibrated(msgspec.Struct, frozen=True, eq=False):
    """A reference's curves, one for two classes, else one a class; None where the score is calibrated as it is."""

    curves: tuple[Curve | None, ...]
    rows: int


def fit(reference: Reference, calibrate: bool | None = None) -> Calibrated:
    """Learn from labelled rows. `calibrate` None: only where it lowers the error of held-out rows."""
    check(reference)
    curves: list[Curve | None] = []
    for score, label in columns(reference):
        wanted = calibration.helps(score, label.astype(int)) if calibrate is None else calibrate
        curves.append(calibration.fit(score, label) if wanted else None)
    return Calibrated(tuple(curves), len(reference.scores))


def columns(reference: Reference) -> list[tuple[Floats, Floats]]:
    """(score, label 0 or 1) of class 1, or of each of more than two classes against the rest."""
    if reference.scores.ndim == 1:
        return [(reference.scores, reference.labels.astype(float))]
    return [(reference.scores[:, k], (reference.labels == k).astype(float)) for k in range(reference.scores.shape[1])]


def estimate(calibrated: Calibrated, window: Window, z: float = Z) -> Performance:
    """All metrics with intervals of ± z standard deviations."""
    check(window)
    scores = window.scores.reshape(len(window.scores), -1)
    if scores.shape[1] != len(calibrated.curves):
        raise InvalidArgument(
            f"the window's scores are of {scores.shape[1]} columns, the reference's of {len(calibrated.curves)}"
        )
    return summarise(scores, calibrated.curves, window, z)


def summarise(scores: Floats, curves: tuple[Curve | None, ...], window: Window, z: float) -> Performance:
    """The metrics of a window whose probabilities are the curves at `scores` (n, curves)."""
    p = np.stack([s if c is None else c(s) for s, c in zip(scores.T, curves, strict=True)], axis=1)
    if window.scores.ndim == 1:
        p = p[:, 0]
        found = metrics.binary(p, window.decided, window.scores)
    else:
        p = p / np.maximum(p.sum(axis=1, keepdims=True), 1e-12)
        found = metrics.multiclass(p, window.decided, window.scores)
    made = {name: _estimate(value, p, scores, curves, z) for name, value in found.items()}
    return Performance(estimates={k: v for k, v in made.items() if math.isfinite(v.value)}, rows=len(scores))


def _estimate(value: Value, p: Floats, scores: Floats, curves: tuple[Curve | None, ...], z: float) -> Estimate:
    slopes = value.slope.reshape(len(scores), -1)
    learnt = sum(c.variance(s, slope) for s, slope, c in zip(scores.T, slopes.T, curves, strict=True) if c is not None)
    return within(value.value, math.sqrt(metrics.sampling_variance(p, value.slope)), math.sqrt(learnt), z)
