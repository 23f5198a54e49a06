"""A model's outputs as columns of Arrow: scalars, lists of a fixed length where the shape is fixed, text."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from argosy.batch.source.shape import arrow
from argosy.spec.batch import Format
from argosy.spec.errors import Internal, Unsupported
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import NUMPY, Array, bf16_to_fp32


class Answers:
    """The columns of some outputs in a format.

    An output of shape [-1] or [-1, 1] is a scalar a row, any other a list for each further axis: of fixed length where
    the axis is. In CSV, which has no lists, [-1, n] is n columns `name_0`… or those that the signature names. Half
    floats are FP32, as not every reader has them. BYTES are text, those of an image binary.
    """

    def __init__(self, outputs: Sequence[TensorSpec], format: Format) -> None:
        self.outputs = tuple(outputs)
        self.flat = format == "csv"
        self.fields: list[Any] = [field for spec in outputs for field in self._fields(spec)]

    def columns(self, outputs: Sequence[Array]) -> list[Any]:
        """The arrays of some rows, one for each of `fields`. Raises Internal for bytes that are no text."""
        found: list[Any] = []
        for spec, array in zip(self.outputs, outputs, strict=True):
            axes = _axes(spec)
            if not axes:
                found.append(_values(spec, array.reshape(len(array))))
            elif self.flat:
                found += [_values(spec, np.ascontiguousarray(array[:, place])) for place in range(axes[0])]
            else:
                found.append(_lists(_values(spec, array.reshape(-1)), array.shape, axes))
        return found

    def _fields(self, spec: TensorSpec) -> Iterator[Any]:
        pa = arrow()
        kind, axes = _leaf(spec), _axes(spec)
        if not axes:
            yield pa.field(spec.name, kind)
        elif not self.flat:
            for axis in reversed(axes):
                kind = pa.list_(kind, axis) if axis >= 0 else pa.list_(kind)
            yield pa.field(spec.name, kind)
        elif len(axes) == 1 and axes[0] >= 0:
            names = spec.columns or [f"{spec.name}_{place}" for place in range(axes[0])]
            yield from (pa.field(name, kind) for name in names)
        else:
            raise Unsupported(
                f"output '{spec.name}' has the shape {list(spec.shape)}, which CSV has no form for: write Parquet, "
                "Arrow or JSON lines"
            )


def _axes(spec: TensorSpec) -> tuple[int, ...]:
    """The axes beside that of the rows; none where there is one value a row."""
    return () if spec.shape[1:] == (1,) else spec.shape[1:]


def _leaf(spec: TensorSpec) -> Any:
    pa = arrow()
    if spec.datatype == "BYTES":
        return pa.binary() if spec.semantic == "image" else pa.string()
    return pa.from_numpy_dtype(np.dtype("<f4") if spec.datatype in ("FP16", "BF16") else NUMPY[spec.datatype])


def _values(spec: TensorSpec, flat: Array) -> Any:
    """One array of all values."""
    pa = arrow()
    if spec.datatype == "BYTES":
        found = pa.array(flat, pa.binary())
        try:
            return found if spec.semantic == "image" else found.cast(pa.string())
        except pa.ArrowInvalid:
            raise Internal(f"output '{spec.name}' contains bytes that are no UTF-8 text") from None
    if spec.datatype == "BF16":
        flat = bf16_to_fp32(flat)
    elif spec.datatype == "FP16":
        flat = flat.astype("<f4")
    return pa.array(flat)


def _lists(values: Any, shape: Sequence[int], axes: Sequence[int]) -> Any:
    """All values, row-major, as lists within lists."""
    pa = arrow()
    for depth in range(len(axes), 0, -1):
        size, count = shape[depth], math.prod(shape[:depth])
        if axes[depth - 1] >= 0:
            values = pa.FixedSizeListArray.from_arrays(values, size)
        else:
            offsets = pa.array(np.arange(count + 1, dtype=np.int32) * np.int32(size))
            values = pa.ListArray.from_arrays(offsets, values)
    return values
