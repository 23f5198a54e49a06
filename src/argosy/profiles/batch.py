"""Rows of requests and their answers, made ready for counting: one matrix of numbers with its cells, lists of texts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from argosy.packaging.profile import MAX_TEXT
from argosy.profiles.layout import EMPTY, INFINITE, MISSING, OTHER, Column, Floats, Ints, Layout
from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import Array


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


def prepare(
    where: Layout, inputs: Mapping[str, Array], outputs: Mapping[str, Array], rng: np.random.Generator
) -> Batch:
    """Rows along axis 0 of every array. A tensor that is absent is missing in every row; of a tensor that is no table
    one value per row is taken, at a random place, so that values stay independent of one another.

    Raises InvalidArgument where the arrays differ in rows or a table has too few columns.
    """
    sides = {"input": inputs, "output": outputs}
    sizes = {len(array) for arrays in sides.values() for array in arrays.values()}
    if len(sizes) != 1:
        raise InvalidArgument(f"a profile needs inputs and outputs of equally many rows; these have {sorted(sizes)}")
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


def _numbers(array: Array, columns: Sequence[Column], rng: np.random.Generator) -> Array:
    first = columns[0]
    if first.place is None:
        picked = _one_per_row(array, rng)[None, :]
    else:
        _check_width(array, columns[-1])
        picked = array[:, first.place : first.place + len(columns)].T
    return (picked.astype("<u4") << 16).view("<f4") if first.datatype == "BF16" else picked


def _check_width(array: Array, column: Column) -> None:
    if array.ndim != 2 or array.shape[1] <= (column.place or 0):
        raise InvalidArgument(f"'{column.tensor}' has shape {list(array.shape)}, but the profile has '{column.name}'")


def _one_per_row(array: Array, rng: np.random.Generator) -> Array:
    if array.ndim == 1:
        return array
    flat = array.reshape(len(array), -1)
    if not flat.shape[1]:
        return np.full(len(array), np.nan)
    if flat.shape[1] == 1:
        return flat[:, 0]
    return flat[np.arange(len(flat)), rng.integers(flat.shape[1], size=len(flat))]


def _texts(array: Array | None, column: Column, rows: int, rng: np.random.Generator) -> list[Any]:
    if array is None:
        return [b""] * rows
    if column.place is None:
        return _one_per_row(array, rng).tolist()
    _check_width(array, column)
    return array[:, column.place].tolist()


def _cells(where: Layout, values: Floats) -> Ints:
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
