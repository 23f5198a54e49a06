"""Rows → the tensors of a signature: columns found by name, values cast where nothing is lost, misfits named."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from argosy.packaging.table import EXACT, Table, column, infer, is_gap, matrix, missing, read
from argosy.spec.errors import InvalidArgument
from argosy.spec.matching import cast_values, fitting_shape
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import NUMPY, Array, Tensor, tensor


def read_rows(source: Path | bytes, kind: str = "", signature: Signature | None = None) -> list[Tensor]:
    """Rows of a .json, .csv, .parquet, .npy or .npz file (or bytes of that kind) as tensors.

    With a signature they become its inputs: columns by name, in whatever order, a missing value as NaN or, for
    nullable strings, as the empty string. Without one, each column or array is a tensor of its own datatype, and a
    matrix is one tensor `x`. Raises InvalidArgument naming the column and the row that do not fit.
    """
    table = read(source, kind)
    if signature is not None:
        return fit(table, signature.inputs)
    return [tensor(name or "x", array) for name, array in infer(table).arrays.items()]


def to_tensors(x: Any, inputs: Sequence[TensorSpec], *, lenient: bool = True) -> list[Tensor]:
    """`x` as the `inputs`, cast to their datatypes where no value changes by that.

    `x` is an array or nested list for the one input; a dict of input name or column → values; a list of such dicts, one
    a row; or a data frame. Columns go by name, so their order is free; None is NaN. Without inputs (a server that
    declares nothing) names and datatypes follow `x`. Where it is to be `lenient`, an array that is no column may have
    another name than the one input, or be one row without its first axis. Raises InvalidArgument.
    """
    table = _table(x, {spec.name for spec in inputs})
    if inputs:
        return fit(table, tuple(inputs), lenient=lenient and not (hasattr(x, "columns") or _is_records(x)))
    return [tensor(name or "input-0", array) for name, array in table.arrays.items()]


def _is_records(x: Any) -> bool:
    return isinstance(x, Sequence) and isinstance(next(iter(cast("Sequence[Any]", x)), None), Mapping)


def _table(x: Any, names: set[str]) -> Table:
    if isinstance(x, Mapping):
        return _columns(cast("Mapping[str, Any]", x), names)
    if hasattr(x, "columns") and hasattr(x, "to_numpy"):
        return _columns({str(name): x[name].to_numpy() for name in x.columns}, names)
    if hasattr(x, "to_frame") and all(isinstance(label, str) for label in x.index):  # a row of a data frame
        return _columns(x.to_dict(), names)
    if _is_records(x):
        rows = cast("Sequence[Mapping[str, Any]]", x)
        columns = dict.fromkeys(str(name) for row in rows for name in row)
        return _columns({name: [row.get(name) for row in rows] for name in columns}, names)
    return Table("matrix", {"": _array(x)})


def _columns(values: Mapping[str, Any], names: set[str]) -> Table:
    """`tensors` when every name is an input's, else a `frame`. Values without an axis are those of one row."""
    arrays = {name: _named(name, value) for name, value in values.items()}
    if arrays and not any(array.ndim for array in arrays.values()):
        arrays = {name: array.reshape(1) for name, array in arrays.items()}
    kind = "tensors" if set(arrays) <= names else "frame"
    if kind == "frame" and len({len(array) for array in arrays.values() if array.ndim}) > 1:
        raise InvalidArgument("the columns differ in their number of rows")
    return Table(kind, arrays)


def _named(name: str, value: Any) -> Array:
    if value is None or isinstance(value, str | bytes):
        return np.array(value, object)
    if not isinstance(value, Sequence):
        return _array(value)
    try:
        return column(cast("Sequence[Any]", value))
    except InvalidArgument as error:
        raise InvalidArgument(f"column '{name}': {error.message}") from None


def _array(value: Any) -> Array:
    """Nested lists, or anything numpy takes (tensors of other libraries, series)."""
    if isinstance(value, list | tuple):
        return matrix(cast("Sequence[Any]", value), "the rows")
    return np.asarray(value)


def fit(table: Table, inputs: tuple[TensorSpec, ...], *, lenient: bool = False) -> list[Tensor]:
    """A table as the inputs of a signature; `lenient` as for `to_tensors`. Raises InvalidArgument."""
    if _renamed(table, inputs, lenient):
        table = Table("tensors", {inputs[0].name: next(iter(table.arrays.values()))})
    arrays = _by_input(table, inputs)
    given = [spec for spec in inputs if spec.name in arrays]
    if absent := [spec.name for spec in inputs if spec.name not in arrays and not spec.optional]:
        raise InvalidArgument(
            f"the rows lack {listed(absent)}; the model takes {listed([spec.name for spec in inputs])}"
        )
    row = lenient and table.kind != "frame"
    return [Tensor(spec.name, spec.datatype, shaped(spec, arrays[spec.name], row=row)) for spec in given]


def _by_input(table: Table, inputs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    if table.kind == "matrix":
        return _of_matrix(table.arrays[""], inputs)
    if table.kind == "frame" and len(inputs) == 1:
        wide = len(inputs[0].shape) == 2 and inputs[0].name not in table.arrays  # takes the columns as they come
        if inputs[0].columns or wide:
            return {inputs[0].name: _stack(table, inputs[0])}
    known = {spec.name: spec for spec in inputs}
    _refuse_unknown(list(table.arrays), list(known))
    return {name: cast_array(array, known[name], f"column '{name}'") for name, array in table.arrays.items()}


def _renamed(table: Table, inputs: tuple[TensorSpec, ...], lenient: bool) -> bool:
    """Whether the one array is all that the one input takes, under another name; of several values a row, a column of a
    table is not."""
    if len(inputs) != 1 or len(table.arrays) != 1 or table.kind == "matrix":
        return False
    ((name, array),) = table.arrays.items()
    spec = inputs[0]
    if name in (spec.name, *spec.columns) or (spec.columns and not lenient):
        return False
    return len(spec.shape) == 1 or (lenient and array.ndim > 1)


def _of_matrix(array: Array, inputs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    if len(inputs) == 1:
        return {inputs[0].name: cast_array(array, inputs[0], "the array")}
    if array.ndim == 2 and array.shape[1] == len(inputs):
        parts = zip(inputs, array.T, strict=True)
        return {spec.name: cast_array(part, spec, f"column {place}") for place, (spec, part) in enumerate(parts)}
    names = listed([spec.name for spec in inputs])
    raise InvalidArgument(
        f"one array of shape {list(array.shape)} cannot be {len(inputs)} inputs; give columns named {names}"
    )


def _stack(table: Table, spec: TensorSpec) -> Array:
    names = list(spec.columns or table.arrays)
    _refuse_unknown(list(table.arrays), names)
    if absent := [name for name in names if name not in table.arrays]:
        raise InvalidArgument(f"the rows lack the columns {listed(absent)}")
    if spec.shape[-1] not in (-1, len(names)):
        raise InvalidArgument(f"the rows have {len(names)} columns; input '{spec.name}' takes {spec.shape[-1]}")
    one = TensorSpec(name=spec.name, datatype=spec.datatype, shape=(-1,), nullable=spec.nullable)
    return np.stack([cast_array(table.arrays[name], one, f"column '{name}'") for name in names], axis=-1)


def _refuse_unknown(given: list[str], known: list[str]) -> None:
    if unknown := [name for name in given if name not in known]:
        raise InvalidArgument(
            f"the model does not know {'the column' if len(unknown) == 1 else 'the columns'} {listed(unknown)}; "
            f"it takes {listed(known)}. Leave out what is no input, a target for example"
        )


def listed(names: Sequence[str]) -> str:
    """Some columns, in words: the first twelve, and how many there are."""
    shown = ", ".join(f"'{name}'" for name in names[:12])
    return f"{shown}, … ({len(names)} in all)" if len(names) > 12 else shown


def cast_array(array: Array, spec: TensorSpec, where: str) -> Array:
    """An array in the dtype of the spec, as by `matching.cast_values`; but a whole number in a row is a number like any
    other, and becomes the nearest float, as it does in the libraries. Raises InvalidArgument."""
    if spec.datatype == "BYTES":
        return _to_bytes(array, spec, where)
    wanted = NUMPY[spec.datatype]
    if array.dtype.kind in "OSU":
        array = _numbers(array, where)
    if spec.datatype == "BF16":
        raise InvalidArgument(f"{where}: BF16 has no form in rows; send it as a binary tensor")
    if array.dtype.kind not in "biuf":
        raise InvalidArgument(f"{where} has dtype {array.dtype}; the model takes {spec.datatype}")
    if wanted.kind == "f" and array.dtype.kind in "iu":
        array = array.astype("f8")
    if wanted.kind in "iu" and array.dtype.kind == "f" and (odd := _first(np.abs(array) >= EXACT)):
        raise InvalidArgument(f"{where}, row {odd - 1}: a number that large is no {spec.datatype} once it is a float")
    return cast_values(array, spec.datatype, where)


def _first(mask: Array) -> int:
    """1 + the first row where the mask holds; 0 where it never does."""
    flat = mask.reshape(len(mask), -1).any(axis=1) if mask.ndim else mask.reshape(1)
    return int(flat.argmax()) + 1 if flat.any() else 0


def _numbers(array: Array, where: str) -> Array:
    out: list[float | int] = []
    for row, value in enumerate(array.reshape(-1).tolist()):
        try:
            out.append(number(value))
        except (ValueError, TypeError):
            row = row // max(array.size // max(len(array), 1), 1)
            raise InvalidArgument(f"{where}, row {row}: {str(value)[:60]!r} is no number") from None
    found = np.array(out)
    if found.dtype.kind == "O":
        raise InvalidArgument(f"{where}: a value is out of the range of every datatype")
    return found.reshape(array.shape)


def number(value: Any) -> float | int:
    """A number or a text that spells one; a gap is NaN. Raises ValueError, TypeError."""
    if is_gap(value):
        return np.nan
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if isinstance(value, bytes | str):
        text = value.decode() if isinstance(value, bytes) else value
        whole = int(text) if text.strip().lstrip("+-").isdecimal() and len(text) <= 20 else None
        return whole if whole is not None and -(2**63) <= whole < 2**64 else float(text)
    return value


def _to_bytes(array: Array, spec: TensorSpec, where: str) -> Array:
    if array.dtype.kind in "iu" and spec.semantic == "categorical":
        array = array.astype(str).astype(object)  # as libraries take a category that is a whole number
    elif array.dtype.kind == "f" and (gone := np.isnan(array)).any():  # None made it a column of floats
        present = array[~gone]
        if not present.size or (
            spec.semantic == "categorical" and ((present == np.trunc(present)) & (np.abs(present) < EXACT)).all()
        ):
            array = np.full(array.shape, None, object)
            array[~gone] = present.astype("i8").astype(str)
    if array.dtype.kind not in "OSU":
        raise InvalidArgument(f"{where} holds numbers ({array.dtype}); the model takes strings")
    gaps = missing(array) if array.dtype.kind == "O" else np.zeros(array.shape, dtype=bool)
    if not spec.nullable and (row := _first(gaps)):
        raise InvalidArgument(
            f'{where}, row {row - 1}: a value is missing, and the model takes none here; an empty text is ""'
        )
    filled = array.astype(object)
    filled[gaps] = None
    return tensor(spec.name, filled, "BYTES").array


def shaped(spec: TensorSpec, array: Array, *, row: bool = False) -> Array:
    """The array in the shape of the input, as by `matching.fitting_shape`."""
    return np.asarray(array.reshape(fitting_shape(spec, spec.datatype, array.shape, row=row)), order="C")
