"""Confidence-based performance estimation: what the model's own, calibrated, probabilities say of its decisions.

Each row is right with the probability that calibration gives it; summed up, these are the expected counts of a
confusion matrix, and from them come the metrics. It holds as long as a score means what it meant in the reference (no
concept drift) and the window stays where the reference has rows. The name is NannyML's.

With features the calibration is made anew for every window: the reference is weighed to look like the window before
scores are calibrated on it, so that a score means what it means for such rows. This is the idea of PAPE (Białek et al.,
"Estimating model performance under covariate shift without labels", arXiv 2401.08348). It holds under covariate shift,
in the window's overlap with the reference; where there is none it refuses to answer.
"""

import math

import msgspec
import numpy as np

from argosy.monitoring.eprocess import Floats, Ints
from argosy.monitoring.performance import calibration, metrics
from argosy.monitoring.performance.calibration import Curve
from argosy.monitoring.performance.estimate import Performance, within
from argosy.monitoring.performance.ratio import FAR_RATIO, objection, overlap, ratios

Curves = tuple[Curve | None, ...]
"""One for two classes, else one a class; None where the score is calibrated as it is."""


class Window(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """n rows of a classifier. `scores` (n,) for two classes, of which more means class 1, or (n, classes), all finite;
    `decided` (n,) the class each was given, as a code from 0; `features` (n, columns) where a method needs them, NaN
    for missing."""

    scores: Floats
    decided: Ints
    features: Floats | None = None


class Reference(Window, frozen=True, eq=False, kw_only=True):
    """Rows with their labels (n,), that the model was not trained on: on its training rows it appears better than it
    is."""

    labels: Ints


def fit(reference: Reference, calibrate: bool | None = None) -> Curves:
    """Learn from labelled rows. `calibrate` None: only where it lowers the error of held-out rows."""
    curves: list[Curve | None] = []
    for score, label in _columns(reference):
        wanted = calibration.helps(score, label.astype(int)) if calibrate is None else calibrate
        curves.append(calibration.fit(score, label) if wanted else None)
    return tuple(curves)


def _columns(reference: Reference) -> list[tuple[Floats, Floats]]:
    """(score, label 0 or 1) of class 1, or of each of more than two classes against the rest."""
    if reference.scores.ndim == 1:
        return [(reference.scores, reference.labels.astype(float))]
    return [(reference.scores[:, k], (reference.labels == k).astype(float)) for k in range(reference.scores.shape[1])]


def estimate(curves: Curves, window: Window) -> Performance:
    """All metrics of a window with intervals."""
    scores = window.scores.reshape(len(window.scores), -1)
    p = np.stack([s if c is None else c(s) for s, c in zip(scores.T, curves, strict=True)], axis=1)
    if window.scores.ndim == 1:
        p = p[:, 0]
        found = metrics.binary(p, window.decided, window.scores)
    else:
        p = p / np.maximum(p.sum(axis=1, keepdims=True), 1e-12)
        found = metrics.multiclass(p, window.decided, window.scores)
    made = {
        name: within(
            value.value,
            math.sqrt(metrics.sampling_variance(p, value.slope)),
            math.sqrt(_learnt(curves, scores, value.slope.reshape(len(scores), -1))),
        )
        for name, value in found.items()
        if math.isfinite(value.value)
    }
    return Performance(estimates=made, rows=len(scores))


def _learnt(curves: Curves, scores: Floats, slopes: Floats) -> float:
    """The variance of a metric by what is not known of the curves."""
    return sum(c.variance(s, slope) for s, slope, c in zip(scores.T, slopes.T, curves, strict=True) if c is not None)


def reweighted(reference: Reference, window: Window, seed: int = 0) -> Performance:
    """All metrics of a window with intervals, or the reason why there are none. Both have features.

    About 60 ms for a reference of 40,000 rows and a window of 2,000 with 16 features.
    """
    assert reference.features is not None
    assert window.features is not None
    found = ratios(reference.features, window.features, seed)
    shared = overlap(found)
    if reason := objection(shared):
        return Performance(estimates={}, rows=len(window.scores), overlap=shared, reason=reason)
    weights = found.reference.clip(max=FAR_RATIO)
    curves = tuple(calibration.fit(score, label, weights) for score, label in _columns(reference))
    return msgspec.structs.replace(estimate(curves, window), overlap=shared)
