"""Golden examples: rows chosen or made the same way every time, and the comparison that every replay comes down to."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from argosy.engines import Engine
from argosy.engines.probe import made, shape_of
from argosy.spec.errors import ArgosyError, BadPackage, GoldenMismatch, InvalidArgument
from argosy.spec.package import Tolerance
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import NUMPY, Array, Tensor, bf16_to_fp32

COUNT = 16
MAX_BYTES = 8 * 1024 * 1024
ALONE = Tolerance(atol=1e-3, rtol=1e-2)
"""How close a row answered alone must be to the same row in a batch: kernels differ, and some networks amplify that."""

FREE_AXES = (8, 32, 64, 128, 224)
"""Lengths tried for axes that the signature leaves free, until the model accepts one."""


def choose(tensors: Sequence[Tensor], count: int = COUNT) -> list[int]:
    """Row numbers of at most `count` telling rows: first, last, those with gaps, extremes of each column, then spread.
    The same tensors give the same rows."""
    rows = len(tensors[0].array)
    if rows <= count:
        return list(range(rows))
    wanted = dict.fromkeys([0, rows - 1, *_with_gaps(tensors)[: count // 4], *_extremes(tensors)[: count // 2]])
    wanted |= dict.fromkeys(np.linspace(0, rows - 1, count + len(wanted), dtype=int).tolist())
    return sorted(list(wanted)[:count])


def _with_gaps(tensors: Sequence[Tensor]) -> list[int]:
    found: list[int] = []
    for tensor in tensors:
        if tensor.array.dtype.kind == "f":
            found += np.flatnonzero(np.isnan(tensor.array).reshape(len(tensor.array), -1).any(axis=1))[:COUNT].tolist()
        elif tensor.datatype == "BYTES":
            found += np.flatnonzero((tensor.array == b"").reshape(len(tensor.array), -1).any(axis=1))[:COUNT].tolist()
    return list(dict.fromkeys(found))


def _extremes(tensors: Sequence[Tensor]) -> list[int]:
    found: list[int] = []
    for tensor in tensors:
        if tensor.array.dtype.kind in "iuf":
            values = tensor.array.reshape(len(tensor.array), -1)[:, :COUNT].astype(np.float64)
            for column in np.nan_to_num(values).T:
                found += [int(column.argmin()), int(column.argmax())]
    return list(dict.fromkeys(found))


def make(inputs: Sequence[TensorSpec], count: int = COUNT, free: int = FREE_AXES[0]) -> list[Tensor]:
    """Rows made from a signature, always the same. Raises InvalidArgument where one row alone is over 8 MiB."""
    size = sum(math.prod(shape_of(spec, 1, free)) * NUMPY[spec.datatype].itemsize for spec in inputs)
    if size > MAX_BYTES:
        raise InvalidArgument(f"one made-up row of this signature takes {size} bytes: give a sample")
    rows = max(1, min(count, MAX_BYTES // max(size, 1)))
    return [Tensor(spec.name, spec.datatype, made(spec, rows, free)) for spec in inputs if not spec.optional]


def make_accepted(
    inputs: Sequence[TensorSpec], batched: bool, run: Callable[[dict[str, Array]], object]
) -> list[Tensor]:
    """Made-up rows that the model answers. Raises InvalidArgument, asking for a sample, where it answers none."""
    refusal = ""
    for free in FREE_AXES if any(-1 in spec.shape[1:] for spec in inputs) else FREE_AXES[:1]:
        tensors = make(inputs, COUNT if batched else 1, free)
        try:
            run({tensor.name: tensor.array for tensor in tensors})
        except ArgosyError as error:
            refusal = refusal or error.message
        else:
            return tensors
    raise InvalidArgument(f"the model refuses made-up rows ({refusal}): give real ones with --sample")


def difference(want: Array, got: Array, datatype: str, tolerance: Tolerance) -> tuple[Array, float]:
    """Which elements are too far apart, and the largest difference. NaN equals NaN; all but floats must be equal."""
    if want.shape != got.shape:
        raise GoldenMismatch(f"shape {list(got.shape)} where {list(want.shape)} was given")
    if datatype == "BF16":
        want, got = bf16_to_fp32(want), bf16_to_fp32(got)
    if want.dtype.kind != "f":
        return np.asarray(want != got, dtype=bool), 0.0
    wide, other = want.astype(np.float64), got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        gap = np.abs(other - wide)
        far = gap > tolerance.atol + tolerance.rtol * np.abs(wide)
    same = (wide == other) | (np.isnan(wide) & np.isnan(other))
    bad = ~same & (far | ~np.isfinite(gap))
    finite = gap[np.isfinite(gap)]
    return bad, float(finite.max()) if finite.size else 0.0


def compare(want: Sequence[Tensor], got: Sequence[Array], tolerance: Tolerance, what: str = "") -> float:
    """The largest difference between wanted and given outputs. Raises GoldenMismatch naming the first too large."""
    if len(want) != len(got):
        raise GoldenMismatch(f"{what}the model gives {len(got)} outputs; {len(want)} were recorded")
    largest = 0.0
    for tensor, array in zip(want, got, strict=True):
        try:
            bad, gap = difference(tensor.array, array, tensor.datatype, tolerance)
        except GoldenMismatch as error:
            raise GoldenMismatch(f"{what}output '{tensor.name}': {error.message}") from None
        if bad.any():
            raise GoldenMismatch(what + first_misfit(tensor, array, bad, tolerance))
        largest = max(largest, gap)
    return largest


def first_misfit(tensor: Tensor, got: Array, bad: Array, tolerance: Tolerance) -> str:
    """The first value that is too far off, in words: output, row, want, got, difference."""
    place = tuple(int(index) for index in np.argwhere(bad)[0])
    want_value, got_value = tensor.array[place], got[place]
    if tensor.datatype == "BF16":
        want_value, got_value = bf16_to_fp32(tensor.array)[place], bf16_to_fp32(got)[place]
    row = f"row {place[0]}" + (f", element {list(place[1:])}" if len(place) > 1 else "") if place else "its one value"
    shown = [repr(each)[:80] if isinstance(each, bytes | str) else f"{each}" for each in (want_value, got_value)]
    text = f"output '{tensor.name}', {row}: want {shown[0]}, got {shown[1]}"
    if tensor.array.dtype.kind == "f":
        gap = abs(float(got_value) - float(want_value))
        text += f", difference {gap:.3g} (allowed: {tolerance.atol:g} + {tolerance.rtol:g}·|want|)"
    return text + f"; {int(bad.sum())} of {bad.size} values differ"


def replay(engine: Engine, inputs: Sequence[Tensor], outputs: Sequence[Tensor], tolerance: Tolerance) -> float:
    """Ask the engine for the golden outputs again: all rows together, and the first row alone where rows are a batch.
    Returns the largest difference of all rows together. Raises GoldenMismatch, BadPackage where the engine fails."""
    largest = compare(outputs, answers(engine, inputs), tolerance, "golden examples: ")
    if engine.signature.batched and len(inputs[0].array) > 1:
        first = [Tensor(t.name, t.datatype, t.array[:1]) for t in inputs]
        want = [Tensor(t.name, t.datatype, t.array[:1]) for t in outputs]
        loose = Tolerance(atol=max(tolerance.atol, ALONE.atol), rtol=max(tolerance.rtol, ALONE.rtol))
        compare(want, answers(engine, first), loose, "golden examples, first row alone: ")
    return largest


def answers(engine: Engine, inputs: Sequence[Tensor]) -> list[Array]:
    """Every output, also those on request. Raises BadPackage where the engine fails."""
    try:
        names = [spec.name for spec in engine.signature.every_output if engine.signature.on_request]
        return engine.answer({tensor.name: tensor.array for tensor in inputs}, names)
    except ArgosyError as error:
        raise BadPackage(f"the model does not answer its golden examples: {error.message}") from None
