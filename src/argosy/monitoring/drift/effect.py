"""How far a column has moved, with an interval: what makes evidence of a move material.

- `shift` (numbers): the Wasserstein distance to the reference after each value has been replaced by its normal
score in the reference. For a normal column it is the classic distance in standard deviations; outliers cannot blow
it up.
- `shape`: the Jensen-Shannon distance (root of the divergence in nats) over all cells.
- `missing`, `outside` (numbers) or `unseen` (categories): by how much the share of such rows has risen or fallen.

What chance alone gives at these sizes is taken off: of the divergence its null mean (cells − 1)·c/8 with c = 1/n +
1/m, of the squared Wasserstein distance the square of its null mean. Intervals are by the delta method.
"""

import math

import msgspec
import numpy as np

from argosy.monitoring.drift.geometry import ordered
from argosy.profiles.cells import EXTRA, Column, Floats

Z = 1.645
"""Each end of an interval errs with probability 5 %."""

PRIOR = 5.0
"""Rows of the reference that are added to a window's for its spread, which of one row alone would be 0. The simulated
intervals of `tests/monitoring/drift/test_effect.py`, from one row on, set it."""
UNSURE = 0.6
"""The standard deviation of a Wasserstein distance that chance alone gives, as a share of its mean. It is 0.39 for 20
equal bins (4,000 simulated windows of 500 rows) and √(π/2 − 1) = 0.76 for two cells."""


class Margins(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Below which a move does not matter: `shift` in standard deviations, `shape` as Jensen-Shannon distance,
    `share` of rows that are missing, outside or unseen."""

    shift: float = 0.05
    shape: float = 0.1
    share: float = 0.02


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One effect with its 90 % interval: each end errs with probability 5 %. `margin`: below it a move does not
    matter."""

    name: str
    value: float
    low: float
    high: float
    margin: float

    @property
    def material(self) -> bool:
        """Whether even the lower end lies above the margin."""
        return self.low > self.margin


def effects(column: Column, scores: Floats, reference: Floats, current: Floats, margins: Margins) -> tuple[Effect, ...]:
    """All effects of one column from counts in its cells, the most material first; none without rows on both sides."""
    reference, current = reference[: column.cells], current[: column.cells]
    if reference.sum() < 1 or current.sum() < 1:
        return ()
    last = column.cells - 1
    shares = {"missing": [last]}
    if column.kind == "numbers":
        shares["outside"] = [*range(column.inner, last)]
    elif column.complete:
        # A reference that does not list every value cannot tell an unseen one.
        shares["unseen"] = [*range(last - EXTRA["categories"] + 1, last)]
    found = [_shape(reference, current, margins.shape)]
    found += [_share(name, reference, current, cells, margins.share) for name, cells in shares.items()]
    if column.kind == "numbers":
        cells = ordered(column)
        found += _shift(scores[cells], reference[cells], current[cells], margins.shift)
    return tuple(sorted(found, key=lambda effect: -effect.low / effect.margin))


def _shift(scores: Floats, reference: Floats, current: Floats, margin: float) -> list[Effect]:
    m, n = reference.sum(), current.sum()
    if m < 1 or n < 1:
        return []
    p, q, gaps = reference / m, current / n, np.maximum(np.diff(scores), 0)
    apart = np.cumsum(q - p)[:-1]
    pooled = np.cumsum((reference + current) / (m + n))[:-1]
    chance = math.sqrt(2 / math.pi) * float(gaps @ np.sqrt(np.maximum(pooled * (1 - pooled), 0) * (1 / n + 1 / m)))
    distance = float(gaps @ np.abs(apart))
    witness = np.concatenate([[0.0], np.cumsum(np.sign(apart) * gaps)])
    spread = _variance((current + PRIOR * p) / (n + PRIOR), witness) / n + _variance(p, witness) / m
    # Where the distance is no more than chance gives, the delta method knows too little; past that this falls to 0.
    doubt = min(1.0, (chance / distance) ** 2) if distance > 0 else 1.0
    error = math.sqrt(spread + (UNSURE * chance) ** 2 * doubt)
    value = math.sqrt(max(distance**2 - chance**2, 0.0))
    low, high = max(value - Z * error, 0.0), distance + Z * error
    return [Effect(name="shift", value=value, low=low, high=high, margin=margin)]


def _variance(shares: Floats, values: Floats) -> float:
    mean = float(shares @ values)
    return max(float(shares @ (values - mean) ** 2), 0.0)


def _shape(reference: Floats, current: Floats, margin: float) -> Effect:
    m, n = reference.sum(), current.sum()
    p, q = reference / m, current / n
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(p > 0, np.log(p / middle), 0.0)
        right = np.where(q > 0, np.log(q / middle), 0.0)
    divergence = float(p @ left + q @ right) / 2
    cells, c = int(np.count_nonzero(middle)), 1 / n + 1 / m
    chance = (cells - 1) * c / 8
    error = math.sqrt(_variance(q, right / 2) / n + _variance(p, left / 2) / m + 2 * (cells - 1) * (c / 8) ** 2)
    value = divergence - chance
    ends = (value, value - Z * error, value + Z * error)
    value, low, high = (math.sqrt(max(end, 0.0)) for end in ends)
    return Effect(name="shape", value=value, low=low, high=high, margin=margin)


def _share(name: str, reference: Floats, current: Floats, cells: list[int], margin: float) -> Effect:
    """Of the larger of rise and fall, after Agresti and Caffo (2000): one row added to each side and kind."""
    n, m = current.sum() + 2, reference.sum() + 2
    q, p = (current[cells].sum() + 1) / n, (reference[cells].sum() + 1) / m
    error = math.sqrt(q * (1 - q) / n + p * (1 - p) / m)
    plain = abs(current[cells].sum() / (n - 2) - reference[cells].sum() / (m - 2))
    apart = abs(q - p)
    return Effect(name=name, value=float(plain), low=max(apart - Z * error, 0.0), high=apart + Z * error, margin=margin)
