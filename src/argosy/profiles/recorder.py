"""Counting what a replica is asked and answers, off the path of requests: in whole batches, minute by minute."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from argosy.packaging.profile import MAX_TEXT
from argosy.profiles import quantiles
from argosy.profiles.layout import EMPTY, INFINITE, MISSING, OTHER, Column, Floats, Ints, Layout
from argosy.profiles.moments import RunningMoments
from argosy.profiles.profile import Profile, minute
from argosy.profiles.values import ValueCounts
from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import Array, bf16_to_fp32


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
    sizes = {len(array) if array.ndim else 1 for arrays in sides.values() for array in arrays.values()}
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
    return bf16_to_fp32(picked) if first.datatype == "BF16" else picked


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


Tensors = Mapping[str, Array]

CHUNK = 4096
"""Rows counted at once at most: what they need stays in the processor's cache."""
MOST_BYTES = 4 * 1024 * 1024
"""What may wait to be counted."""


class Counting:
    """The profile of one segment while its minute lasts."""

    def __init__(self, where: Layout, dictionaries: Sequence[Dictionary]) -> None:
        self.where, self.rows = where, 0
        self.counts: Ints = np.zeros(where.cells, np.int64)
        self.moments = RunningMoments(where.numbers)
        self.sketches = quantiles.Sketches(where.numbers) if where.numbers and quantiles.installed() else None
        self.tallies = [ValueCounts() for _ in dictionaries]
        self._dictionaries = dictionaries

    def update(self, batch: Batch) -> None:
        where = self.where
        flat = batch.cells + where.starts[: where.numbers, None]
        self.counts += np.bincount(flat.reshape(-1), minlength=where.cells)
        self.moments.update(batch.values)
        if self.sketches is not None:
            finite = np.isfinite(batch.values)
            self.sketches.update(batch.values if finite.all() else np.where(finite, batch.values, np.nan))
        for index, texts in enumerate(batch.texts):
            cells = self.counts[where.slice(where.numbers + index)]
            self.tallies[index].update(self._dictionaries[index].count(texts, cells))
        self.rows += batch.rows

    def freeze(self, version: str, segment: str, at: int) -> Profile:
        """What was counted in the minute `at`."""
        return Profile(
            version=version,
            segment=segment,
            start=at,
            end=at + 1,
            layout=self.where.digest,
            rows=self.rows,
            counts=tuple(self.counts.tolist()),
            moments=self.moments.freeze(),
            sketches=self.sketches.freeze() if self.sketches is not None else (),
            values=tuple(tally.freeze() for tally in self.tallies),
        )


@dataclass
class _Waiting:
    """Rows of one minute that are not counted yet. `shape`: the names of their tensors, alike in all of them."""

    shape: tuple[tuple[str, ...], tuple[str, ...]]
    rows: int = 0
    size: int = 0
    inputs: list[Tensors] = field(default_factory=list[Tensors])
    outputs: list[Tensors] = field(default_factory=list[Tensors])


class Recorder:
    """Profiles of one version, per segment and minute. Not for use by several threads at once.

    `segments` names columns; each value of one, or each of its reference bins, gets profiles of its own. Rows are
    gathered until there are `batch` of them, and then counted together. Late rows go to the minute they carry.
    """

    def __init__(
        self, where: Layout, version: str, segments: Sequence[str] = (), batch: int = CHUNK, seed: int = 0
    ) -> None:
        if batch < 1:
            raise InvalidArgument(f"rows are counted in batches of at least 1, not {batch}")
        self._where, self._version, self._batch = where, version, batch
        self._segments = [where.index(name) for name in segments]
        self._rng = np.random.default_rng(seed)
        self._dictionaries = [Dictionary(column) for column in where.columns[where.numbers :]]
        self._waiting: dict[int, _Waiting] = {}
        self._counting: dict[int, dict[str, Counting]] = {}

    def add(self, at: float, inputs: Tensors, outputs: Tensors) -> None:
        """Rows that were answered at a time in seconds since 1970; axis 0 of every array counts them."""
        place = minute(at)
        shape = (tuple(inputs), tuple(outputs))
        waiting = self._waiting.setdefault(place, _Waiting(shape))
        if waiting.shape != shape:
            self._count(place)
            waiting = self._waiting[place] = _Waiting(shape)
        waiting.inputs.append(inputs)
        waiting.outputs.append(outputs)
        waiting.rows += len(next(iter(inputs.values()), next(iter(outputs.values()), ())))
        waiting.size += sum(array.nbytes for array in (*inputs.values(), *outputs.values()))
        if waiting.rows >= self._batch or waiting.size >= MOST_BYTES:
            self._count(place)

    def take(self, before: float) -> list[Profile]:
        """The profiles of all minutes that ended by then, in seconds since 1970; they are handed out once."""
        last = minute(before)
        for place in sorted(place for place in self._waiting if place < last):
            self._count(place)
        done = sorted(place for place in self._counting if place < last)
        return [
            one.freeze(self._version, segment, place)
            for place in done
            for segment, one in sorted(self._counting.pop(place).items())
        ]

    def _count(self, place: int) -> None:
        waiting = self._waiting.pop(place)
        inputs, outputs = _join(waiting.inputs), _join(waiting.outputs)
        for start in range(0, waiting.rows, CHUNK):
            rows = slice(start, start + CHUNK)
            self._chunk(place, {n: a[rows] for n, a in inputs.items()}, {n: a[rows] for n, a in outputs.items()})

    def _chunk(self, place: int, inputs: Tensors, outputs: Tensors) -> None:
        batch = prepare(self._where, inputs, outputs, self._rng)
        profiles = self._counting.setdefault(place, {})
        self._update(profiles, "", batch)
        for index in self._segments:
            codes = self._codes(index, batch)
            column = self._where.columns[index]
            for code in np.unique(codes).tolist():
                self._update(profiles, f"{column.name}={column.label(code)}", batch.take(np.flatnonzero(codes == code)))

    def _update(self, profiles: dict[str, Counting], segment: str, batch: Batch) -> None:
        if segment not in profiles:
            profiles[segment] = Counting(self._where, self._dictionaries)
        profiles[segment].update(batch)

    def _codes(self, index: int, batch: Batch) -> Ints:
        if index < self._where.numbers:
            return batch.cells[index]
        index -= self._where.numbers
        dictionary = self._dictionaries[index]
        return np.array([dictionary.cell(value) for value in batch.texts[index]], np.int64)


def _join(parts: Sequence[Tensors]) -> dict[str, Array]:
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
