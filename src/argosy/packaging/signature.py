"""The inputs of a model, from its sample; and whether sample and model fit."""

from argosy.packaging.table import Table, infer, missing
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import Array, datatype_of

MAX_COLUMNS = 10_000


def from_table(table: Table) -> tuple[TensorSpec, ...]:
    """Inputs that hold this sample.

    Columns of numbers become one tensor `x` of shape [-1, n] that names them; columns of several kinds become one
    tensor [-1] each; an array becomes `x`; tensors keep their names. Axis 0 is free.
    """
    table = infer(table)
    if len(table.arrays) > MAX_COLUMNS:
        raise InvalidArgument(f"the sample has {len(table.arrays)} columns; at most {MAX_COLUMNS} are taken")
    if table.kind == "frame" and is_numeric(table):
        return (_wide(table.arrays),)
    return tuple(_input(name or "x", array) for name, array in table.arrays.items())


def is_numeric(table: Table) -> bool:
    """Whether every column holds integers or floats, one in each row, so that they can lie side by side."""
    return all(array.dtype.kind in "iuf" and array.ndim == 1 for array in infer(table).arrays.values())


def needs_columns(table: Table) -> bool:
    """Whether the sample has named columns that no single tensor can hold."""
    return table.kind == "frame" and not is_numeric(table)


def _wide(arrays: dict[str, Array]) -> TensorSpec:
    single = all(array.dtype.kind == "f" and array.dtype.itemsize <= 4 for array in arrays.values())
    gaps = any(bool(missing(array).any()) for array in arrays.values())
    return TensorSpec(
        name="x",
        datatype="FP32" if single else "FP64",
        shape=(-1, len(arrays)),
        columns=tuple(arrays),
        nullable=gaps,
    )


def _input(name: str, array: Array) -> TensorSpec:
    datatype = datatype_of(array)
    return TensorSpec(
        name=name,
        datatype=datatype,
        shape=(-1, *array.shape[1:]),
        nullable=bool(missing(array).any()),
        semantic="categorical" if datatype == "BYTES" else "",
    )
