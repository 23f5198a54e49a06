"""Counting what a replica is asked and answers, off the path of requests: in whole batches, minute by minute."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from argosy.profiles import quantiles
from argosy.profiles.cells import Ints
from argosy.profiles.counting import CHUNK, MOST_BYTES, Batch, CellsError, Counting, Dictionary, Tensors, join, prepare
from argosy.profiles.layout import Layout
from argosy.profiles.profile import Profile, minute
from argosy.spec.errors import InvalidArgument


class _Sketched(Counting):
    """The profile of one segment while its minute lasts."""

    def __init__(self, where: Layout, dictionaries: Sequence[Dictionary]) -> None:
        super().__init__(where, dictionaries)
        self.sketches = quantiles.Sketches(where.numbers) if where.numbers and quantiles.installed() else None

    def update(self, batch: Batch) -> None:
        super().update(batch)
        if self.sketches is not None:
            finite = np.isfinite(batch.values)
            self.sketches.update(batch.values if finite.all() else np.where(finite, batch.values, np.nan))

    def freeze(self, version: str, segment: str, at: int) -> Profile:
        """What was counted in the minute `at`."""
        sketches = self.sketches.freeze() if self.sketches is not None else ()
        return Profile(version=version, segment=segment, start=at, end=at + 1, sketches=sketches, **self.fields())


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
        self._counting: dict[int, dict[str, _Sketched]] = {}

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
        inputs, outputs = join(waiting.inputs), join(waiting.outputs)
        for start in range(0, waiting.rows, CHUNK):
            rows = slice(start, start + CHUNK)
            self._chunk(place, {n: a[rows] for n, a in inputs.items()}, {n: a[rows] for n, a in outputs.items()})

    def _chunk(self, place: int, inputs: Tensors, outputs: Tensors) -> None:
        try:
            batch = prepare(self._where, inputs, outputs, self._rng)
        except CellsError as error:
            raise InvalidArgument(str(error)) from error
        profiles = self._counting.setdefault(place, {})
        self._update(profiles, "", batch)
        for index in self._segments:
            codes = self._codes(index, batch)
            column = self._where.columns[index]
            for code in np.unique(codes).tolist():
                self._update(profiles, f"{column.name}={column.label(code)}", batch.take(np.flatnonzero(codes == code)))

    def _update(self, profiles: dict[str, _Sketched], segment: str, batch: Batch) -> None:
        if segment not in profiles:
            profiles[segment] = _Sketched(self._where, self._dictionaries)
        profiles[segment].update(batch)

    def _codes(self, index: int, batch: Batch) -> Ints:
        if index < self._where.numbers:
            return batch.cells[index]
        index -= self._where.numbers
        dictionary = self._dictionaries[index]
        return np.array([dictionary.cell(value) for value in batch.texts[index]], np.int64)
