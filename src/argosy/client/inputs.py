"""Arrays, dicts, rows and data frames → the tensors a model takes, by the same rules as rows out of files."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from argosy.packaging.rows import fit
from argosy.packaging.table import Table, column, matrix
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import Array, Tensor, tensor


def to_tensors(x: Any, specs: Sequence[TensorSpec]) -> list[Tensor]:
    """`x` as the inputs `specs`, cast to their datatypes where no value changes by that.

    `x` is an array or nested list for the one input; a dict of input name or column → values; a list of such dicts, one
    a row; or a data frame. Columns go by name, so their order is free; None is NaN. Without specs (a server that
    declares nothing) names and datatypes follow `x`. Raises InvalidArgument.
    """
    table = _table(x, {spec.name for spec in specs})
    if specs:
        return fit(table, tuple(specs))
    return [tensor(name or "input-0", array) for name, array in table.arrays.items()]


def _table(x: Any, names: set[str]) -> Table:
    if isinstance(x, Mapping):
        return _columns(cast("Mapping[str, Any]", x), names)
    if hasattr(x, "columns") and hasattr(x, "to_numpy"):
        return _columns({str(name): x[name].to_numpy() for name in x.columns}, names)
    if isinstance(x, Sequence) and x and isinstance(x[0], Mapping):
        return _columns(_transposed(cast("Sequence[Mapping[str, Any]]", x)), names)
    return Table("matrix", {"": _array(x)})


def _columns(values: Mapping[str, Any], names: set[str]) -> Table:
    """`tensors` when every name is an input's, else a `frame`."""
    arrays = {name: _named(name, value) for name, value in values.items()}
    if len({len(array) for array in arrays.values() if array.ndim}) > 1:
        raise InvalidArgument("the columns differ in their number of rows")
    return Table("tensors" if set(arrays) <= names else "frame", arrays)


def _transposed(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = list(dict.fromkeys(str(name) for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def _named(name: str, value: Any) -> Array:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
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
