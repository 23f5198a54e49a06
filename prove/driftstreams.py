"""Models of fifty columns without drift and with one that moves, row by row, for `prove.drift`.

Forty numbers and ten categories in ten groups of five; within a group columns correlate by 0.8. A number is a monotone
function of a normal, which for everything but Evidently's rule is the normal itself; every fourth has 5 % missing
values.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

from argosy.monitoring.drift.detector import DetectorState, Evaluation, add_window, evaluate, start
from argosy.monitoring.drift.geometry import Geometry, geometry
from argosy.monitoring.eprocess import mixture
from argosy.packaging.profile import numbers
from argosy.profiles.cells import Column, Floats
from argosy.profiles.layout import Layout

REFERENCE = 50_000
COLUMNS, NUMBERS, GROUP, CORRELATION = 50, 40, 5, 0.8
LOOKS = 2160
Rows = npt.NDArray[np.float64]


@dataclass
class Model:
    """A reference of 50,000 rows, its geometry, and the cells' ends on the scale of the underlying normals."""

    rng: np.random.Generator
    where: Geometry
    reference: Floats
    ends: list[Floats]
    sorted_reference: Rows

    @cached_property
    def spread(self) -> Floats:
        """The reference's standard deviation of each number."""
        return np.nanstd(self.sorted_reference, axis=1)

    def rows(self, n: int, shift: float = 0.0, of: int = 1) -> Rows:
        """n rows (columns, n); the column `of` moves by `shift` standard deviations."""
        shared = np.repeat(self.rng.standard_normal((COLUMNS // GROUP, n)), GROUP, axis=0)
        out = np.sqrt(CORRELATION) * shared + np.sqrt(1 - CORRELATION) * self.rng.standard_normal((COLUMNS, n))
        out[of] += shift
        out[:NUMBERS:4][self.rng.random((NUMBERS // 4, n)) < 0.05] = np.nan
        return out

    def count(self, rows: Rows) -> Floats:
        """Rows in the cells of all columns."""
        out = np.zeros(self.reference.shape)
        for place, (ends, values) in enumerate(zip(self.ends, rows, strict=True)):
            finite = values[~np.isnan(values)]
            found = np.bincount(ends.searchsorted(finite, "right"), minlength=len(ends) + 1)
            if place < NUMBERS:
                cells = [*found[1:-1], found[0], found[-1], 0, len(values) - len(finite)]
            else:
                cells = [*found, 0, 0]
            out[place, : len(cells)] = cells
        return out


def model(seed: int) -> Model:
    """A model with one of eight references and rows of its own."""
    return replace(_reference(seed % 8), rng=np.random.default_rng([seed, 1]))


@cache
def _reference(seed: int) -> Model:
    rng = np.random.default_rng([seed, 0])
    columns: list[Column] = []
    ends: list[Floats] = []
    blank = Model(rng, _NOWHERE, np.zeros(0), [], np.zeros(0))
    rows = blank.rows(REFERENCE)
    for place in range(COLUMNS):
        if place < NUMBERS:
            edges = numbers(rows[place]).edges
            column = Column(side="input", tensor="x", datatype="FP64", name=f"n{place}", kind="numbers", edges=edges)
            ends.append(np.array([*edges[:-1], np.nextafter(edges[-1], np.inf)]))
        else:
            kinds = 5 if place % 2 else 30
            mass = 1 / np.arange(1, kinds + 1)
            ends.append(np.sort(np.quantile(rng.standard_normal(REFERENCE), np.cumsum(mass / mass.sum())[:-1])))
            known = tuple(map(str, range(kinds)))
            column = Column(
                side="input", tensor="c", datatype="BYTES", name=f"c{place}", kind="categories", known=known
            )
        columns.append(column)
    layout = Layout(columns)
    sizes = [column.cells for column in layout.columns]
    counted = Model(rng, _NOWHERE, np.zeros((COLUMNS, max(sizes))), ends, np.zeros(0)).count(rows)
    flat = np.concatenate([counted[place, :size] for place, size in enumerate(sizes)]).astype(np.int64)
    where = geometry(layout, flat)
    return Model(rng, where, where.spread(flat), ends, np.sort(rows[:NUMBERS], axis=1))


_NOWHERE = geometry(Layout([]), np.zeros(0, np.int64))


def begin(one: Model) -> DetectorState:
    """Before the first look."""
    return start(one.where, one.reference)


def judge(
    one: Model, state: DetectorState, window: Floats, base: Floats | None = None, run_length: float = LOOKS
) -> tuple[Evaluation | None, DetectorState]:
    """As `evaluate`, but effects are worked out only where there is evidence; None where there is not."""
    reference = one.reference if base is None else base
    following = add_window(one.where, state, window, reference, base)
    if mixture(mixture(following.evidence, one.where.weights)) < np.log(run_length):
        return None, following
    return evaluate(one.where, state, window, reference, run_length=run_length, base=base)


def evidently(one: Model, rows: Rows) -> npt.NDArray[np.bool_]:
    """Which columns Evidently 0.7.23 flags by default with a reference above 1,000 rows, by its documented rule:
    distance of Wasserstein over the reference's standard deviation, or of Jensen-Shannon for categories, at least
    0.1."""
    flagged = np.zeros(COLUMNS, bool)
    for place in range(NUMBERS):
        values = np.sort(rows[place][~np.isnan(rows[place])])
        reference = one.sorted_reference[place]
        reference = reference[: np.count_nonzero(~np.isnan(reference))]
        ranks = ((np.arange(len(values)) + 0.5) / max(len(values), 1) * len(reference)).astype(int)
        flagged[place] = len(values) > 0 and np.abs(reference[ranks] - values).mean() / one.spread[place] >= 0.1
    p = one.reference[NUMBERS:] / one.reference[NUMBERS:].sum(axis=-1, keepdims=True)
    q = one.count(rows)[NUMBERS:] / rows.shape[1]
    middle = np.maximum((p + q) / 2, 1e-300)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(p > 0, p * np.log(p / middle), 0.0) + np.where(q > 0, q * np.log(q / middle), 0.0)
    flagged[NUMBERS:] = np.sqrt(np.maximum(parts.sum(axis=-1) / 2, 0)) >= 0.1
    return flagged
