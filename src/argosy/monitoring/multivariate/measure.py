"""Every comparison of whole rows that fits a model: of its table, its vectors, and what it answers."""

import math

import msgspec
import numpy as np

from argosy.monitoring.multivariate import classifier, components, kernel, outputs
from argosy.monitoring.multivariate.shift import Cause, Shift
from argosy.monitoring.multivariate.table import Pair, Sides

LEAST = 50
"""Rows on each side that a comparison needs."""
AUC, DISTANCE = 0.55, 0.05
"""Margins: of the area under the curve, and of distances."""
GUESS = 0.5
"""The area under the curve of who can only guess."""
Z = 1.645
SPREAD = 0.26
"""The standard deviation of the Kolmogorov-Smirnov distance by chance, times the root of 1 / (1/n + 1/m)."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison: `subject` names it, `effect` is its size with an interval of 90 % where one is known, `p` the
    chance of as much where nothing has moved. Below `margin` an effect does not matter; `zero` is none at all."""

    subject: str
    effect: float
    p: float
    margin: float
    zero: float = 0.0
    low: float | None = None
    high: float | None = None
    causes: tuple[Cause, ...] = ()
    text: str = ""

    @property
    def material(self) -> bool:
        """Whether the effect, or the lower end of its interval, lies above the margin."""
        return (self.effect if self.low is None else self.low) > self.margin


def measure(sides: Sides, seed: int = 0) -> list[Measured]:
    """All of them; none for sides that have too few rows. What the model answers is compared as a whole where its
    inputs are vectors: for tables it tells little that the inputs do not."""
    found: list[Measured] = []
    if (table := _enough(sides.table)) is not None:
        found.append(_domain(table, seed))
        if len(table.names) > 1:
            found.append(_components(table, seed))
    for name, pair in sides.vectors.items():
        if (vector := _enough(pair)) is not None:
            shift = kernel.compare(vector.reference, vector.current, features=kernel.FEATURES, seed=seed)
            found.append(_measured(shift, f"{shift.method} of {name}", DISTANCE))
    if sides.vectors:
        found += [_decided(name, pair) for name, pair in sides.decisions.items() if _enough(pair)]
        if (scores := _enough(sides.scores)) is not None:
            shift = outputs.compare(scores.reference, scores.current, scores.names)
            found.append(_measured(shift, shift.method, DISTANCE, _distance_error(scores)))
    return found


def _enough(pair: Pair | None) -> Pair | None:
    return pair if pair is not None and min(len(pair.reference), len(pair.current)) >= LEAST else None


def _domain(pair: Pair, seed: int) -> Measured:
    shift = classifier.compare(pair.reference, pair.current, pair.names, seed=seed)
    n, m = len(pair.current), min(len(pair.reference), max(classifier.RATIO * len(pair.current), 500))
    found = _measured(shift, shift.method, AUC, math.sqrt((n + m + 1) / (6 * n * m)), most=1.0)
    return msgspec.structs.replace(found, zero=GUESS)


def _components(pair: Pair, seed: int) -> Measured:
    shift = components.compare(components.fit(pair.reference, pair.categorical, seed=seed), pair.current, pair.names)
    return _measured(shift, shift.method, DISTANCE, _distance_error(pair, held=0.5))


def _decided(name: str, pair: Pair) -> Measured:
    """What is missing is a decision of its own."""
    missing = float(len(pair.values))
    before, now = (np.nan_to_num(side[:, 0], nan=missing).astype(np.int64) for side in (pair.reference, pair.current))
    shift = outputs.compare_classes(before, now, (*pair.values, "missing"))
    return _measured(shift, f"{shift.method} of {name}", DISTANCE, _distance_error(pair))


def _distance_error(pair: Pair, held: float = 1.0) -> float:
    return SPREAD * math.sqrt(1 / len(pair.current) + 1 / max(held * len(pair.reference), 1))


def _measured(
    shift: Shift, subject: str, margin: float, error: float | None = None, most: float = math.inf
) -> Measured:
    return Measured(
        subject=subject,
        effect=shift.effect,
        p=shift.p,
        margin=margin,
        low=None if error is None else max(shift.effect - Z * error, 0.0),
        high=None if error is None else min(shift.effect + Z * error, most),
        causes=shift.causes,
        text=shift.text,
    )
