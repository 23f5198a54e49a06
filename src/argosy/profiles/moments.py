"""Count, mean, squared deviations and range of finite numbers, per column, merged exactly but for rounding. Agents of
devices share this file."""

import msgspec
import numpy as np

from .cells import Floats, Ints


class Moments(msgspec.Struct, frozen=True, array_like=True):
    """Of one column's finite values: how many, mean, Σ(x − mean)², min, max. Without any, all but the count are 0.

    Where sums pass the range of floats, mean and `m2` are infinite or NaN.
    """

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    min: float = 0.0
    max: float = 0.0

    @property
    def std(self) -> float:
        """Standard deviation; 0 without values."""
        return float(np.sqrt(self.m2 / self.count)) if self.count else 0.0


class RunningMoments:
    """Moments of many columns at once, as vectors of their number."""

    def __init__(self, columns: int) -> None:
        self.count: Ints = np.zeros(columns, np.int64)
        self.mean: Floats = np.zeros(columns)
        self.m2: Floats = np.zeros(columns)
        self.min: Floats = np.full(columns, np.inf)
        self.max: Floats = np.full(columns, -np.inf)

    def update(self, values: Floats) -> None:
        """Add rows, shape (columns, rows); what is not finite is left out."""
        finite = np.isfinite(values)
        if finite.all():
            self._whole(values)
        else:
            self._partly(values, finite)

    def _whole(self, values: Floats) -> None:
        if not values.shape[1]:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            mean = values.mean(axis=1)
            apart = values - mean[:, None]
            m2 = np.einsum("ij,ij->i", apart, apart)
        self._merge(np.full(len(values), values.shape[1]), mean, m2, values.min(axis=1), values.max(axis=1))

    def _partly(self, values: Floats, finite: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
        count = finite.sum(axis=1)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.where(finite, values, 0.0).sum(axis=1) / np.maximum(count, 1)
            m2 = (np.where(finite, values - mean[:, None], 0.0) ** 2).sum(axis=1)
        low = np.where(finite, values, np.inf).min(axis=1, initial=np.inf)
        high = np.where(finite, values, -np.inf).max(axis=1, initial=-np.inf)
        self._merge(count, mean, m2, low, high)

    def _merge(self, count: Ints, mean: Floats, m2: Floats, low: Floats, high: Floats) -> None:
        """Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979)."""
        total = self.count + count
        share = count / np.maximum(total, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            apart = mean - self.mean
            self.mean = np.where(count > 0, self.mean + apart * share, self.mean)
            self.m2 = np.where(count > 0, self.m2 + m2 + apart * apart * (self.count * share), self.m2)
        self.count = total
        self.min, self.max = np.minimum(self.min, low), np.maximum(self.max, high)

    def add(self, moments: tuple[Moments, ...]) -> None:
        """Merge what was counted elsewhere; one per column."""
        count = np.array([one.count for one in moments], np.int64)
        low = np.where(count > 0, [one.min for one in moments], np.inf)
        high = np.where(count > 0, [one.max for one in moments], -np.inf)
        self._merge(count, np.array([m.mean for m in moments]), np.array([m.m2 for m in moments]), low, high)

    def freeze(self) -> tuple[Moments, ...]:
        """One per column."""
        full = self.count > 0
        low, high = np.where(full, self.min, 0.0), np.where(full, self.max, 0.0)
        columns = zip(
            self.count.tolist(), self.mean.tolist(), self.m2.tolist(), low.tolist(), high.tolist(), strict=True
        )
        return tuple(Moments(*one) for one in columns)
