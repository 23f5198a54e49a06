"""What a detector of shifts answers: how large, how certain, and what it is made of."""

from collections.abc import Sequence

import msgspec
import numpy as np

from argosy.monitoring.eprocess import Floats
from argosy.spec.errors import InvalidArgument

ROWS = 10
CAUSES = 10
CHANCE = 0.87
"""The mean of the Kolmogorov-Smirnov distance by chance, times the root of 1 / (1/n + 1/m): that of Kolmogorov's
distribution, √(π/2)·ln 2 = 0.8687."""
SPREAD = 0.26
"""Its standard deviation likewise: √(π²/12 − (π/2)·ln² 2) = 0.2603."""


class Cause(msgspec.Struct, frozen=True):
    """A column or class with its part in the shift; each detector states what the number means."""

    name: str
    weight: float


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison of a window with the reference.

    `effect` is a size that does not grow with the number of rows; each detector states its scale. It has an interval of
    90 % where one is known; below `margin` it does not matter, `zero` is none at all. `p` is the chance of at least as
    much where nothing has shifted. `causes` come largest first; `rows` are those of the window that are least like the
    reference, first the least.
    """

    method: str
    effect: float
    p: float
    causes: tuple[Cause, ...] = ()
    rows: tuple[int, ...] = ()
    text: str = ""
    margin: float = 0.0
    zero: float = 0.0
    low: float | None = None
    high: float | None = None

    @property
    def material(self) -> bool:
        """Whether the effect, or the lower end of its interval, lies above the margin."""
        return (self.effect if self.low is None else self.low) > self.margin


def largest(weights: Floats, names: Sequence[str] | None) -> tuple[Cause, ...]:
    """The ten largest by size, zeros left out. Without names columns are `0`, `1`, …"""
    order = np.argsort(-np.abs(weights), kind="stable")[:CAUSES]
    return tuple(Cause(str(i) if names is None else names[int(i)], float(weights[i])) for i in order if weights[i] != 0)


def first(unlike: Floats) -> tuple[int, ...]:
    """The ten rows with the largest numbers."""
    return tuple(int(i) for i in np.argsort(-unlike, kind="stable")[:ROWS])


def tables(reference: Floats, current: Floats, least: int = 2) -> tuple[Floats, Floats]:
    """Both as float tables (n, columns); more axes (images) are flattened. Raises InvalidArgument where they do not fit
    together or have fewer than `least` rows."""
    pair: list[Floats] = []
    for name, table in (("reference", reference), ("current window", current)):
        if len(table) < least:
            raise InvalidArgument(f"the {name} has {len(table)} rows; at least {least} are needed to compare")
        pair.append(np.asarray(table, float).reshape(len(table), -1))
    if pair[0].shape[1] != pair[1].shape[1]:
        raise InvalidArgument(
            f"the reference has {pair[0].shape[1]} columns and the window {pair[1].shape[1]}; compare like with like"
        )
    return pair[0], pair[1]
