"""The arrays of many requests as one array a tensor, with what is absent marked."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from argosy.spec.tensor import NUMPY, Array
from argosy.store.payloads.columns import Side
from argosy.store.payloads.record import Record

_ODD = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


class Folded(msgspec.Struct, frozen=True):
    """One tensor over all rows. `array` has shape [rows, ...], or is an object array of arrays where shapes differ.

    `absent` is True for each row that has none; None where every row has one.
    """

    array: Array
    absent: Array | None


def lines(records: Sequence[Record]) -> Array:
    """How many rows of the log each record takes: its rows, or one where it has none."""
    return np.array([max(1, record.rows) for record in records], dtype=np.int64)


def fold(records: Sequence[Record], counts: Array, side: Side, name: str, datatype: str, batched: bool) -> Folded:
    """The tensor `name` of every record. Rows are its axis 0; of a model without batches, the whole is one row."""
    parts: list[Array | None] = []
    for record in records:
        part = (record.inputs if side == "input" else record.outputs).get(name)
        if part is not None and not batched:
            part = part[None]
        parts.append(part)
    there = [part for part in parts if part is not None]
    shapes = {part.shape[1:] for part in there}
    if len(shapes) > 1:
        parts = [None if part is None else _ragged(part) for part in parts]
        there, shapes = [part for part in parts if part is not None], {()}
    if len(there) == len(parts):
        return Folded(np.concatenate(there), None)
    inner = next(iter(shapes), ())
    dtype = there[0].dtype if there else NUMPY[datatype]
    filled = [_blank(int(n), inner, dtype) if part is None else part for part, n in zip(parts, counts, strict=True)]
    absent = np.repeat([part is None for part in parts], counts)
    return Folded(np.concatenate(filled), absent)


def given(array: Array | None, rows: int, datatype: str) -> Folded:
    """A tensor that is there for every row, or for none."""
    if array is None:
        return Folded(_blank(rows, (), NUMPY[datatype]), np.ones(rows, dtype=bool))
    return Folded(array, None)


def _ragged(part: Array) -> Array:
    out = np.empty(len(part), dtype=object)
    for place, row in enumerate(part):
        out[place] = row
    return out


def _blank(rows: int, inner: tuple[int, ...], dtype: Any) -> Array:
    blank = np.zeros((rows, *inner), dtype=dtype)
    if blank.dtype == object:
        blank.fill(b"")
    return blank


def mix(into: Array, words: Array) -> Array:
    """Fold uint64 words into running hashes, elementwise (the finaliser of SplitMix64; Steele, Lea, Flood 2014)."""
    mixed = (into + np.uint64(_ODD)) ^ words
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_MIX[0])
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_MIX[1])
    return mixed ^ (mixed >> np.uint64(31))


def words(array: Array) -> Array:
    """An array [rows, n] of numbers as uint64 [rows, m], the bytes of a row padded with zeros."""
    flat = np.ascontiguousarray(array.reshape(len(array), -1))
    raw = flat.view(np.uint8).reshape(len(array), -1)
    short = -raw.shape[1] % 8
    if short:
        raw = np.concatenate([raw, np.zeros((len(raw), short), np.uint8)], axis=1)
    return np.ascontiguousarray(raw).view("<u8")
