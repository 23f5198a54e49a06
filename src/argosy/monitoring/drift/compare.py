"""One window against the reference, once: what `argosy drift` shows and a pipeline's exit code rests on.

Beside effects and evidence these are the statistics people know (PSI, Jensen-Shannon, Kolmogorov-Smirnov, Wasserstein,
χ², G, L∞), each with what chance gives: window and reference are drawn again and again from both together, with as many
rows as they have. That is the null at any window size, one row included, where textbook thresholds are off. For large
windows it agrees with theory: PSI and 8 times the divergence are (1/n + 1/m)·χ²(cells − 1). p-values are never below
1/(draws + 1).
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from argosy.monitoring.drift.detector import add_window, start
from argosy.monitoring.drift.effect import Effect, Margins, effects
from argosy.monitoring.drift.geometry import Geometry, ordered
from argosy.monitoring.eprocess import e_bh, mixture
from argosy.profiles.cells import Column, Floats

ALPHA = 0.05
DRAWS = 400
SMOOTHING = 0.5


class Statistic(msgspec.Struct, frozen=True, kw_only=True):
    """A distance, its mean by chance alone at these sizes, how likely chance gives as much, and the e-value
    1/(2√p)."""

    name: str
    value: float
    chance: float
    p: float

    @property
    def e(self) -> float:
        """Evidence that multiplies over windows and averages over columns: κ·p^(κ−1) with κ = ½ (Vovk, Wang 2021)."""
        return 0.5 / self.p**0.5


def statistics(column: Column, reference: Floats, current: Floats, seed: int = 0) -> tuple[Statistic, ...]:
    """All that fit the column's kind, from counts in its cells; none without rows on both sides."""
    reference, current = reference[: column.cells].astype(float), current[: column.cells].astype(float)
    if column.kind == "numbers":
        order = [*ordered(column), column.cells - 2, column.cells - 1]
        reference, current = reference[order], current[order]
    n, m = int(current.sum()), int(reference.sum())
    if not n or not m:
        return ()
    rng = np.random.default_rng(seed)
    pooled = (reference + current) / (n + m)
    window, base = (rng.multinomial(size, pooled / pooled.sum(), DRAWS).astype(float) for size in (n, m))
    kinds = dict(_KINDS)
    if column.kind == "numbers" and len(column.edges) > 1:
        kinds |= {"KS": _ks, "W1": _wasserstein(column)}
    found: list[Statistic] = []
    for name, kind in kinds.items():
        value, null = float(kind(reference, current)), kind(base, window)
        above = int(np.count_nonzero(null >= value - 1e-12))
        found.append(Statistic(name=name, value=value, chance=float(null.mean()), p=(1 + above) / (DRAWS + 1)))
    return tuple(found)


Distance = Callable[[Floats, Floats], Floats]


def _shares(counts: Floats) -> Floats:
    return counts / counts.sum(axis=-1, keepdims=True)


def _psi(reference: Floats, current: Floats) -> Floats:
    """Σ (q − p)·ln(q/p), half a row added to every cell that has any on either side."""
    used = (reference + current > 0) * SMOOTHING
    p, q = _shares(reference + used), _shares(current + used)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sum(np.where(used > 0, (q - p) * np.log(q / p), 0.0), axis=-1)


def _js(reference: Floats, current: Floats) -> Floats:
    """The distance: root of the divergence in nats."""
    p, q = _shares(reference), _shares(current)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(p > 0, p * np.log(p / middle), 0.0) + np.where(q > 0, q * np.log(q / middle), 0.0)
    return np.sqrt(np.maximum(parts.sum(axis=-1) / 2, 0.0))


def _chi2(reference: Floats, current: Floats) -> Floats:
    """Pearson's, of two samples."""
    n, m = current.sum(axis=-1, keepdims=True), reference.sum(axis=-1, keepdims=True)
    both = np.maximum(reference + current, 1e-300)
    return np.sum((current * np.sqrt(m / n) - reference * np.sqrt(n / m)) ** 2 / both, axis=-1)


def _g(reference: Floats, current: Floats) -> Floats:
    """The likelihood ratio of two samples against one."""
    pooled = _shares(reference + current)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(current > 0, current * np.log(_shares(current) / pooled), 0.0)
        right = np.where(reference > 0, reference * np.log(_shares(reference) / pooled), 0.0)
    return 2 * (left + right).sum(axis=-1)


def _linf(reference: Floats, current: Floats) -> Floats:
    return np.abs(_shares(current) - _shares(reference)).max(axis=-1)


def _ks(reference: Floats, current: Floats) -> Floats:
    """Over the finite cells, in order; rows that are not finite are left out."""
    reference, current = reference[..., :-2], current[..., :-2]
    p = reference / np.maximum(reference.sum(axis=-1, keepdims=True), 1)
    q = current / np.maximum(current.sum(axis=-1, keepdims=True), 1)
    return np.abs(np.cumsum(q - p, axis=-1)).max(axis=-1)


def _wasserstein(column: Column) -> Distance:
    """In the column's own unit, each bin at its middle, rows outside at the ends."""
    edges = np.array(column.edges)
    middles = np.concatenate([edges[:1], (edges[:-1] + edges[1:]) / 2, edges[-1:]])

    def distance(reference: Floats, current: Floats) -> Floats:
        reference, current = reference[..., :-2], current[..., :-2]
        p = reference / np.maximum(reference.sum(axis=-1, keepdims=True), 1)
        q = current / np.maximum(current.sum(axis=-1, keepdims=True), 1)
        return np.abs(np.cumsum(q - p, axis=-1)[..., :-1]) @ np.diff(middles)

    return distance


_KINDS: dict[str, Distance] = {"PSI": _psi, "JS": _js, "chi2": _chi2, "G": _g, "Linf": _linf}


@dataclass(frozen=True)
class Compared:
    """One column: its rows in the window, effects (the most material first), the statistics people know, the e-value
    against "drawn as the reference was", and whether both evidence and a material effect say that it has drifted."""

    column: str
    rows: int
    effects: tuple[Effect, ...]
    statistics: tuple[Statistic, ...]
    e: float
    drifted: bool


def compare(where: Geometry, reference: Floats, window: Floats) -> tuple[Compared, ...]:
    """All columns, the strongest evidence first. Of the columns named drifted at most a share `ALPHA` is so falsely, on
    average, for one window; for windows that go on use `detector.evaluate`. Both are counts (D, C)."""
    if not len(where.columns):
        return ()
    state = add_window(where, start(where, reference), window, reference)
    logs = mixture(state.evidence, where.weights)
    blamed = set(e_bh(logs, 1 / ALPHA).tolist())
    out: list[Compared] = []
    for place, column in enumerate(where.columns):
        found = effects(column, where.scores[place], reference[place], window[place], Margins())
        out.append(
            Compared(
                column=column.name,
                rows=int(window[place].sum()),
                effects=found,
                statistics=statistics(column, reference[place], window[place]),
                e=float(np.exp(min(logs[place], 700.0))),
                drifted=place in blamed and any(effect.material for effect in found),
            )
        )
    return tuple(sorted(out, key=lambda one: -one.e))
