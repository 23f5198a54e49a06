"""How many times as dense as the reference a window is, row by row: what importance weighting weighs with.

Two boosted classifiers of window against reference, each trained on one half and asked about the other, so that no
row is weighed by a model that has learnt it. Their scores only rank; the ratio itself is counted: isotonic regression
cuts the ranking into levels, and a level's ratio is its share of the window by its share of the reference, half a row
added to each. So noise stays near 1, and where the reference has no row at all the ratio grows with the number of the
window's.
"""

import msgspec
import numpy as np
import numpy.typing as npt

from argosy.engines.base import require
from argosy.monitoring.eprocess import Floats
from argosy.monitoring.multivariate.classifier import TREES, mann_whitney

ROUNDS = 20
SAMPLE = 4
LEAST_SAMPLE = 2000
FAR_RATIO = 50.0
FAR_SHARE = 0.07
"""Estimates without labels carry over what is in the reference. Where more than this share of the window's rows is so
many times as dense as the reference's there is nothing to carry over. How well a classifier tells the two apart is no
such sign by itself: a window from a narrow, but known, corner of the reference has a high AUC and is estimated well by
the reference rows in that corner. Both were chosen by `prove.unseen` (docs/guides/performance.md, "planted")."""


class Ratios(msgspec.Struct, frozen=True, eq=False):
    """Density of the window by that of the reference, at each reference row (m,) and each window row (n,); `auc` of the
    classifiers on rows they have not seen (0.5: cannot tell)."""

    reference: Floats
    window: Floats
    auc: float


def ratios(reference: Floats, window: Floats, seed: int = 0) -> Ratios:
    """Both (rows, columns), NaN for missing, at least two rows each. Linear in the rows; the classifiers train on four
    reference rows for each of the window's, at least 2,000."""
    lgb = require("lightgbm", "monitoring", "Importance weighting")
    rng = np.random.default_rng(seed)
    m, n = len(reference), len(window)
    trained = np.zeros(m, bool)
    trained[rng.permutation(m)[: max(SAMPLE * n, LEAST_SAMPLE)]] = True
    half, half_window = rng.permutation(m) % 2, rng.permutation(n) % 2
    reference_scores, window_scores = np.empty(m), np.empty(n)
    for side in (0, 1):
        theirs, ours = reference[trained & (half != side)], window[half_window != side]
        x, y = np.concatenate([theirs, ours]), np.repeat([0, 1], [len(theirs), len(ours)])
        weight = np.where(y == 1, len(theirs) / max(len(ours), 1), 1.0)
        data = lgb.Dataset(x, y, weight=weight, params={"max_bin": TREES["max_bin"], "verbose": -1})
        model = lgb.train(TREES | {"learning_rate": 0.2, "seed": seed}, data, ROUNDS)
        reference_scores[half == side] = model.predict(reference[half == side], raw_score=True, num_threads=1)
        window_scores[half_window == side] = model.predict(window[half_window == side], raw_score=True, num_threads=1)
    scores = np.concatenate([reference_scores[trained], window_scores])
    side = np.repeat([0, 1], [int(trained.sum()), n])
    ends, heights = levels(scores, side)
    auc, _ = mann_whitney(scores, side, np.concatenate([half[trained], half_window]))
    at = [heights[np.minimum(np.searchsorted(ends, each), len(ends) - 1)] for each in (reference_scores, window_scores)]
    return Ratios(at[0], at[1], auc)


def levels(scores: Floats, side: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """(last score of each level, ratio on it), rising. `side` is 0 for reference rows and 1 for the window's."""
    isotonic = require("sklearn.isotonic", "monitoring", "Importance weighting")
    known, group = np.unique(scores, return_inverse=True)
    mine, theirs = np.bincount(group, side, len(known)), np.bincount(group, 1 - side, len(known))
    n, m = float(mine.sum()), float(theirs.sum())
    mass = mine / n + theirs / m
    rising: Floats = isotonic.isotonic_regression(mine / n / mass, sample_weight=mass)
    last = np.append(np.flatnonzero(np.diff(rising) > 0), len(known) - 1)
    step = np.searchsorted(last, np.arange(len(known)))
    counts = [np.bincount(step, part, len(last)) for part in (mine, theirs)]
    return known[last], ((counts[0] + 0.5) / n) / ((counts[1] + 0.5) / m)


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """`far`: the share of the window's rows at places more than 50 times as dense as in the reference. `auc`: of the
    classifier that tells window from reference. `effective`: to how many equal rows the weighted reference amounts."""

    far: float
    auc: float
    effective: float


def overlap(ratios: Ratios) -> Overlap:
    w = ratios.reference.clip(max=FAR_RATIO)
    return Overlap(
        far=float((ratios.window > FAR_RATIO).mean()),
        auc=ratios.auc,
        effective=float(w.sum() ** 2 / max(float((w**2).sum()), 1e-300)),
    )


def objection(found: Overlap) -> str:
    """Why there can be no estimate; empty where there can."""
    if found.far <= FAR_SHARE:
        return ""
    return (
        f"not estimable: {found.far:.0%} of the rows lie where the reference has next to none (density ratio above "
        f"{FAR_RATIO:g}; a classifier tells window from reference with AUC {found.auc:.2f}). Label some of these rows, "
        "or take a reference that has such rows"
    )
