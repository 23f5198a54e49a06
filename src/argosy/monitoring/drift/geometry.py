"""How columns may move, written down before any window is seen: the alternatives that evidence bets on.

Counts of all columns lie in one matrix (columns, cells), padded with cells that stay empty. Numbers get scores:
each cell the mean normal score of its place in the reference, so that a move by θ of a normal column is the tilt
exp(θ·score).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from argosy.profiles.cells import BELOW, Column, Floats, Ints
from argosy.profiles.layout import Layout

SHIFTS = (0.1, 0.25, 0.6, 1.5)
SCALES = (-0.3, -0.1, 0.1, 0.3)
RARE = (0.02, 0.2)
APART = (0.05, 0.5)
STEPS = (0.5, 1.0)
"""Sizes of what evidence bets on: moves in standard deviations, changes of the logarithm of the spread, shares of rows
that go to cells that should stay empty, distances Σ(q − p)²/p, steps from the shares so far towards those of the last
windows. Any sizes are valid; these, and the weights, were set by what `prove.drift` finds within so many rows: most
weight is on the smallest move, which needs the most evidence (docs/guides/drift.md)."""

_SHIFT_WEIGHTS = (0.11, 0.05, 0.04, 0.03)
_WEIGHTS = {"scale": 0.04, "rare": 0.03, "apart": 0.06, "step": 0.07}
_TAIL = 4.0
"""The largest normal score, that of one row in 31,574: 1/Φ(−4)."""


@dataclass(frozen=True)
class Geometry:
    """Of D columns, padded to C cells, with A alternatives each.

    `where` (D, C) is the flat place of each cell, `real` (D, C) says which are no padding; `scores` (D, C) are the
    normal scores of numbers, 0 elsewhere; `tilts` (D, T, C) the logs of tilted shares; `rare` (D, 2, C) the cells
    that should stay empty: missing, and outside (numbers) or other (categories); `weights` (D, A) sum to 1 along
    alternatives, in the order tilts, rare by size, Dirichlet by distance, learned by step.
    """

    columns: tuple[Column, ...]
    where: Ints
    real: npt.NDArray[np.bool_]
    scores: Floats
    tilts: Floats
    rare: Floats
    weights: Floats

    def spread(self, flat: Sequence[int] | Ints) -> Floats:
        """Flat counts of a profile as a matrix (D, C)."""
        counts = np.asarray(flat, float)
        return np.where(self.real, counts[..., self.where], 0.0)


def geometry(layout: Layout, reference: Ints) -> Geometry:
    """For the columns of a layout that have bins or listed values, with the reference's flat counts."""
    places = [place for place, column in enumerate(layout.columns) if column.detailed]
    columns = tuple(layout.columns[place] for place in places)
    width = max((column.cells for column in columns), default=0)
    shape = (len(columns), width)
    where, real, scores = np.zeros(shape, np.int64), np.zeros(shape, bool), np.zeros(shape)
    rare, numbers = np.zeros((len(columns), 2, width)), np.zeros(len(columns))
    for row, (place, column) in enumerate(zip(places, columns, strict=True)):
        cells = layout.slice(place)
        where[row, : column.cells] = np.arange(cells.start, cells.stop)
        real[row, : column.cells] = True
        rare[row, 0, column.cells - 1] = 1
        rare[row, 1, column.inner : column.cells - 1] = 1
        if column.kind == "numbers":
            scores[row, : column.cells] = _scores(column, reference[cells])
            numbers[row] = 1
    moves = [sign * size * scores for sign in (1, -1) for size in SHIFTS]
    wide = (scores**2 - 1) / np.sqrt(2) * (scores != 0)
    tilts = np.stack([*moves, *(size * wide for size in SCALES)], axis=-2)
    return Geometry(columns, where, real, scores, tilts, rare, _weights(numbers, scores))


def ordered(column: Column) -> list[int]:
    """The finite cells of a number from left to right: below, bins, above."""
    inner = column.inner
    return [inner + BELOW, *range(inner), inner + BELOW + 1]


def _scores(column: Column, counts: Ints) -> Floats:
    """Mean of the standard normal within each cell's range of ranks; standardised over the reference's rows."""
    out = np.zeros(column.cells)
    cells = ordered(column)
    mass = counts[cells] + np.array([0.5, *[1e-9] * column.inner, 0.5])
    total = float(mass.sum())
    normal = NormalDist()
    ends = [-_TAIL, *(normal.inv_cdf(min(max(float(u), 1e-9), 1 - 1e-9)) for u in np.cumsum(mass)[:-1] / total), _TAIL]
    density = [0.0, *(normal.pdf(end) for end in ends[1:-1]), 0.0]
    for place, cell in enumerate(cells):
        out[cell] = (density[place] - density[place + 1]) / (mass[place] / total)
    return np.clip(out, -_TAIL, _TAIL)


def _weights(numbers: Floats, scores: Floats) -> Floats:
    """Categories, and numbers of one cell, have no order to move along: their weight goes to the rest."""
    moves = [*_SHIFT_WEIGHTS, *_SHIFT_WEIGHTS, *[_WEIGHTS["scale"]] * len(SCALES)]
    rest = [_WEIGHTS["rare"]] * 2 * len(RARE) + [_WEIGHTS["apart"]] * len(APART) + [_WEIGHTS["step"]] * len(STEPS)
    ranked = (numbers > 0) & (np.ptp(scores, axis=-1) > 0 if scores.size else numbers > 0)
    weights = np.where(ranked[:, None], [*moves, *rest], [*[0.0] * len(moves), *rest])
    return weights / weights.sum(axis=-1, keepdims=True)
