"""Quantile sketches (KLL, k = 200: rank error 1.3 %) by Apache DataSketches, where it is installed. Else bins must do.

Karnin, Lang, Liberty, "Optimal quantile approximation in streams" (2016). The library reads past the end of bytes that
were cut short, so `sound` checks all lengths of a sketch before it is given one.
"""

import importlib.util
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from argosy.profiles.cells import Floats
from argosy.spec.errors import InvalidArgument, MissingExtra

K = 200
FULL = 8192
_HEAD = struct.Struct("<BBBBHBx")
_FULL = struct.Struct("<QHBx")
_EMPTY, _SINGLE = 1, 4
_FAMILY, _WIDTH, _LEVELS = 15, 4, 60


def installed() -> bool:
    """Whether the extra `sketches` is there."""
    return importlib.util.find_spec("datasketches") is not None


class Sketches:
    """One sketch per column of numbers. NaN is left out; infinities are the caller's to keep out.

    The first `FULL` rows all go in; then rows drawn at random, of every further `FULL` half as many as before, each
    with twice the weight. So many rows bound the error below the sketch's own, and cost next to nothing.
    """

    def __init__(self, columns: int) -> None:
        import datasketches

        vector: Any = datasketches
        self._fresh = lambda: vector.vector_of_kll_floats_sketches(K, columns)
        self._levels: list[Any] = [self._fresh()]
        self._rows = 0
        self._rng = np.random.default_rng(columns)

    def update(self, values: Floats) -> None:
        """Add rows, shape (columns, rows)."""
        if self._rows >= FULL:
            self._levels.append(self._fresh())
            self._rows = 0
        if (height := len(self._levels) - 1) > 0:
            values = values[:, self._rng.random(values.shape[1]) < 1 / (1 << height)]
        self._rows += values.shape[1]
        if values.shape[1]:
            with np.errstate(over="ignore"):
                self._levels[-1].update(np.ascontiguousarray(values.T, np.float32))

    def freeze(self) -> tuple[bytes, ...]:
        """One sketch per column, as bytes."""
        *lower, found = [tuple(level.serialize()) for level in self._levels]
        for level in reversed(lower):
            found = tuple(merge([double, double, one]) for double, one in zip(found, level, strict=True))
        return found


def merge(parts: Sequence[bytes]) -> bytes:
    """One column's sketch of all that its parts have seen. Raises InvalidArgument for bytes that are no sketch."""
    whole: Any = _read(parts[0])
    for part in parts[1:]:
        whole.merge(_read(part))
    return bytes(whole.serialize())


def quantiles(sketch: bytes, at: Sequence[float]) -> list[float]:
    """Values at these ranks in [0, 1]; nothing from an empty sketch."""
    whole: Any = _read(sketch)
    return [] if whole.is_empty() else [float(value) for value in whole.get_quantiles(list(at))]


def _read(sketch: bytes) -> object:
    if not installed():
        raise MissingExtra.named("sketches", "merging quantile sketches")
    import datasketches

    library: Any = datasketches
    broken = f"a quantile sketch of {len(sketch)} bytes is cut short or broken; its profile is lost"
    if not sound(sketch):
        raise InvalidArgument(broken)
    try:
        return library.kll_floats_sketch.deserialize(sketch)
    except (ValueError, IndexError, RuntimeError) as error:
        raise InvalidArgument(f"{broken}: {error}") from error


def sound(sketch: bytes) -> bool:
    """Whether these bytes are one whole float sketch: lengths, levels and weights fit together."""
    if len(sketch) < _HEAD.size:
        return False
    _, version, family, flags, k, m = _HEAD.unpack_from(sketch)
    if family != _FAMILY or version not in (1, 2) or k != K or m != 8:
        return False
    if flags & _EMPTY:
        return len(sketch) == _HEAD.size
    if flags & _SINGLE:
        return len(sketch) == _HEAD.size + _WIDTH
    start = _HEAD.size + _FULL.size
    if len(sketch) < start:
        return False
    n, _, levels = _FULL.unpack_from(sketch, _HEAD.size)
    if not 1 <= levels <= _LEVELS or len(sketch) < start + 4 * levels:
        return False
    capacity = sum(_capacity(k, m, levels - height - 1) for height in range(levels))
    ends = [*struct.unpack_from(f"<{levels}I", sketch, start), capacity]
    sizes = [after - before for before, after in pairwise(ends)]
    weight = sum(size << height for height, size in enumerate(sizes))
    return min(sizes) >= 0 and weight == n and len(sketch) == start + 4 * levels + _WIDTH * (2 + capacity - ends[0])


def _capacity(k: int, m: int, depth: int) -> int:
    """Of a level that is `depth` below the top: k·(2/3)^depth rounded, in two steps past 30, at least m."""
    for part in (depth,) if depth <= 30 else (depth // 2, depth - depth // 2):
        k = (((k << 1 << part) // 3**part) + 1) >> 1
    return max(m, k)
