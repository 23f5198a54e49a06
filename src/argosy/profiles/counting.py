"""Rows of requests and answers as counts in cells. Agents of devices share this file: it imports numpy, and what stands
beside it in the folder."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .cells import EMPTY, INFINITE, MISSING, OTHER, Cells, Column, Floats, Ints
from .moments import RunningMoments
from .values import ValueCounts

Array = np.ndarray[Any, np.dtype[Any]]
MAX_TEXT = 100
"""Characters of a category, as reference profiles have them."""


class Places(Protocol):
    """Random places. A `numpy.random.Generator` is one, which devices do without: it takes 3 MB of memory."""

    def integers(self, low: int, *, size: int) -> Any: ...


class CellsError(ValueError):
    """Rows do not fit the columns. The message says why."""


@dataclass(frozen=True)
class Batch:
    """`values` (numbers, rows) and their `cells` of the same shape, `texts` one list of values per category column."""

    rows: int
    values: Floats
    cells: Ints
    texts: list[list[Any]]

    def take(self, rows: Ints) -> "Batch":
        """Some of the rows, by index."""
        few: list[int] = rows.tolist()
        return Batch(
            len(few), self.values[:, rows], self.cells[:, rows], [[texts[row] for row in few] for texts in self.texts]
        )


def prepare(where: Cells, inputs: Mapping[str, Array], outputs: Mapping[str, Array], rng: Places) -> Batch:
    """Rows along axis 0 of every array. A tensor that is absent is missing in every row; of a tensor that is no table
    one value per row is taken, at a random place, so that values stay independent of one another.

    Raises CellsError where the arrays differ in rows or a table has too few columns.
    """
    sides = {"input": inputs, "output": outputs}
    sizes = {len(array) if array.ndim else 1 for arrays in sides.values() for array in arrays.values()}
    if len(sizes) != 1:
        raise CellsError(f"a profile needs inputs and outputs of equally many rows; these have {sorted(sizes)}")
    rows = sizes.pop()
    values = np.empty((where.numbers, rows))
    for start, end in where.runs:
        first = where.columns[start]
        array = sides[first.side].get(first.tensor)
        values[start:end] = np.nan if array is None else _numbers(array, where.columns[start:end], rng)
    texts = [
        _texts(sides[column.side].get(column.tensor), column, rows, rng) for column in where.columns[where.numbers :]
    ]
    return Batch(rows, values, _cells(where, values), texts)


def _numbers(array: Array, columns: Sequence[Column], rng: Places) -> Array:
    first = columns[0]
    if first.place is None:
        picked = _one_per_row(array, rng)[None, :]
    else:
        _check_width(array, columns[-1])
        picked = array[:, first.place : first.place + len(columns)].T
    return (picked.astype("<u4") << 16).view("<f4") if first.datatype == "BF16" else picked


def _check_width(array: Array, column: Column) -> None:
    if array.ndim != 2 or array.shape[1] <= (column.place or 0):
        raise CellsError(f"'{column.tensor}' has shape {list(array.shape)}, but the profile has '{column.name}'")


def _one_per_row(array: Array, rng: Places) -> Array:
    if array.ndim == 1:
        return array
    flat = array.reshape(len(array), -1)
    if not flat.shape[1]:
        return np.full(len(array), np.nan)
    if flat.shape[1] == 1:
        return flat[:, 0]
    return flat[np.arange(len(flat)), rng.integers(flat.shape[1], size=len(flat))]


def _texts(array: Array | None, column: Column, rows: int, rng: Places) -> list[Any]:
    if array is None:
        return [b""] * rows
    if column.place is None:
        return _one_per_row(array, rng).tolist()
    _check_width(array, column)
    return array[:, column.place].tolist()


def _cells(where: Cells, values: Floats) -> Ints:
    found = np.empty(values.shape, np.int64)
    for index, (edges, order) in enumerate(zip(where.search, where.order, strict=True)):
        found[index] = order[edges.searchsorted(values[index], "right")]
    finite = np.isfinite(values)
    if not finite.all():
        inner = np.array([column.inner for column in where.columns[: where.numbers]], np.int64)[:, None]
        gaps = np.isnan(values)
        np.copyto(found, inner + INFINITE, where=~finite)
        np.copyto(found, inner + MISSING, where=gaps)
    return found


def text(value: Any) -> str:
    """A category as the reference profile spells it."""
    return value.decode(errors="replace")[:MAX_TEXT] if isinstance(value, bytes) else str(value)[:MAX_TEXT]


class Dictionary:
    """The listed values of a category column → their cells, remembering how raw values are spelled."""

    def __init__(self, column: Column) -> None:
        self.cells = {value: cell for cell, value in enumerate(column.known)}
        self.cells[""] = column.inner + EMPTY
        self.other = column.inner + OTHER

    def cell(self, value: Any) -> int:
        """The cell of one raw value."""
        return self.cells.get(text(value), self.other)

    def count(self, values: list[Any], counts: Ints) -> dict[str, int]:
        """Add to a column's counts; gives the values that are not missing, by their text, with how often they came."""
        found: dict[str, int] = {}
        for value, often in Counter(values).items():
            name = text(value)
            counts[self.cells.get(name, self.other)] += often
            if name:
                found[name] = found.get(name, 0) + often
        return found


class Counting:
    """Counts, moments and values of rows. Not for use by several threads at once."""

    def __init__(self, where: Cells, dictionaries: Sequence[Dictionary]) -> None:
        self.where, self.rows = where, 0
        self.counts: Ints = np.zeros(where.cells, np.int64)
        self.moments = RunningMoments(where.numbers)
        self.tallies = [ValueCounts() for _ in dictionaries]
        self._dictionaries = dictionaries

    def update(self, batch: Batch) -> None:
        """Add rows."""
        where = self.where
        flat = batch.cells + where.starts[: where.numbers, None]
        self.counts += np.bincount(flat.reshape(-1), minlength=where.cells)
        self.moments.update(batch.values)
        for index, texts in enumerate(batch.texts):
            cells = self.counts[where.slice(where.numbers + index)]
            self.tallies[index].update(self._dictionaries[index].count(texts, cells))
        self.rows += batch.rows

    def fields(self) -> dict[str, Any]:
        """What was counted, as the fields of a profile."""
        return {
            "layout": self.where.digest,
            "rows": self.rows,
            "counts": tuple(self.counts.tolist()),
            "moments": self.moments.freeze(),
            "values": tuple(tally.freeze() for tally in self.tallies),
        }


CHUNK = 4096
"""Rows counted at once at most: what they need stays in the processor's cache."""
MOST_BYTES = 4 * 1024 * 1024
"""What may wait to be counted."""
Tensors = Mapping[str, Array]


def join(parts: Sequence[Tensors]) -> dict[str, Array]:
    """Rows of several requests with the same tensors, as one."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
