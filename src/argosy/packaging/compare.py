"""The converted model beside the original: each set of probes is answered alike, or refused by both."""

from collections.abc import Sequence

import msgspec
import numpy as np

from argosy.engines import Engine
from argosy.engines.base import rows_of
from argosy.packaging import golden
from argosy.packaging.domain import Feeds, InputColumn, columns, refusals, repeat
from argosy.packaging.probes import Known
from argosy.spec.errors import ArgosyError
from argosy.spec.matching import outside
from argosy.spec.package import Tolerance
from argosy.spec.signature import Signature
from argosy.spec.tensor import Array, Tensor

CHUNK, CHUNK_BYTES = 1000, 16 * 1024 * 1024
"""Rows, and bytes of input, that a model is given at once."""
ASKED = 32
"""Rows outside the domains, of each set, that the original is asked for one by one."""
OVERFLOW = 1e100
"""Beyond it the sums of the original may overflow: where the answers differ there, such values are refused."""


class Differs(Exception):
    """A probe on which the converted model does not do as the original; it says which, with column and value."""


class Overflows(Exception):
    """Only rows with numbers beyond OVERFLOW differ."""


class Agreement(msgspec.Struct):
    """Rows compared, their sets, the largest difference."""

    rows: int = 0
    sets: int = 0
    largest: float = 0.0


class Comparison:
    """Compares two engines. `lowered`: the domains end at OVERFLOW, though the original takes more."""

    def __init__(
        self, original: Engine, converted: Engine, known: Known, rows: Feeds, tolerance: Tolerance, lowered: bool
    ) -> None:
        self.original, self.converted = original, converted
        self.known, self.rows, self.tolerance, self.lowered = known, rows, tolerance, lowered
        self.agreement = Agreement()

    def check(self, name: str, feeds: Feeds, want: Sequence[Array] | None = None) -> None:
        """Compare on these rows; `want`: the original's answers, where it was asked already. Raises Differs,
        Overflows."""
        count = rows_of(feeds)
        if not count:
            return
        out = refused(self.converted.signature, feeds)
        self._ask_outside(name, feeds, np.flatnonzero(out))
        within = np.flatnonzero(~out)
        self.agreement.rows += count
        self.agreement.sets += 1
        if not len(within):
            return
        want = self._answers(name, feeds, within) if want is None else [array[within] for array in want]
        self._same(name, repeat(feeds, within), want)

    def check_alone(self, feeds: Feeds, want: Sequence[Array]) -> None:
        """Compare answers for single rows."""
        for place in range(rows_of(feeds)):
            row = np.array([place])
            self._same("one row alone", repeat(feeds, row), [array[row] for array in want])

    def _ask_outside(self, name: str, feeds: Feeds, rows: Array) -> None:
        """The original refuses what the domains leave out."""
        for row in rows[np.linspace(0, len(rows) - 1, min(ASKED, len(rows)), dtype=int)] if len(rows) else ():
            one = repeat(feeds, np.array([row]))
            if self.lowered and _beyond(one)[0]:
                continue
            if not any(True for _ in refusals(self.original.predict, one)):
                raise Differs(f"{name}: the original answers {self._telling(name, one)}, and others of its kind not")

    def _answers(self, name: str, feeds: Feeds, rows: Array) -> list[Array]:
        try:
            return predict(self.original, feeds, rows)
        except ArgosyError:
            row, reason = next(refusals(self.original.predict, feeds, rows))
            one = repeat(feeds, np.array([row]))
            if _beyond(one)[0] and not self.lowered:
                raise Overflows from None
            raise Differs(f"{name}: the original refuses {self._telling(name, one)} ({reason[:120]})") from None

    def _same(self, name: str, feeds: Feeds, want: Sequence[Array]) -> None:
        rows = np.arange(len(want[0]))
        if not len(rows):
            return
        try:
            got = predict(self.converted, feeds, rows)
        except ArgosyError as error:
            raise Differs(f"{name}: the ONNX model fails where the original does not: {error.message[:200]}") from None
        bad = np.zeros(len(rows), dtype=bool)
        first = ""
        for spec, one, other in zip(self.converted.signature.outputs, want, got, strict=True):
            tolerance = self._scaled(one)
            off, gap = golden.difference(one, other, spec.datatype, tolerance)
            self.agreement.largest = max(self.agreement.largest, gap)
            lines = off.reshape(len(off), -1).any(axis=1)
            if lines.any() and not first:
                row = int(np.flatnonzero(lines)[0])
                shown = golden.first_misfit(Tensor(spec.name, spec.datatype, one), other, off, tolerance)
                first = f"{self._telling(name, repeat(feeds, np.array([row])))}: {shown.partition(';')[0]}"
            bad |= lines
        if not bad.any():
            return
        if not self.lowered and _beyond(feeds)[bad].all():
            raise Overflows
        raise Differs(f"{name}: the ONNX model differs on {int(bad.sum())} of {len(bad)} rows, the first with {first}")

    def _scaled(self, values: Array) -> Tolerance:
        """The tolerance whose absolute part fits the size of these answers: sums lose what is small beside their
        parts."""
        sizes = np.abs(values[np.isfinite(values)]) if values.dtype.kind == "f" else values[:0]
        scale = float(np.median(sizes)) if sizes.size else 0.0
        return msgspec.structs.replace(self.tolerance, atol=self.tolerance.atol * max(1.0, min(scale, 1e6)))

    def _telling(self, name: str, row: Feeds) -> str:
        """The column of a row that its set is about, and its value."""
        found = columns(self.converted.signature.inputs, row)
        column = max(found, key=lambda one: self._oddness(one, row))
        if self.known.thresholds and name in ("thresholds", "boundaries of trees"):
            near = [(abs(float(found[f].of(row)[0]) - t) / (abs(t) + 1e-300), f) for f, t in self.known.thresholds]
            column = found[min(near)[1]]
        value = column.of(row)[0]
        return (
            f"column '{column.name}' = {value!r}" if isinstance(value, bytes) else f"column '{column.name}' = {value}"
        )

    def _oddness(self, column: InputColumn, row: Feeds) -> float:
        """How far its value is from those that are known."""
        value, known = column.of(row)[0], column.of(self.rows)
        if isinstance(value, bytes):
            return 0.0 if (known == value).any() else 1e300
        with np.errstate(all="ignore"):
            far = abs(float(value) - float(np.nanmedian(known.astype(float)))) / (
                float(np.nanstd(known.astype(float))) or 1
            )
        return far if far == far else np.inf


def predict(engine: Engine, feeds: Feeds, rows: Array | None = None) -> list[Array]:
    """The engine's answers for these rows, or for all, asked for in chunks where rows are a batch."""
    if not engine.signature.batched and rows is None:
        return engine.predict(feeds)
    every = rows_of(feeds)
    rows = np.arange(every) if rows is None else rows
    size = max(1, sum(array.nbytes for array in feeds.values()) // max(1, every))
    step = max(1, min(CHUNK, CHUNK_BYTES // size)) if engine.signature.batched else max(len(rows), 1)
    parts = [engine.predict(repeat(feeds, rows[start : start + step])) for start in range(0, max(len(rows), 1), step)]
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def refused(signature: Signature, feeds: Feeds) -> Array:
    """The rows that the domains of a signature leave out."""
    out = np.zeros(rows_of(feeds), dtype=bool)
    for spec in signature.inputs:
        if spec.domain is not None:
            out |= outside(spec, feeds[spec.name]).reshape(len(out), -1).any(axis=1)
    return out


def _beyond(feeds: Feeds) -> Array:
    far = [(np.abs(a) > OVERFLOW).reshape(len(a), -1).any(axis=1) for a in feeds.values() if a.dtype.kind == "f"]
    return np.any(far, axis=0) if far else np.zeros(rows_of(feeds), dtype=bool)
