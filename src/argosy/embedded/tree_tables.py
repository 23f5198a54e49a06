"""An ensemble of trees as tables of bytes.

A node is a number of 2 to 4 bytes: whether its left and its right child is a leaf, where a missing value goes, the
place of its feature among those that are used, the rank of its threshold among those of the feature (or the number of
its set of categories). What stands behind it: the leaf on the right, or how far away the right child is (neither,
where the left child is a leaf and the right one is not); then the left child; then the right one, unless it is a
leaf. Numbers of leaves and distances take one byte where they are small. Frequent leaves have small numbers.
"""

from collections import Counter

import msgspec
import numpy as np

from argosy.engines.trees.form import Ensemble
from argosy.spec.errors import Unsupported
from argosy.spec.tensor import Array

SHARE = 62
"""Shares of a vote are multiples of 2^-62: their sum fits 64 bits, and is exact to far below a float32."""


class Tables(msgspec.Struct, kw_only=True):
    """What a C file holds. `columns`: place of each used feature in a row, those with categories last, from `numeric`
    on. `starts`: where the thresholds of each begin, one more at the end; all are the same where `shared`. `sets`:
    rows of bits. `bits`: of a place, of a rank. `small`: bytes below it are numbers, others begin one with `more`
    bytes."""

    columns: list[int]
    numeric: int
    thresholds: Array
    starts: list[int]
    shared: bool
    sets: list[list[int]]
    bits: tuple[int, int]
    gaps: bool
    size: int
    small: int
    more: int
    stream: bytes
    roots: list[int]
    order: list[int]


def floor32(values: Array) -> Array:
    """The largest float32 that is not above each."""
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    return np.where(found.astype(np.float64) > values, np.nextafter(found, np.float32(-np.inf)), found)


def pack(form: Ensemble, records: list[int]) -> Tables:
    """The tables. `records`: bytes of what each leaf's values take where leaves go by their place in bytes; else
    empty."""
    inner = form.feature >= 0
    used = {*form.feature[inner].tolist()}
    categorical = {int(form.feature[node]) for node in form.sets} | {*form.known}
    columns = [*sorted(used - categorical), *sorted(used & categorical)] or [0]
    place = {feature: at for at, feature in enumerate(columns)}
    numeric = len(used - categorical)
    limits = floor32(form.threshold)
    if np.isnan(form.threshold[inner]).any():
        raise Unsupported("a threshold of its trees is no number")
    plain = inner & ~np.isin(np.arange(len(inner)), list(form.sets))
    below = plain & (limits < np.inf)  # every number passes infinity, whose rank is that behind the last one
    per = [np.unique(limits[below & (form.feature == feature)]) for feature in columns[:numeric]]
    every = np.unique(limits[below])
    shared = len(every) <= 254 and len(every) < sum(map(len, per))
    known = [every] * numeric if shared else per
    thresholds = every if shared else np.concatenate([*per, np.empty(0, np.float32)])
    starts = [0, len(every)] if shared else [0, *np.cumsum([len(each) for each in per]).tolist()]
    ranks = np.zeros(len(inner), np.int64)
    for at, feature in enumerate(columns[:numeric]):
        mine = plain & (form.feature == feature)
        ranks[mine] = np.searchsorted(known[at], limits[mine])
    if (plain & np.isin(form.feature, list(categorical))).any():
        raise Unsupported("a feature that is a number in some of its trees, and a category in others")
    sets, which = _sets(form, columns[numeric:])
    for node, number in which.items():
        ranks[node] = number
    gaps = bool(form.left_gaps[inner].any())
    bits = (max(len(columns) - 1, 1).bit_length(), max(int(ranks.max()), 1).bit_length())
    size = -(-(2 + gaps + sum(bits)) // 8)
    if size > 4:
        raise Unsupported(f"{len(columns)} features with {len(thresholds)} thresholds do not fit nodes of 4 bytes")
    heads = (ranks << bits[0] | np.array([place.get(f, 0) for f in form.feature.tolist()])) << (1 if gaps else 0)
    heads = heads | (form.left_gaps & inner) if gaps else heads
    tables = Tables(
        columns=columns, numeric=numeric, thresholds=thresholds, starts=starts, shared=shared, sets=sets, bits=bits,
        gaps=gaps, size=size, small=0, more=1, stream=b"", roots=[], order=[],
    )  # fmt: skip
    _write(tables, form, heads, records)
    return tables


def _sets(form: Ensemble, columns: list[int]) -> tuple[list[list[int]], dict[int, int]]:
    """Rows of bytes of bits, and the row of each node."""
    every = [*form.sets.values(), *form.known.values()]
    widest = max((int(categories.max()) // 8 + 1 for categories in every if len(categories)), default=1)

    def row(categories: Array) -> tuple[int, ...]:
        bits = np.zeros(8 * widest, np.uint8)
        bits[categories] = 1
        return tuple(np.packbits(bits, bitorder="little").tolist())

    first = [row(form.known[column]) for column in columns] if form.known else []
    rows = dict.fromkeys(row(categories) for categories in form.sets.values())
    place = {each: at for at, each in enumerate(rows, len(first))}
    return [list(each) for each in (*first, *rows)], {node: place[row(each)] for node, each in form.sets.items()}


def _write(tables: Tables, form: Ensemble, heads: Array, records: list[int]) -> None:
    """Write the stream: leaves numbered by how often they occur, or by where the bytes of their values begin."""
    reached: list[int] = form.leaf[form.feature < 0].tolist()
    often = Counter(reached)
    tables.order = [leaf for leaf, _ in often.most_common()]
    ends = np.cumsum([0, *(records[leaf] for leaf in tables.order)]).tolist() if records else range(len(tables.order))
    number = dict(zip(tables.order, ends, strict=False))
    need, farthest = max(number.values()), 0
    while True:
        _room(tables, need)
        coded, farthest = _coded(tables, form, heads, number)
        if farthest <= need:
            break
        need = farthest * 9 // 8
    stream = bytearray()
    for root in form.roots.tolist():
        tables.roots.append(len(stream))
        stream += coded[root]
    tables.stream = bytes(stream)


def _room(tables: Tables, need: int) -> None:
    """Set how numbers up to `need` are written."""
    for tables.more in (1, 2, 3):
        tables.small = min((256 ** (tables.more + 1) - 1 - need) // (256**tables.more - 1), 255)
        if tables.small >= 32:
            return
    raise Unsupported(f"a tree of more than {need >> 20} MiB")


def _number(tables: Tables, value: int) -> bytes:
    if value < tables.small:
        return bytes([value])
    written = tables.small * 256**tables.more + value - tables.small
    size = tables.more + 1  # what does not fit is found to be too far, and written anew
    return min(written, 256**size - 1).to_bytes(size, "big")


def _coded(tables: Tables, form: Ensemble, heads: Array, number: dict[int, int]) -> tuple[dict[int, bytes], int]:
    """The bytes of each subtree that is a root, and the farthest distance. A root that is a leaf becomes a node whose
    children are both that leaf."""
    coded: dict[int, bytes] = {}
    feature, left, right, leaf = (each.tolist() for each in (form.feature, form.left, form.right, form.leaf))
    farthest = 0
    for node in range(len(feature) - 1, -1, -1):
        if feature[node] < 0:
            continue
        one, other = left[node], right[node]
        ends = [feature[child] < 0 for child in (one, other)]
        first, second = (
            _number(tables, number[leaf[child]]) if end else coded.pop(child)
            for child, end in zip((one, other), ends, strict=True)
        )
        head = (int(heads[node]) << 2 | ends[1] << 1 | ends[0]).to_bytes(tables.size, "little")
        if ends[1]:
            coded[node] = head + second + first
        elif ends[0]:
            coded[node] = head + first + second
        else:
            farthest = max(farthest, len(first))
            coded[node] = head + _number(tables, len(first)) + first + second
    for root in form.roots.tolist():
        if feature[root] < 0:
            same = _number(tables, number[leaf[root]])
            coded[root] = (3).to_bytes(tables.size, "little") + same + same
    return coded, farthest
