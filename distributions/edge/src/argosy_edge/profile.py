"""What is counted of the models of a device: rows in the cells of `Update.reference`, minute by minute.

The counting is the platform's own (`counting.py`), so that what devices count merges with what replicas count.
"""

import random
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from argosy_edge.cells import Cells, Column
from argosy_edge.clock import Clock
from argosy_edge.counting import CHUNK, MOST_BYTES, CellsError, Counting, Dictionary, Tensors, join, prepare
from argosy_edge.moments import Moments
from argosy_edge.values import Values


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """The profile of one minute, which began `after` so many seconds of the start `boot`, when the device's clock
    showed `at`."""

    boot: int
    after: float
    at: float
    profile: dict[str, Any]

    def of(self, clock: Clock) -> dict[str, Any]:
        """The profile with its minute, as well as that is known by now."""
        minute = round(clock.place(self.boot, self.after, self.at) / 60)
        return {**self.profile, "start": minute, "end": minute + 1}


class _Places:
    """Random places without `numpy.random`."""

    def __init__(self) -> None:
        self._random = random.Random(0)

    def integers(self, low: int, *, size: int) -> Any:
        return (np.frombuffer(self._random.randbytes(8 * size), "u8") % low).astype("i8")


class _Counted:
    """One version."""

    def __init__(self, version: str, reference: Sequence[Mapping[str, Any]], texts: bool) -> None:
        self.version, self.texts = version, texts
        self.where = Cells(msgspec.convert(reference, tuple[Column, ...]))
        self._dictionaries = [Dictionary(column) for column in self.where.columns[self.where.numbers :]]
        self._rng = _Places()
        self._shape: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._waiting: list[tuple[Tensors, Tensors]] = []
        self._rows = self._size = self.misfits = 0
        self._counting: Counting | None = None

    def add(self, inputs: Tensors, outputs: Tensors) -> None:
        shape = (tuple(inputs), tuple(outputs))
        if shape != self._shape:
            self._count()
            self._shape = shape
        self._waiting.append((inputs, outputs))
        self._rows += max((len(array) for array in inputs.values() if array.ndim), default=1)
        self._size += sum(array.nbytes for array in (*inputs.values(), *outputs.values()))
        if self._rows >= CHUNK or self._size >= MOST_BYTES:
            self._count()

    def _count(self) -> None:
        waiting, rows = self._waiting, self._rows
        self._waiting, self._rows, self._size = [], 0, 0
        if not waiting:
            return
        try:
            inputs, outputs = join([one for one, _ in waiting]), join([one for _, one in waiting])
            for start in range(0, rows, CHUNK):
                part = slice(start, start + CHUNK)
                batch = prepare(
                    self.where,
                    {name: array[part] for name, array in inputs.items()},
                    {name: array[part] for name, array in outputs.items()},
                    self._rng,
                )
                self._counting = self._counting or Counting(self.where, self._dictionaries)
                self._counting.update(batch)
        except (CellsError, ValueError, TypeError, IndexError):
            self.misfits += rows

    def cut(self) -> dict[str, Any] | None:
        """What was counted since the last cut, as JSON has it; None without rows."""
        self._count()
        done, self._counting = self._counting, None
        if done is None:
            return None
        fields = done.fields()
        fields["moments"] = [_finite(one) for one in fields["moments"]]
        if not self.texts:
            columns = self.where.columns[self.where.numbers :]
            fields["values"] = [_listed(one, column) for one, column in zip(fields["values"], columns, strict=True)]
        return msgspec.to_builtins({"version": self.version, "segment": "", **fields})


def _finite(one: Moments) -> Moments:
    """JSON has no infinite numbers; where sums pass the range of floats there are no moments."""
    return one if np.isfinite([one.mean, one.m2, one.min, one.max]).all() else Moments()


def _listed(one: Values, column: Column) -> Values:
    """Without the texts that the reference does not list: they would tell what was asked."""
    known = {text: often for text, often in one.frequent.items() if text in column.known}
    return Values(known, one.lost, one.registers)


class Profiler:
    """Counts what models were asked and answered. Its methods may be called from several threads; none raises for rows
    that do not fit: those are `misfits`."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._models: dict[str, _Counted] = {}
        self._done: list[Placed] = []
        self._minute: int | None = None
        self._began = 0.0

    def watch(self, version: str, reference: Sequence[Mapping[str, Any]], texts: bool = False) -> None:
        """Count the rows of this version from now on. `texts`: values that the reference does not list are told, as
        where payloads are. Raises msgspec.ValidationError where the reference is none."""
        with self._lock:
            if reference and version not in self._models:
                self._models[version] = _Counted(version, reference, texts)

    def forget(self, version: str) -> None:
        """Count no more rows of this version."""
        with self._lock:
            self._cut()
            self._models.pop(version, None)

    def add(self, version: str, inputs: Tensors, outputs: Tensors) -> None:
        """Rows that were answered now; axis 0 of every array counts them. The arrays must not change any more."""
        with self._lock:
            if (model := self._models.get(version)) is None:
                return
            now = self._clock.now()
            if int(now // 60) != self._minute:
                self._cut()
                self._minute = int(now // 60)
                self._began = self._clock.after() - (now - self._minute * 60)
            model.add(inputs, outputs)

    def take(self, whole: bool = True) -> list[Placed]:
        """The profiles of minutes that are over; of the present one, too, unless `whole`. They are handed out once."""
        with self._lock:
            if not whole or int(self._clock.now() // 60) != self._minute:
                self._cut()
            done, self._done = self._done, []
            return done

    @property
    def misfits(self) -> int:
        """Rows that were not counted, since they do not fit the reference."""
        with self._lock:
            return sum(model.misfits for model in self._models.values())

    def _cut(self) -> None:
        if self._minute is None:
            return
        self._minute = None
        at = self._clock.wall() - (self._clock.after() - self._began)
        for model in self._models.values():
            if (profile := model.cut()) is not None:
                self._done.append(Placed(boot=self._clock.boot, after=self._began, at=at, profile=profile))
