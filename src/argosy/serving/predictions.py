"""Predictions of a replica, counted by output and category: what a guard compares between two revisions.

Strings, booleans, whole numbers and labels count as themselves. Of a row of scores the largest counts, by its column;
of two scores, which are one in truth, the second by its size. Single numbers count by size. Anything larger
(embeddings, images) is not counted: its elements one by one say little about a change.
"""

from collections.abc import Sequence

import numpy as np

from argosy.serving.counts import MAX_CATEGORIES, OTHER, number_bin
from argosy.serving.observer import EngineCall, joined
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array

MAX_TEXT = 100
MAX_COLUMNS = 1000


class Predictions:
    """Counts of one model since it was loaded."""

    def __init__(self, signature: Signature) -> None:
        self._outputs = [(place, spec) for place, spec in enumerate(signature.outputs) if countable(spec)]
        self.counts: dict[str, dict[str, int]] = {spec.name: {} for _, spec in self._outputs}

    def observe(self, calls: Sequence[EngineCall]) -> None:
        """Count the predictions of engine calls."""
        for place, spec in self._outputs:
            counts = self.counts[spec.name]
            for name, count in categories(spec, [call.outputs[place] for call in calls]).items():
                key = name if name in counts or len(counts) < MAX_CATEGORIES else OTHER
                counts[key] = counts.get(key, 0) + count


def countable(spec: TensorSpec) -> bool:
    """Whether an output is one value, or one row of scores, for each row asked."""
    width = spec.shape[-1] if len(spec.shape) == 2 else 1
    return len(spec.shape) <= 2 and 0 < width <= MAX_COLUMNS and spec.datatype != "BF16"


def categories(spec: TensorSpec, arrays: Sequence[Array]) -> dict[str, int]:
    """How often each category was answered."""
    if len(spec.shape) < 2:
        values = joined(arrays).reshape(-1)
    else:
        table = joined(arrays)
        if table.shape[1] > 2 and table.dtype.kind in "fiu":
            return _by_largest(table)
        values = table[:, -1]
    if values.dtype.kind == "f":
        return _by_size(values)
    if values.dtype.kind in "iu" and values.size and values.min() >= 0 and values.max() < MAX_CATEGORIES:
        return {str(value): count for value, count in enumerate(np.bincount(values).tolist()) if count}
    unique, counts = np.unique(values, return_counts=True)
    names = [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in unique.tolist()]
    return {name[:MAX_TEXT]: count for name, count in zip(names, counts.tolist(), strict=True)}


def _by_largest(scores: Array) -> dict[str, int]:
    """By the column of the largest score; a NaN counts as one, which `argmax` finds first."""
    places = scores.argmax(1)
    gaps = np.isnan(scores[np.arange(len(scores)), places])
    found = {str(place): count for place, count in enumerate(np.bincount(places[~gaps]).tolist()) if count}
    return found | ({"nan": int(gaps.sum())} if gaps.any() else {})


def _by_size(values: Array) -> dict[str, int]:
    """By `number_bin`, computed once for each bin that occurs."""
    wide = values.astype(np.float64)
    size = np.abs(wide)
    with np.errstate(divide="ignore", invalid="ignore"):
        power = np.floor(2 * np.log2(np.minimum(size, 1e18)))
    power[size < 1e-9] = -1000.0
    keys = np.where(np.isnan(wide), 1e6, (power + 2000) * np.where(wide < 0, -1, 1))
    _, first, counts = np.unique(keys, return_index=True, return_counts=True)
    found: dict[str, int] = {}
    for place, count in zip(first.tolist(), counts.tolist(), strict=True):
        name = number_bin(float(wide[place]))
        found[name] = found.get(name, 0) + count
    return found
