"""Rows of the payload log as tables of numbers, the same way for the reference and the window."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from argosy.monitoring.eprocess import Floats
from argosy.store.payloads.columns import Column

WIDE = 64
"""Lists of more numbers are taken as one vector (an embedding, an image), not as so many columns."""
MOST_COLUMNS = 512
MOST_VALUES = 50
"""Values of a category that count one by one; the rest count as one."""
NAMING = 0.5
"""A text with more distinct values than this share of the rows names each row (an id), and tells nothing of them."""


class Pair(msgspec.Struct, frozen=True, eq=False):
    """The same columns of both: `reference` (m, columns) and `current` (n, columns), NaN where there is no value.
    `categorical` are the places of columns that hold codes; `values` what the codes of a single one stand for."""

    names: tuple[str, ...]
    reference: Floats
    current: Floats
    categorical: tuple[int, ...] = ()
    values: tuple[str, ...] = ()


class Sides(msgspec.Struct, frozen=True, eq=False):
    """What is compared: the inputs as one `table`, each longer list as one of `vectors`, each text of the outputs as
    `decisions` (codes), and the outputs' numbers as `scores`."""

    table: Pair | None
    vectors: dict[str, Pair]
    decisions: dict[str, Pair]
    scores: Pair | None


def sides(columns: Sequence[Column], reference: Any, current: Any) -> Sides:
    """Two Arrow tables with the columns of the log. Columns that one of them lacks or that have no value on one side
    are left out, as are hashed ones and lists of no fixed length."""
    found: dict[str, list[tuple[Pair, bool]]] = {"input": [], "output": []}
    vectors: dict[str, Pair] = {}
    for column in columns:
        if column.hashed or column.form not in ("value", "fixed"):
            continue
        if column.name not in reference.column_names or column.name not in current.column_names:
            continue
        pair, coded = _pair(column, reference.column(column.name), current.column(column.name))
        if pair is None:
            continue
        if pair.reference.shape[1] > WIDE and column.side == "input":
            vectors[column.name] = pair
        else:
            found[column.side].append((pair, coded))
    outputs = found["output"]
    return Sides(
        table=_joined(found["input"]),
        vectors=vectors,
        decisions={pair.names[0]: pair for pair, coded in outputs if coded},
        scores=_joined([(pair, coded) for pair, coded in outputs if not coded]),
    )


def _pair(column: Column, reference: Any, current: Any) -> tuple[Pair | None, bool]:
    """The column, or several for a list, and whether it holds codes."""
    if column.datatype == "BYTES":
        if column.form != "value":
            return None, True
        return codes(column.name, reference.to_pylist(), current.to_pylist()), True
    x, y = numbers(reference), numbers(current)
    if x.shape[1] != y.shape[1] or not np.isfinite(x).any() or not np.isfinite(y).any():
        return None, False
    one = x.shape[1] == 1
    names = (column.name,) if one else tuple(f"{column.name}[{place}]" for place in range(x.shape[1]))
    return Pair(names, x, y), False


def _joined(pairs: Sequence[tuple[Pair, bool]]) -> Pair | None:
    if not pairs:
        return None
    names = [name for pair, _ in pairs for name in pair.names][:MOST_COLUMNS]
    flags = [coded for pair, coded in pairs for _ in pair.names][:MOST_COLUMNS]
    return Pair(
        tuple(names),
        np.concatenate([pair.reference for pair, _ in pairs], axis=1)[:, :MOST_COLUMNS],
        np.concatenate([pair.current for pair, _ in pairs], axis=1)[:, :MOST_COLUMNS],
        tuple(place for place, coded in enumerate(flags) if coded),
    )


def codes(name: str, reference: Sequence[str | None], current: Sequence[str | None]) -> Pair | None:
    """Codes (rows, 1) by how often a value occurs on both sides together, the most frequent 0, so that neither side can
    be told by how it was coded; NaN where there is none. None for texts that name each row, or are not there at all."""
    counts = Counter(value for side in (reference, current) for value in side if value is not None)
    total = sum(counts.values())
    if not total or (len(counts) > MOST_VALUES and len(counts) > NAMING * total):
        return None
    ranked = sorted(counts, key=lambda value: (-counts[value], value))[:MOST_VALUES]
    places = {value: float(place) for place, value in enumerate(ranked)}

    def coded(side: Sequence[str | None]) -> Floats:
        values = [np.nan if value is None else places.get(value, float(MOST_VALUES)) for value in side]
        return np.array(values, float).reshape(-1, 1)

    names = (*ranked, f"{len(counts) - len(ranked)} others") if len(counts) > len(ranked) else tuple(ranked)
    return Pair((name,), coded(reference), coded(current), (0,), names)


def numbers(column: Any) -> Floats:
    """An Arrow column of numbers (n, 1), or of lists of one length (n, length); NaN where there is none."""
    flat = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    if "list" not in str(flat.type):
        return _doubles(flat).reshape(-1, 1)
    there = flat.is_valid().to_numpy(zero_copy_only=False)
    values = _doubles(flat.flatten())
    rows = int(there.sum())
    if not rows or len(values) % rows:
        return np.full((len(there), 1), np.nan)
    found = np.full((len(there), len(values) // rows), np.nan)
    found[there] = values.reshape(rows, -1)
    return found


def _doubles(array: Any) -> Floats:
    if "bool" in str(array.type):
        array = array.cast("int8")
    return array.cast("double", safe=False).to_numpy(zero_copy_only=False)
