"""The columns of a model and the cells in which each is counted. Agents of devices share this file: it imports numpy
and msgspec alone.

Cells of a numeric column, in order: the reference's bins [e₀, e₁) … [eₖ₋₁, eₖ], below, above, infinite, missing (NaN).
Cells of a category: the reference's listed values, other (any value not listed), missing (empty).
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BELOW, ABOVE, INFINITE, MISSING = range(4)
"""The cells of a number after its bins."""

OTHER, EMPTY = range(2)
"""The cells of a category after its listed values."""

EXTRA = {"numbers": 4, "categories": 2}


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column and its cells. `column` is its name in the reference profile, `name` what users call it, `place` its
    index in a table, None for a tensor as a whole.

    `complete`: the reference lists every value it has seen, so any other is unseen. `detailed`: it has bins or listed
    values; without them only its rows, missing values and moments are kept.
    """

    side: Literal["input", "output"]
    tensor: str
    column: str = ""
    datatype: str
    name: str
    kind: Literal["numbers", "categories"]
    place: int | None = None
    edges: tuple[float, ...] = ()
    known: tuple[str, ...] = ()
    complete: bool = True
    detailed: bool = True

    @property
    def inner(self) -> int:
        """How many of its cells are the reference's own."""
        return max(len(self.edges) - 1, 1) if self.kind == "numbers" else len(self.known)

    @property
    def cells(self) -> int:
        """How many cells it has, the special ones included."""
        return self.inner + EXTRA[self.kind]

    def label(self, cell: int) -> str:
        """What a person calls a cell."""
        if cell >= self.inner:
            special = ("below", "above", "infinite", "missing") if self.kind == "numbers" else ("other", "missing")
            return special[cell - self.inner]
        if self.kind == "categories":
            return self.known[cell]
        if len(self.edges) < 2:
            return f"{self.edges[0]:g}" if self.edges else "any number"
        start, end = self.edges[cell], self.edges[cell + 1]
        return f"{start:g}" if self.single(cell) else f"{start:g} to {end:g}"

    def single(self, cell: int) -> bool:
        """Whether a number's bin holds one value alone."""
        if len(self.edges) < 2:
            return bool(self.edges)
        gap = self.edges[cell + 1] - self.edges[cell]
        whole = self.datatype.startswith(("INT", "UINT"))
        return gap == 0 or (whole and gap == 1 and cell < self.inner - 1)


class Cells:
    """The columns of one model, numbers first, and what counting them fast needs.

    `starts[i]` is where column i's cells begin in the flat vector of counts, whose length is `cells`. `runs` are
    neighbouring numbers that are one slice of one table, as (start, end). `digest` names the layout: profiles merge
    only where it is equal.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(sorted(columns, key=lambda column: column.kind == "categories"))
        self.numbers = sum(column.kind == "numbers" for column in self.columns)
        sizes = [column.cells for column in self.columns]
        self.starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64) if sizes else np.zeros(0, np.int64)
        self.cells = sum(sizes)
        self.search = [_search(column.edges) for column in self.columns[: self.numbers]]
        inner = [column.inner for column in self.columns[: self.numbers]]
        # From what `searchsorted` gives to the cell: below, bins, above → bins, below, above.
        self.order = [np.array([size + BELOW, *range(size), size + ABOVE], np.int64) for size in inner]
        self.runs = _runs(self.columns[: self.numbers])
        self.digest = hashlib.sha256(msgspec.json.encode(self.columns)).hexdigest()[:32]

    def slice(self, place: int) -> slice:
        """Where a column's cells are in the flat vector."""
        start = int(self.starts[place])
        return slice(start, start + self.columns[place].cells)


def _runs(columns: Sequence[Column]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for index, column in enumerate(columns):
        before = columns[index - 1] if index else None
        if (
            before is not None
            and (before.side, before.tensor) == (column.side, column.tensor)
            and column.place is not None
            and before.place == column.place - 1
        ):
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def _search(edges: tuple[float, ...]) -> Floats:
    """Edges for `searchsorted(…, side="right")`: 0 is below, then the bins (the last with its end), then above."""
    if not edges:
        return np.array([-np.inf, np.inf])
    last = float(np.nextafter(edges[-1], np.inf))
    return np.array([*(edges[:-1] or edges), last])
