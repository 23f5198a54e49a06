"""How many times as dense as the reference a window is, row by row: what importance weighting weighs with.

Two boosted classifiers of window against reference, each trained on one half and asked about the other, so that no
row is weighed by a model that has learnt it. Their scores only rank; the ratio itself is counted: isotonic regression
cuts the ranking into levels, and a level's ratio is its share of the window by its share of the reference, half a row
added to each. So noise stays near 1, and where the reference has no row at all the ratio grows with the number of the
window's.
"""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from argosy.engines.base import require
from argosy.monitoring.binary import Floats
from argosy.monitoring.multivariate.classifier import mann_whitney

ROUNDS = 20
SAMPLE = 4
LEAST_SAMPLE = 2000
PARAMETERS = {
    "objective": "binary",
    "num_leaves": 15,
    "learning_rate": 0.2,
    "min_data_in_leaf": 20,
    "max_bin": 63,
    "verbose": -1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
}


class Ratios(msgspec.Struct, frozen=True, eq=False):
    """Density of the window by that of the reference, at each reference row (m,) and each window row (n,); `auc` of the
    classifiers on rows they have not seen (0.5: cannot tell)."""

    reference: Floats
    window: Floats
    auc: float


def ratios(reference: Floats, window: Floats, seed: int = 0) -> Ratios:
    """Both (rows, columns), NaN for missing, at least two rows each. Linear in the rows; the classifiers train on four
    reference rows for each of the window's, at least 2,000."""
    rng = np.random.default_rng(seed)
    m, n = len(reference), len(window)
    trained = np.zeros(m, bool)
    trained[rng.permutation(m)[: max(SAMPLE * n, LEAST_SAMPLE)]] = True
    half, half_window = rng.permutation(m) % 2, rng.permutation(n) % 2
    seen, seen_window = np.empty(m), np.empty(n)
    for side in (0, 1):
        model = _train(reference[trained & (half != side)], window[half_window != side], seed)
        seen[half == side] = model.predict(reference[half == side], raw_score=True, num_threads=1)
        seen_window[half_window == side] = model.predict(window[half_window == side], raw_score=True, num_threads=1)
    scores = np.concatenate([seen[trained], seen_window])
    side = np.repeat([0, 1], [int(trained.sum()), n])
    ends, heights = levels(scores, side)
    auc, _ = mann_whitney(scores, side, np.concatenate([half[trained], half_window]))
    return Ratios(_at(seen, ends, heights), _at(seen_window, ends, heights), auc)


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


def _at(scores: Floats, ends: Floats, heights: Floats) -> Floats:
    return heights[np.minimum(np.searchsorted(ends, scores), len(ends) - 1)]


def _train(reference: Floats, window: Floats, seed: int) -> Any:
    lgb = require("lightgbm", "monitoring", "Importance weighting")
    x, y = np.concatenate([reference, window]), np.repeat([0, 1], [len(reference), len(window)])
    weight = np.where(y == 1, len(reference) / max(len(window), 1), 1.0)
    data = lgb.Dataset(x, y, weight=weight, params={"max_bin": PARAMETERS["max_bin"], "verbose": -1})
    return lgb.train(PARAMETERS | {"seed": seed}, data, ROUNDS)
