"""Rows on which a converted model is compared with the original: there where conversions break.

Each set is named for what it tries. All are made of the rows that are known (the sample, or rows made from the model's
own data), and are the same every time.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from argosy.engines.base import rows_of
from argosy.packaging.domain import Feeds, InputColumn, columns, repeat
from argosy.spec.errors import ArgosyError
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import Array

Answer = Callable[[Feeds], list[Array]]
Probe = tuple[str, Feeds]
"""What is tried, and the rows."""

MOST = 1500
"""Rows of one set."""
PAIRS = 128
"""Pairs of rows between whose answers a boundary is searched for."""

_SPECIAL = [
    *(0.0, -0.0, 5e-324, -5e-324, 1e-310, 1e-45, 1e-40, -1e-40, 1.1754944e-38, 1e-9, -1e-9, 1.0, -1.0, 0.1),
    *(1e3, 1e6, -1e6, 1e9, 1.7e9, 1.7e12, 2.0**24 + 1, -(2.0**24) - 1, 2.0**53 + 2, 1e15, -1e15, 1e18, -1e18),
    *(1e30, -1e30, 3.4028234663852886e38, -3.4028234663852886e38, 3.4028235677973366e38, 3.5e38, -3.5e38, 1e39),
    *(1e100, -1e100, 1e200, -1e200, 1e300, -1e300, 1.7976931348623157e308, -1.7976931348623157e308),
]
_WHOLE = [0, 1, -1, 2, -2, 7, 100, 255, 256, 65_536, 2**24 + 1, 2**31 - 1, -(2**31), 2**31, 2**53 + 1, 2**62, -(2**63)]
_TEXTS = [b"", b" ", b"argosy: no such category", b"nan", b"None", b"0", b"-1", "ünï 日本".encode(), b"x" * 300]


class Known(NamedTuple):
    """What a model says of itself: (column, threshold) of its trees; whether there is a tree in any part of it."""

    thresholds: Sequence[tuple[int, float]]
    trees: bool


def probes(rows: Feeds, specs: Sequence[TensorSpec], known: Known, answer: Answer) -> Iterator[Probe]:
    """The sets of rows. `answer` is the original's, for the boundaries between its answers; it raises ArgosyError."""
    random = np.random.default_rng(0)
    found = columns(specs, rows)
    floats = [column for column in found if column.spec.datatype in ("FP32", "FP64")]
    yield "known rows", repeat(rows, _picked(random, rows, MOST))
    yield "thresholds", _thresholds(random, rows, found, known.thresholds)
    yield "missing values", _gaps(random, rows, found)
    yield "infinities", _placed(random, rows, floats, [np.inf, -np.inf])
    yield "extremes", _placed(random, rows, floats, _SPECIAL)
    yield "extremes in all columns", _everywhere(random, rows, floats)
    yield "whole numbers", _whole(random, rows, found)
    yield "unknown and missing categories", _texts(random, rows, found)
    yield "columns redrawn", redrawn(random, rows, found, MOST)
    yield "noise", noisy(random, rows, floats)
    yield from _boundaries(random, rows, floats, known, answer)


def _picked(random: np.random.Generator, rows: Feeds, most: int) -> Array:
    count = rows_of(rows)
    return np.sort(random.choice(count, most, replace=False)) if count > most else np.arange(count)


def _drawn(random: np.random.Generator, rows: Feeds, count: int) -> Feeds:
    return repeat(rows, random.integers(0, rows_of(rows), count))


def _set(column: InputColumn, feeds: Feeds, rows: Array, values: Array) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        column.of(feeds)[rows] = values


def _thresholds(
    random: np.random.Generator, rows: Feeds, found: list[InputColumn], pairs: Sequence[tuple[int, float]]
) -> Feeds:
    """At each threshold, and beside it: by one step of FP64 and FP32, by halves of a step of FP32, by 1e-9."""
    some: list[tuple[int, float]] = [
        pair for pair in pairs if pair[0] < len(found) and found[pair[0]].spec.datatype in ("FP32", "FP64")
    ]
    if len(some) > MOST // 10:
        some = [some[int(place)] for place in np.sort(random.choice(len(some), MOST // 10, replace=False))]
    feeds = _drawn(random, rows, 10 * len(some))
    for place, (feature, value) in enumerate(some):
        _set(found[feature], feeds, np.arange(10 * place, 10 * place + 10), beside(value))
    return feeds


def beside(value: float) -> Array:
    with np.errstate(over="ignore"):
        single = np.float32(value)
    up, down = np.nextafter(single, np.float32(np.inf)), np.nextafter(single, np.float32(-np.inf))
    one, low, high = float(single), float(down), float(up)
    step = 1e-9 * max(abs(value), 1e-300)
    exact = [value, np.nextafter(value, np.inf), np.nextafter(value, -np.inf), value + step, value - step]
    return np.array([*exact, one, low, high, one + (high - one) / 2, one - (one - low) / 2])


def _gaps(random: np.random.Generator, rows: Feeds, found: list[InputColumn]) -> Feeds:
    """One missing value in a row, a third of them, all."""
    holed = [column for column in found if column.spec.datatype in ("FP32", "FP64", "BYTES")]
    if not holed:
        return repeat(rows, np.arange(0))
    feeds = _drawn(random, rows, MOST // 2)
    count = rows_of(feeds)
    holes = random.random((count, len(holed))) < 0.3
    holes[: count // 3] = False
    holes[np.arange(count // 3), random.integers(0, len(holed), count // 3)] = True
    holes[-2:] = True
    for place, column in enumerate(holed):
        column.of(feeds)[holes[:, place]] = b"" if column.spec.datatype == "BYTES" else np.nan
    return feeds


def _placed(random: np.random.Generator, rows: Feeds, found: list[InputColumn], values: Sequence[float]) -> Feeds:
    """Each value in each column, in a row that is known; as many of them as a set may have."""
    places: list[tuple[InputColumn, float]] = [(column, value) for column in found for value in values]
    if len(places) > MOST:
        places = [places[int(place)] for place in random.choice(len(places), MOST, replace=False)]
    feeds = _drawn(random, rows, len(places))
    for row, (column, value) in enumerate(places):
        _set(column, feeds, np.array([row]), np.array([value]))
    return feeds


def _everywhere(random: np.random.Generator, rows: Feeds, found: list[InputColumn]) -> Feeds:
    """One value in all columns of numbers; or the same magnitude with both signs."""
    values = np.array(_SPECIAL if found else [])
    feeds = _drawn(random, rows, 2 * len(values))
    for column in found:
        _set(column, feeds, np.arange(len(values)), values)
        _set(column, feeds, np.arange(len(values), 2 * len(values)), values * random.choice([-1, 1], len(values)))
    return feeds


def _whole(random: np.random.Generator, rows: Feeds, found: list[InputColumn]) -> Feeds:
    """Integers at the limits of what floats hold; both booleans."""
    feeds = _drawn(random, rows, 0 if all(c.spec.datatype not in ("INT64", "INT32", "BOOL") for c in found) else 300)
    for column in found:
        view = column.of(feeds)
        if column.spec.datatype == "BOOL":
            view[:] = random.random(len(view)) < 0.5
        elif column.spec.datatype in ("INT64", "INT32"):
            limits = np.iinfo(view.dtype)
            fitting = [value for value in _WHOLE if limits.min <= value <= limits.max]
            some = random.random(len(view)) < 0.3
            view[some] = random.choice(fitting, int(some.sum()))
    return feeds


def _texts(random: np.random.Generator, rows: Feeds, found: list[InputColumn]) -> Feeds:
    """Texts that no sample has, and changed ones that it has: another case, a space, a letter less."""
    texts = [column for column in found if column.spec.datatype == "BYTES"]
    feeds = _drawn(random, rows, 40 * len(texts) if len(texts) < 20 else 800)
    count = rows_of(feeds)
    for row in range(count):
        column = texts[row % len(texts)].of(feeds)
        known = column[row]
        column[row] = [*_TEXTS, known.upper(), known.lower(), known + b" ", b" " + known, known[:-1]][
            random.integers(14)
        ]
    return feeds


def redrawn(random: np.random.Generator, rows: Feeds, found: list[InputColumn], count: int) -> Feeds:
    """Each column drawn for itself: combinations that the sample does not have."""
    feeds = _drawn(random, rows, count)
    for column in found:
        view, source = column.of(feeds), column.of(rows)
        view[:] = source[random.integers(0, len(source), len(view))]
    return feeds


def noisy(random: np.random.Generator, rows: Feeds, found: list[InputColumn]) -> Feeds:
    """Rows with noise: from 1e-12 to 1 of each value, and from 1e-3 to 10 of the spread of the column."""
    feeds = _drawn(random, rows, MOST if found else 0)
    for column in found:
        view = column.of(feeds)
        with np.errstate(all="ignore"):
            source = column.of(rows).astype(np.float64)
            source = source[np.isfinite(source)]
            spread = float(source.std()) if source.size else 1.0
            noise = random.standard_normal(len(view)) * 10.0 ** random.integers(-12, 1, len(view))
            wide = random.standard_normal(len(view)) * 10.0 ** random.integers(-3, 2, len(view)) * (spread or 1.0)
            view[:] = view + np.where(np.arange(len(view)) % 2, view * noise, wide)
    return feeds


def _boundaries(
    random: np.random.Generator, rows: Feeds, found: list[InputColumn], known: Known, answer: Answer
) -> Iterator[Probe]:
    """Both sides of where the answer changes, between pairs of rows: where trees decide, to the next number; where
    sums do, to 1e-9 of the distance, since the last bits of a sum depend on its order."""
    if not found or rows_of(rows) < 2:
        return
    first, second = _drawn(random, rows, PAIRS), _drawn(random, rows, PAIRS)
    for column in found:
        for feeds in (first, second):
            view = column.of(feeds)
            view[~np.isfinite(view)] = 0
    try:
        if any(array.dtype.kind != "f" for array in answer(first)):
            yield "boundaries", _both(*bisected((first, second), found, answer, steps=30, exact=False))
        if known.trees:
            pair = first, one_column(random, first, second, found)
            yield "boundaries of trees", _both(*bisected(pair, found, answer, steps=66, exact=True))
    except ArgosyError:  # rows of finite numbers that the original refuses: the other sets show it
        return


def _both(low: Feeds, high: Feeds) -> Feeds:
    return {name: np.concatenate([low[name], high[name]]) for name in low}


def one_column(random: np.random.Generator, first: Feeds, second: Feeds, found: list[InputColumn]) -> Feeds:
    """The first rows, each with the second's value in one column."""
    mixed = {name: array.copy() for name, array in first.items()}
    picked = random.integers(0, len(found), rows_of(mixed))
    for place, column in enumerate(found):
        chosen = picked == place
        column.of(mixed)[chosen] = column.of(second)[chosen]
    return mixed


def bisected(
    pair: tuple[Feeds, Feeds], found: list[InputColumn], answer: Answer, *, steps: int, exact: bool
) -> tuple[Feeds, Feeds]:
    """The pairs of rows, moved towards each other while their answers differ: in labels, or `exact`, in anything."""
    low, high = ({name: array.copy() for name, array in feeds.items()} for feeds in pair)
    start = answer(low)
    for _ in range(steps):
        middle = {name: array.copy() for name, array in low.items()}
        for column in found:
            below, above = column.of(low), column.of(high)
            column.of(middle)[:] = below + (above - below) / 2
        same = np.ones(rows_of(low), dtype=bool)
        for one, other in zip(start, answer(middle), strict=True):
            if exact or one.dtype.kind != "f":
                same &= (one == other).reshape(len(one), -1).all(axis=1)
        for name in low:
            low[name][same] = middle[name][same]
            high[name][~same] = middle[name][~same]
    return low, high
