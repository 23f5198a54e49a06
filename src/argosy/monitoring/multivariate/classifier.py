"""Domain classifier: can a model tell the window's rows from the reference's? What it uses to tell them is the cause.

Scores are out-of-fold, so that what is told apart is there and not learnt by heart. The evidence is the Mann–Whitney
statistic added over the folds, with twice its usual variance: a chance difference between folds A and B raises the
score of A's model on B and of B's on A, so every pair of folds counts twice. With the usual variance one window in
eight would be significant at 5 %. Source: Lopez-Paz & Oquab, "Revisiting classifier two-sample tests" (ICLR 2017).
"""

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from argosy.engines.base import require
from argosy.monitoring.eprocess import Floats
from argosy.monitoring.multivariate.shift import Shift, first, largest, tables

FOLDS = 5
MOST_ROWS = 20_000
RATIO = 4
TREES = {
    "objective": "binary",
    "num_leaves": 15,
    "learning_rate": 0.1,
    "min_data_in_leaf": 20,
    "max_bin": 63,
    "verbose": -1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
}

Model = Callable[[Floats], Floats]
Learner = Callable[[Floats, npt.NDArray[np.int64], int], tuple[Model, Floats]]
"""(rows, 0 for reference and 1 for current, seed) → (score of new rows in (0, 1), importance of each column)."""


class Separation(msgspec.Struct, frozen=True, eq=False):
    """`scores` (n,) in (0, 1) of the current rows by models that have not seen them, more meaning "rather current",
    NaN for rows that were not used; the `auc` and its `p`; `importance` (columns,) summing to 1."""

    scores: Floats
    auc: float
    p: float
    importance: Floats


def trees(rounds: int = 60) -> Learner:
    """LightGBM: for tables; takes missing values."""

    def learn(x: Floats, y: npt.NDArray[np.int64], seed: int) -> tuple[Model, Floats]:
        lgb = require("lightgbm", "monitoring", "A domain classifier")
        weight = np.where(y == 1, (y == 0).sum() / max((y == 1).sum(), 1), 1.0)
        data = lgb.Dataset(x, y, weight=weight, params={"max_bin": 63, "verbose": -1})
        booster = lgb.train(TREES | {"seed": seed}, data, rounds)
        return booster.predict, np.asarray(booster.feature_importance("gain"), float)

    return learn


def separate(
    reference: Floats, current: Floats, learner: Learner | None = None, folds: int = FOLDS, seed: int = 0
) -> Separation:
    """Score every row by a model that has not seen it.

    At most 20,000 rows of each side, and four reference rows for each current one (drawn by `seed`), are used.
    """
    learner = learner or trees()
    reference, current = tables(reference, current, folds)
    rng = np.random.default_rng(seed)
    picked = rng.permutation(len(current))[:MOST_ROWS] if len(current) > MOST_ROWS else np.arange(len(current))
    most = min(MOST_ROWS, max(RATIO * len(picked), 500))
    chosen = np.sort(rng.permutation(len(reference))[:most])
    x, y = np.concatenate([reference[chosen], current[picked]]), np.repeat([0, 1], [len(chosen), len(picked)])
    part = np.concatenate([rng.permutation(np.arange(len(side)) % folds) for side in (chosen, picked)])
    scores, importance = np.empty(len(x)), np.zeros(x.shape[1])
    for fold in range(folds):
        model, weights = learner(x[part != fold], y[part != fold], seed + fold)
        scores[part == fold] = model(x[part == fold])
        importance += weights / max(float(weights.sum()), 1e-300) / folds
    auc, p = mann_whitney(scores, y, part)
    found = np.full(len(current), np.nan)
    found[picked] = scores[len(chosen) :]
    return Separation(found, auc, p, importance)


def mann_whitney(
    scores: Floats, y: npt.NDArray[np.int64], part: npt.NDArray[np.int64] | None = None
) -> tuple[float, float]:
    """(AUC, one-sided p) of the two-sample rank test, ties by half. With `part` (n,), the fold of each row, the folds'
    statistics are added, and their variance doubled."""
    twice = 1 if part is None else 2
    part = np.zeros(len(y), int) if part is None else part
    above = pairs = variance = 0.0
    for one in np.unique(part):
        s, label = scores[part == one], y[part == one]
        n, m = int((label == 1).sum()), int((label == 0).sum())
        if not n or not m:
            continue
        _, group, size = np.unique(s, return_inverse=True, return_counts=True)
        ranks = (np.cumsum(size) - (size - 1) / 2)[group]
        above += float(ranks[label == 1].sum()) - n * (n + 1) / 2
        pairs += n * m
        ties = float((size.astype(float) ** 3 - size).sum()) / ((n + m) * (n + m - 1))
        variance += n * m / 12 * (n + m + 1 - ties)
    if not pairs or variance <= 0:
        return 0.5, 1.0
    z = (above - pairs / 2) / math.sqrt(twice * variance)
    return above / pairs, 0.5 * math.erfc(z / math.sqrt(2))


def compare(
    reference: Floats,
    current: Floats,
    names: Sequence[str] | None = None,
    learner: Learner | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> Shift:
    """The shift as the classifier sees it: `effect` is the out-of-fold AUC (0.5: cannot tell, 1: always tells), the
    causes are the columns' shares of what the classifier gained, the rows those it holds for most current."""
    found = separate(reference, current, learner, folds, seed)
    text = f"a classifier tells the window from the reference with AUC {found.auc:.3f} (p {found.p:.2g})"
    return Shift(
        method="domain classifier",
        effect=found.auc,
        p=found.p,
        causes=largest(found.importance, names),
        rows=first(np.nan_to_num(found.scores)),
        text=text,
    )
