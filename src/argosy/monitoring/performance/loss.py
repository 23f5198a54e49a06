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
from argosy.monitoring.binary import Floats
from argosy.monitoring.performance.estimate import Estimate, Performance, within
from argosy.monitoring.performance.overlap import FAR_RATIO, objection, overlap
from argosy.monitoring.performance.ratio import ratios
from argosy.spec.errors import InvalidArgument

Z = 1.959964
FOLDS = 3
LEAST_ROWS = 100
ROUNDS = 60
PARAMETERS = {
    "objective": "regression",
    "num_leaves": 15,
    "learning_rate": 0.1,
    "min_data_in_leaf": 20,
    "verbose": -1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
}


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
    """Learn from reference rows: `features` (m, columns), NaN for missing, `predictions` and `targets` (m,).

    Raises InvalidArgument below 100 rows or where a prediction or target is not a number.
    """
    rows = _rows(features, predictions)
    if len(rows) < LEAST_ROWS or len(targets) != len(rows):
        raise InvalidArgument(
            f"there are {len(rows)} predictions and {len(targets)} targets; give at least {LEAST_ROWS}, one for each"
        )
    error = np.asarray(targets, float) - predictions
    if not np.isfinite(error).all():
        raise InvalidArgument(
            f"{int((~np.isfinite(error)).sum())} targets are not finite numbers; leave these rows out"
        )
    return Losses(rows, _learn(rows, np.abs(error), seed), _learn(rows, error**2, seed))


def estimate(losses: Losses, features: Floats, predictions: Floats, z: float = Z, seed: int = 0) -> Performance:
    """MAE and RMSE over a window, with intervals, or the reason why there are none."""
    rows = _rows(features, predictions)
    if rows.shape[1] != losses.rows.shape[1]:
        raise InvalidArgument(f"the window has {rows.shape[1] - 1} features, the reference {losses.rows.shape[1] - 1}")
    found = ratios(losses.rows, rows, seed)
    shared = overlap(found)
    if reason := objection(shared):
        return Performance(estimates={}, rows=len(rows), overlap=shared, reason=reason)
    weights = found.reference.clip(max=FAR_RATIO)
    absolute, squared = (_mean(loss, rows, weights) for loss in (losses.absolute, losses.squared))
    root = math.sqrt(squared[0])
    scale = 1 / (2 * root) if root else 0.0
    return Performance(
        estimates={
            "mae": _within(*absolute, z),
            "rmse": _within(root, squared[1] * scale, squared[2] * scale, z),
        },
        rows=len(rows),
        overlap=shared,
    )


def _within(value: float, sampling: float, calibration: float, z: float) -> Estimate:
    return within(value, sampling, calibration, z, (0.0, math.inf))


def _rows(features: Floats, predictions: Floats) -> Floats:
    predictions = np.asarray(predictions, float)
    if len(features) != len(predictions) or not len(predictions):
        raise InvalidArgument(f"there are {len(features)} rows of features and {len(predictions)} predictions")
    if not np.isfinite(predictions).all():
        count = int((~np.isfinite(predictions)).sum())
        raise InvalidArgument(f"{count} of {len(predictions)} predictions are not finite numbers; leave these rows out")
    return np.column_stack([np.asarray(features, float).reshape(len(features), -1), predictions])


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
