"""Direct loss estimation: the error of a regression model, from a second model that has learnt when it errs.

On the reference, where targets are known, one boosted model each learns the absolute and the squared error from
features and prediction; its mean over a window estimates MAE and MSE (the name, DLE, is NannyML's). What it gets
wrong for rows like the window's is seen on the reference, weighed to look like the window, and taken off (doubly
robust; Robins, Rotnitzky & Zhao 1994). It holds as long as features and prediction tell of the error what they told
in the reference.
"""

import math
from typing import Any

import msgspec
import numpy as np

from argosy.engines.base import require
from argosy.monitoring.eprocess import Floats
from argosy.monitoring.multivariate.classifier import TREES
from argosy.monitoring.performance.estimate import Performance, within
from argosy.monitoring.performance.ratio import FAR_RATIO, objection, overlap, ratios

FOLDS = 3
ROUNDS = 60
PARAMETERS = TREES | {"objective": "regression", "max_bin": 255}


class Loss(msgspec.Struct, frozen=True, eq=False):
    """A loss learnt from m reference rows: the models of the folds, what is left of each row's loss when the fold
    that has not seen it has predicted it (m,), and the variance of that by predicted loss as a line (intercept,
    slope)."""

    models: tuple[Any, ...]
    residual: Floats
    variance: tuple[float, float]


class Losses(msgspec.Struct, frozen=True, eq=False):
    """A reference (m, columns with the prediction last), with both losses."""

    rows: Floats
    absolute: Loss
    squared: Loss


def fit(features: Floats, predictions: Floats, targets: Floats, seed: int = 0) -> Losses:
    """Learn from reference rows: `features` (m, columns), NaN for missing; `predictions` and `targets` (m,), finite."""
    rows = np.column_stack([features, predictions])
    error = np.asarray(targets, float) - predictions
    return Losses(rows, _learn(rows, np.abs(error), seed), _learn(rows, error**2, seed))


def estimate(losses: Losses, features: Floats, predictions: Floats) -> Performance:
    """MAE and RMSE over a window, with intervals, or the reason why there are none."""
    rows = np.column_stack([features, predictions])
    found = ratios(losses.rows, rows)
    shared = overlap(found)
    if reason := objection(shared):
        return Performance(estimates={}, rows=len(rows), overlap=shared, reason=reason)
    weights = found.reference.clip(max=FAR_RATIO)
    absolute, squared = (_mean(loss, rows, weights) for loss in (losses.absolute, losses.squared))
    root = math.sqrt(squared[0])
    scale = 1 / (2 * root) if root else 0.0
    bounds = (0.0, math.inf)
    made = {
        "mae": within(*absolute, bounds),
        "rmse": within(root, squared[1] * scale, squared[2] * scale, bounds),
    }
    return Performance(estimates=made, rows=len(rows), overlap=shared)


def _learn(rows: Floats, loss: Floats, seed: int) -> Loss:
    lgb = require("lightgbm", "monitoring", "Loss estimation")
    part = np.random.default_rng(seed).permutation(len(rows)) % FOLDS
    models: list[Any] = []
    guess = np.empty(len(rows))
    for fold in range(FOLDS):
        data = lgb.Dataset(rows[part != fold], loss[part != fold], params={"verbose": -1})
        models.append(lgb.train(PARAMETERS | {"seed": seed}, data, ROUNDS))
        guess[part == fold] = models[-1].predict(rows[part == fold], num_threads=1)
    residual = loss - guess
    # The spread of a loss grows with its mean: squared residuals are fitted by a line through it.
    slope = max(0.0, float(np.cov(guess, residual**2)[0, 1] / max(float(guess.var()), 1e-300)))
    intercept = float((residual**2).mean() - slope * guess.mean())
    return Loss(tuple(models), residual, (intercept, slope))


def _mean(loss: Loss, rows: Floats, weights: Floats) -> tuple[float, float, float]:
    """(mean loss, its deviation by the rows' own chance, and by what was learnt)."""
    guess = np.mean([model.predict(rows, num_threads=1) for model in loss.models], axis=0)
    total = max(float(weights.sum()), 1e-300)
    mean = max(0.0, float(guess.mean()) + float((weights * loss.residual).sum()) / total)
    spread = np.maximum(loss.variance[0] + loss.variance[1] * guess, 0.0).mean()
    learnt = float((weights**2 * loss.residual**2).sum()) / total**2
    return mean, math.sqrt(float(spread) / len(rows)), math.sqrt(learnt)
