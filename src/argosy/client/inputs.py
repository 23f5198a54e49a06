"""Arrays, dicts, rows and data frames → the tensors a model takes."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import NUMPY, Array, Tensor, tensor


def to_tensors(x: Any, specs: Sequence[TensorSpec]) -> list[Tensor]:
    """`x` as the inputs `specs`, cast to their datatypes.

    `x` is an array or nested list for the one input; a dict of input name or column → values; a list of such dicts, one
    a row; or a data frame. Columns go by name, so their order is free; None is NaN. Without specs (a server that
    declares nothing) names and datatypes follow `x`. Raises InvalidArgument.
    """
    if isinstance(x, Mapping):
        return _named(cast("Mapping[str, Any]", x), specs)
    if hasattr(x, "columns") and hasattr(x, "to_numpy"):
        return _named({str(name): x[name].to_numpy() for name in x.columns}, specs)
    if isinstance(x, Sequence) and x and isinstance(x[0], Mapping):
        return _named(_transposed(cast("Sequence[Mapping[str, Any]]", x)), specs)
    if not specs:
        return [tensor("input-0", _array(x, None))]
    if len(specs) == 1:
        return [_cast(specs[0], x)]
    return _split(x, specs)


def _transposed(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def _named(values: Mapping[str, Any], specs: Sequence[TensorSpec]) -> list[Tensor]:
    if not specs:
        return [tensor(name, _array(value, None)) for name, value in values.items()]
    known = {spec.name: spec for spec in specs}
    if all(name in known for name in values):
        return [_cast(known[name], _column(value, known[name])) for name, value in values.items()]
    wide = [spec for spec in specs if spec.columns]
    if len(wide) == 1 and len(specs) == 1:
        return [_stacked(values, wide[0])]
    unknown = next(name for name in values if name not in known)
    raise InvalidArgument(f"there is no input '{unknown}'; the model takes {', '.join(known)}")


def _stacked(values: Mapping[str, Any], spec: TensorSpec) -> Tensor:
    missing = [name for name in spec.columns if name not in values]
    extra = [name for name in values if name not in spec.columns]
    if missing or extra:
        what = f"column '{missing[0]}' is missing" if missing else f"there is no column '{extra[0]}'"
        raise InvalidArgument(f"{what}; the model takes {', '.join(spec.columns[:50])}")
    columns = [_array(values[name], spec) for name in spec.columns]
    if len({len(column) for column in columns}) > 1:
        raise InvalidArgument("the columns differ in their number of rows")
    return _cast(spec, np.stack(columns, axis=-1))


def _column(value: Any, spec: TensorSpec) -> Any:
    """A flat column for an input that wants (rows, 1)."""
    array = _array(value, spec)
    return array.reshape(-1, 1) if array.ndim == 1 and len(spec.shape) == 2 and spec.shape[1] == 1 else array


def _split(x: Any, specs: Sequence[TensorSpec]) -> list[Tensor]:
    """A table for a model with one input a column."""
    array = _array(x, None)
    scalar = all(len(spec.shape) == 1 or spec.shape[1:] == (1,) for spec in specs)
    if not scalar or array.ndim != 2 or array.shape[1] != len(specs):
        names = ", ".join(spec.name for spec in specs)
        raise InvalidArgument(f"the model takes {len(specs)} inputs; pass a dict with {names}")
    return [_cast(spec, _column(array[:, at], spec)) for at, spec in enumerate(specs)]


def _cast(spec: TensorSpec, value: Any) -> Tensor:
    array = _array(value, spec)
    if spec.datatype != "BYTES" and array.dtype.kind in "iuf" and NUMPY[spec.datatype].kind in "iuf":
        array = _number(spec, array)
    try:
        return tensor(spec.name, array, spec.datatype)
    except TypeError:
        raise InvalidArgument(f"input '{spec.name}' takes {spec.datatype}; {array.dtype} does not fit") from None


def _number(spec: TensorSpec, array: Array) -> Array:
    """Numbers as the datatype's own, if every one survives: floats for integers must be whole and in range."""
    wanted = NUMPY[spec.datatype]
    if wanted.kind == "f" or array.dtype == wanted:
        return array.astype(wanted)
    with np.errstate(invalid="ignore"):
        out = array.astype(wanted)
        same = bool((out.astype(array.dtype) == array).all()) and _in_range(array, wanted)
    if not same:
        raise InvalidArgument(f"input '{spec.name}' takes {spec.datatype}; a value is out of range or no whole number")
    return out


def _in_range(array: Array, wanted: Any) -> bool:
    if not array.size:
        return True
    low, high = np.iinfo(wanted).min, np.iinfo(wanted).max
    return bool(low <= int(array.min()) and int(array.max()) <= high)


def _array(value: Any, spec: TensorSpec | None) -> Array:
    """An array of plain numbers or of objects. None among numbers is NaN. Raises InvalidArgument for ragged rows."""
    try:
        array = np.asarray(value)
        if array.dtype == object and (spec is None or spec.datatype != "BYTES"):
            array = _without_none(array)
    except ValueError as error:
        raise InvalidArgument(f"the rows differ in length, or a value is no number: {error}") from None
    return array


def _without_none(array: Array) -> Array:
    if any(isinstance(item, str | bytes) for item in array.reshape(-1).tolist()):
        return array
    try:
        return array.astype(np.float64)
    except TypeError:
        return array
