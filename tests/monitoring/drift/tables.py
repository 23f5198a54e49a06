"""Columns of known distributions, for windows drawn from them."""

import numpy as np
from scipy.stats import norm

from argosy.monitoring.drift.geometry import Geometry, geometry
from argosy.packaging.profile import numbers
from argosy.profiles.cells import Column, Floats
from argosy.profiles.layout import Layout

KNOWN = tuple("abcdefgh")


class Table:
    """`normal` standard normal columns, then `categories` of eight even values; m rows of reference."""

    def __init__(self, rng: np.random.Generator, m: int = 20_000, normal: int = 4, categories: int = 1) -> None:
        self.rng = rng
        columns, counts, self.edges = [], [], []
        for place in range(normal):
            found = numbers(rng.standard_normal(m))
            self.edges.append(np.array(found.edges))
            columns.append(column(f"n{place}", found.edges, place))
            counts += [*found.counts, 0, 0, 0, 0]
        for place in range(categories):
            columns.append(
                Column(side="input", tensor="c", datatype="BYTES", name=f"c{place}", kind="categories", known=KNOWN)
            )
            counts += [*rng.multinomial(m, [0.125] * 8).tolist(), 0, 0]
        self.where: Geometry = geometry(Layout(columns), np.array(counts))
        self.reference: Floats = self.where.spread(counts)

    def window(self, n: int, shift: float = 0.0, scale: float = 1.0, of: int = 0, missing: float = 0.0) -> Floats:
        """n rows; the column `of` is moved, the others are as they were."""
        out = np.zeros(self.reference.shape)
        for place, edges in enumerate(self.edges):
            moved = place == of
            ends = norm.cdf([-np.inf, *edges, np.inf], shift if moved else 0.0, scale if moved else 1.0)
            mass = np.diff(ends) * (1 - missing if moved else 1)
            cells = [*mass[1:-1], mass[0], mass[-1], 0, missing if moved else 0]
            out[place, : len(cells)] = self.rng.multinomial(n, np.array(cells) / sum(cells))
        for place in range(len(self.edges), len(out)):
            out[place, :8] = self.rng.multinomial(n, [0.125] * 8)
        return out


def column(name: str, edges: tuple[float, ...] = (-1.0, 0.0, 1.0), place: int = 0) -> Column:
    """A numeric column."""
    return Column(side="input", tensor="x", datatype="FP64", name=name, kind="numbers", place=place, edges=edges)
