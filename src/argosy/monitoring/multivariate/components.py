"""Principal components: does the window keep to the directions in which the reference varies, and to their lengths?

Two numbers for each row: its distance from the plane of the leading components (residual), and its Mahalanobis length
within it (Hotelling's T²). The first sees broken relations between columns, the second unusual combinations that keep
to them. Their null is fixed: the values of reference rows that the components were not fitted on.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from argosy.engines.base import require
from argosy.monitoring.eprocess import Floats
from argosy.monitoring.multivariate.shift import CHANCE, Shift, first, largest, tables
from argosy.spec.errors import InvalidArgument

SHARE = 0.65
"""Of the variance: what NannyML's `DataReconstructionDriftCalculator` keeps by default."""


class Frequencies(msgspec.Struct, frozen=True, eq=False):
    """The values of a column of codes, and how often the reference has each."""

    values: Floats
    shares: Floats


class Components(msgspec.Struct, frozen=True, eq=False):
    """A reference: `middle`, `spread` and `fill` (columns,), `axes` (k, columns), `variances` (k,) along them.

    `residual` and `t2` (rows,) of held-out reference rows, and `column` (columns,) their mean squared residual.
    """

    frequencies: dict[int, Frequencies]
    fill: Floats
    middle: Floats
    spread: Floats
    axes: Floats
    variances: Floats
    residual: Floats
    t2: Floats
    column: Floats


def fit(reference: Floats, categorical: Sequence[int] = (), share: float = SHARE, seed: int = 0) -> Components:
    """Components that hold `share` of the variance, from a random half of the rows; the other half is the null.

    Missing numbers are filled with the median. Columns in `categorical` hold codes and count as the frequency of their
    value in the reference, unseen ones as 0. Raises InvalidArgument for fewer than 20 rows.
    """
    x = np.asarray(reference, float).reshape(len(reference), -1)
    if len(x) < 20:
        raise InvalidArgument(f"the reference has {len(x)} rows; components need at least 20")
    order = np.random.default_rng(seed).permutation(len(x))
    half, rest = x[order[: len(x) // 2]], x[order[len(x) // 2 :]]
    frequencies: dict[int, Frequencies] = {}
    for index in categorical:
        values, counts = np.unique(half[:, index], return_counts=True)
        frequencies[index] = Frequencies(values, counts / counts.sum())
    coded = _encode(half, frequencies)
    missing = ~np.isfinite(coded)
    fill = np.array([np.median(c[~m]) if not m.all() else 0.0 for c, m in zip(coded.T, missing.T, strict=True)])
    coded = np.where(missing, fill, coded)
    middle, spread = coded.mean(axis=0), coded.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    values, vectors = np.linalg.eigh(np.cov((coded - middle) / spread, rowvar=False).reshape(x.shape[1], -1))
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    count = 1 + int(np.searchsorted(np.cumsum(values), share * max(float(values.sum()), 1e-300)))
    count = max(1, min(count, int((values > 1e-9).sum())))
    found = Components(
        frequencies, fill, middle, spread, vectors[:, :count].T, np.maximum(values[:count], 1e-9), fill, fill, fill
    )
    left, t2 = _project(found, rest)
    squared = left**2
    return msgspec.structs.replace(found, residual=np.sqrt(squared.sum(axis=1)), t2=t2, column=squared.mean(axis=0))


def compare(components: Components, current: Floats, names: Sequence[str] | None = None) -> Shift:
    """The shift against fitted components: a Kolmogorov–Smirnov test each for residuals and T², p doubled for the two.

    `effect` is the distance (0 to 1) of the more telling one, less what chance alone gives (at least 0); the causes are
    the columns whose mean squared residual rose most (negative: fell), in units of their variance.
    """
    stats = require("scipy.stats", "monitoring", "The test of principal components")
    columns = len(components.middle)
    _, x = tables(np.empty((1, columns)), current, 1)
    left, t2 = _project(components, x)
    residual = np.sqrt((left**2).sum(axis=1))
    tests = [stats.ks_2samp(*pair) for pair in ((components.residual, residual), (components.t2, t2))]
    p = min(1.0, 2 * min(float(test.pvalue) for test in tests))
    chance = CHANCE * np.sqrt(1 / len(x) + 1 / len(components.t2))
    text = (
        f"the window's mean residual is {_times(residual, components.residual)} the reference's, its mean T² "
        f"{_times(t2, components.t2)} (p {p:.2g})"
    )
    unlike = residual / max(float(np.median(components.residual)), 1e-12)
    unlike = np.maximum(unlike**2, t2 / max(float(np.median(components.t2)), 1e-12))
    return Shift(
        method="principal components",
        effect=max(0.0, max(float(test.statistic) for test in tests) - float(chance)),
        p=p,
        causes=largest((left**2).mean(axis=0) - components.column, names),
        rows=first(unlike),
        text=text,
    )


def _times(now: Floats, before: Floats) -> str:
    return f"{now.mean() / max(float(before.mean()), 1e-12):.2f} ×"


def _encode(x: Floats, frequencies: dict[int, Frequencies]) -> Floats:
    x = x.copy()
    for index, known in frequencies.items():
        at = np.minimum(np.searchsorted(known.values, x[:, index]), len(known.values) - 1)
        same = (known.values[at] == x[:, index]) | (np.isnan(known.values[at]) & np.isnan(x[:, index]))
        x[:, index] = np.where(same, known.shares[at], 0.0)
    return x


def _project(components: Components, x: Floats) -> tuple[Floats, Floats]:
    """What the components leave of each row (n, columns), and T² (n,)."""
    coded = _encode(x, components.frequencies)
    z = (np.where(np.isfinite(coded), coded, components.fill) - components.middle) / components.spread
    along = z @ components.axes.T
    return z - along @ components.axes, (along**2 / components.variances).sum(axis=1)
