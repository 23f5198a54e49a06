"""Which values a model refuses, found out by asking it: missing, infinite or too large ones, unknown categories."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from argosy.engines.base import Engine, rows_of
from argosy.spec.errors import ArgosyError, Unsupported
from argosy.spec.signature import Domain, Signature, TensorSpec
from argosy.spec.tensor import Array

T = TypeVar("T")
Feeds = dict[str, Array]
Answer = Callable[[Feeds], object]
"""Asks the model for all rows; ArgosyError where it refuses one."""

UNKNOWN = "argosy: no such category"
MOST = 512
"""Columns that are asked for one by one where some are refused."""
FLOAT32 = float(np.nextafter((2.0 - 2.0**-24) * 2.0**127, 0))
"""The largest FP64 number that is no infinity as FP32."""


class InputColumn(NamedTuple):
    """One column of an input: of [-1], or of the last axis of [-1, n]."""

    spec: TensorSpec
    place: int

    def of(self, feeds: Mapping[str, Array]) -> Array:
        """Its values, as a view that can be written to."""
        array = feeds[self.spec.name]
        return array if array.ndim == 1 else array[:, self.place]

    @property
    def name(self) -> str:
        """As the user knows it."""
        if self.spec.columns:
            return self.spec.columns[self.place]
        return self.spec.name if len(self.spec.shape) == 1 else f"{self.spec.name}[{self.place}]"


def columns(specs: Sequence[TensorSpec], feeds: Mapping[str, Array]) -> list[InputColumn]:
    found: list[InputColumn] = []
    for spec in specs:
        array = feeds[spec.name]
        if array.ndim > 2:
            raise Unsupported(f"input '{spec.name}' has {array.ndim} axes")
        found += [InputColumn(spec, place) for place in range(array.shape[1] if array.ndim == 2 else 1)]
    return found


def repeat(feeds: Mapping[str, Array], rows: Array) -> Feeds:
    """The rows with these numbers, as arrays of their own."""
    return {name: np.ascontiguousarray(array[rows]) for name, array in feeds.items()}


def refusals(answer: Answer, feeds: Feeds, rows: Array | None = None) -> Iterator[tuple[int, str]]:
    """The rows that the model refuses, and why, by halving."""
    rows = np.arange(rows_of(feeds)) if rows is None else rows
    if not len(rows):
        return
    try:
        answer(repeat(feeds, rows))
    except ArgosyError as error:
        if len(rows) == 1:
            yield int(rows[0]), error.message
            return
        yield from refusals(answer, feeds, rows[: len(rows) // 2])
        yield from refusals(answer, feeds, rows[len(rows) // 2 :])


def refused(answer: Answer, row: Feeds, known: Sequence[InputColumn], value: object) -> list[bool]:
    """For each of these columns, whether the model refuses the row with this value in it."""
    feeds = repeat(row, np.zeros(len(known), dtype=int))
    for place, column in enumerate(known):
        column.of(feeds)[place] = value
    try:
        answer(feeds)
        return [False] * len(known)
    except ArgosyError:
        if len(known) > MOST:
            raise Unsupported(f"it refuses {value} in some of {len(known)} columns") from None
    found = [False] * len(known)
    for place in range(len(known)):
        found[place] = any(True for _ in refusals(answer, feeds, np.array([place])))
    return found


def set_nullable(engine: Engine, rows: Feeds) -> None:
    """Make inputs nullable where the engine answers the first row with a value missing. Text that is empty in a row
    stays text."""
    row = repeat(rows, np.zeros(1, dtype=int))
    for place, spec in enumerate(engine.signature.inputs):
        text = spec.datatype == "BYTES"
        if spec.nullable or spec.datatype not in ("FP32", "FP64", "BYTES") or (text and (rows[spec.name] == b"").any()):
            continue
        before = engine.signature
        inputs = list(before.inputs)
        inputs[place] = msgspec.structs.replace(spec, nullable=True)
        engine.use(msgspec.structs.replace(before, inputs=tuple(inputs)))
        known = columns((spec,), row)
        try:
            takes = not all(refused(engine.predict, row, known, b"" if text else np.nan))
        except Unsupported:
            takes = True
        if not takes:
            engine.use(before)


def by_sample(signature: Signature, feeds: Mapping[str, Array], *, refuse: bool) -> Signature:
    """The signature in which a number of a table may be missing where one is in the sample; where none is, it is
    refused, if somebody has to `refuse` it for the model."""
    inputs: list[TensorSpec] = []
    for spec in signature.inputs:
        if spec.name in feeds and spec.datatype in ("FP32", "FP64") and len(spec.shape) < 3 and not spec.nullable:
            gaps = bool(np.isnan(feeds[spec.name]).any())
            bounds = Domain(gaps=(False,)) if refuse and not gaps else spec.domain
            spec = msgspec.structs.replace(spec, nullable=gaps, domain=bounds)
        inputs.append(spec)
    return msgspec.structs.replace(signature, inputs=tuple(inputs))


def domain_of(answer: Answer, row: Feeds, spec: TensorSpec, categories: Sequence[str]) -> Domain | None:
    """What of the values of this input the model refuses; None where it takes all. `row` is one that it answers.
    Raises Unsupported where a Domain cannot say it."""
    known = columns((spec,), row)
    if spec.datatype == "BYTES":
        return _of_strings(answer, row, known, categories)
    if spec.datatype not in ("FP32", "FP64"):
        return None
    gaps = [not one for one in refused(answer, row, known, np.nan)]
    infinite = refused(answer, row, known, np.inf)
    limits = _limits(answer, row, known, infinite, row[spec.name].dtype)
    if all(gaps) and not any(infinite):
        return None
    return Domain(gaps=_short(gaps), limits=_short(limits))


def _short(values: list[T]) -> tuple[T, ...]:
    return tuple(values[:1]) if all(value == values[0] for value in values) else tuple(values)


def _limits(
    answer: Answer, row: Feeds, known: list[InputColumn], infinite: list[bool], dtype: "np.dtype[np.float64]"
) -> list[float | None]:
    """The largest magnitude of each column: that of the datatype, that of FP32, or found by bisection."""
    largest = float(np.finfo(dtype).max)
    found: list[float | None] = [None] * len(known)
    open_ = [place for place, one in enumerate(infinite) if one]
    for limit, above in ((largest, np.inf), (FLOAT32, float(np.nextafter(FLOAT32, np.inf)))):
        some = [known[place] for place in open_]
        if not some or limit > largest:
            continue
        below, beyond = refused(answer, row, some, limit), refused(answer, row, some, above)
        for place, low, high in zip(list(open_), below, beyond, strict=True):
            if high and not low:
                found[place] = limit
                open_.remove(place)
    for place in open_:
        found[place] = _bisected(answer, row, known[place], largest)
    return found


def _bisected(answer: Answer, row: Feeds, column: InputColumn, largest: float) -> float:
    """By exponents first, then to the last bit."""
    low, high = 0.0, largest
    while np.nextafter(low, high) < high:
        if low and high / low > 4:
            middle = float(np.sqrt(low) * np.sqrt(high))
        else:
            middle = low + (high - low) / 2 if low else high * 1e-30
        if middle in (low, high):
            break
        if refused(answer, row, [column], middle)[0]:
            high = middle
        else:
            low = middle
    return low


def _of_strings(answer: Answer, row: Feeds, known: list[InputColumn], categories: Sequence[str]) -> Domain | None:
    gaps = not any(refused(answer, row, known, b""))
    if not any(refused(answer, row, known, UNKNOWN.encode())):
        return None if gaps else Domain(gaps=(False,))
    if len(known) > 1:
        raise Unsupported("it refuses unknown categories in a matrix of strings")
    values = np.array([text.encode() for text in dict.fromkeys(categories)], dtype=object)
    feeds = repeat(row, np.zeros(len(values), dtype=int))
    if len(values):
        known[0].of(feeds)[:] = values
    lost = {place for place, _ in refusals(answer, feeds)}
    taken = [text for place, text in enumerate(dict.fromkeys(categories)) if place not in lost and text]
    if not taken:
        raise Unsupported("it refuses unknown categories, and no known one was found")
    return Domain(gaps=(gaps,), categories=tuple(taken))
