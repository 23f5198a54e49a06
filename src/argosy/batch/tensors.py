"""Columns of Arrow → arrays, without a copy where numpy has the type and nothing is missing."""

from typing import Any

import numpy as np

from argosy.batch.source.shape import arrow
from argosy.packaging.table import arrow_column
from argosy.spec.errors import InvalidArgument, Unsupported
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import Array


def read_as(kind: Any, guess: TensorSpec | None = None) -> Any:
    """The type in which a column is read: without dictionaries; of what is text, that which `guess` will take."""
    pa, types = arrow(), arrow().types
    if types.is_dictionary(kind):
        return kind.value_type
    if guess is None or types.is_struct(kind):
        return kind
    if types.is_list(kind):
        return pa.list_(read_as(kind.value_type, guess))
    if guess.datatype in ("FP32", "FP64", "FP16"):
        return pa.float64()
    if guess.datatype == "BYTES":
        return pa.string()
    if guess.datatype == "BOOL":
        return pa.bool_()
    return pa.uint64() if guess.datatype == "UINT64" else pa.int64()


def widens(kind: Any, to: Any) -> bool:
    """Whether values of a type can be read as another without loss; integers that do not fit are an error then."""
    types = arrow().types
    one, other = item_type(kind), item_type(to)
    if one is not None and other is not None:
        return widens(one, other) or one == other
    if types.is_integer(kind):
        return types.is_integer(to) or types.is_float64(to)
    if types.is_floating(kind):
        return types.is_floating(to) and to.bit_width >= kind.bit_width
    return (_is_text(kind) and _is_text(to)) or types.is_null(kind)


def check_type(name: str, kind: Any, spec: TensorSpec, *, whole: bool) -> None:
    """Raise Unsupported or InvalidArgument for a column that can never become the input, or a feature of it."""
    types = arrow().types
    leaf, depth = kind, 0
    while not types.is_dictionary(leaf) and (inner := item_type(leaf)) is not None:
        leaf, depth = inner, depth + 1
    leaf = leaf.value_type if types.is_dictionary(leaf) else leaf
    if types.is_temporal(leaf):
        raise Unsupported(f"column '{name}' contains times ({leaf}): turn it into numbers or strings first")
    text = _is_text(leaf) or (types.is_integer(leaf) and spec.semantic == "categorical")
    if not (text or types.is_primitive(leaf) or types.is_decimal(leaf) or types.is_null(leaf)):
        raise Unsupported(f"column '{name}' is of the Arrow type {kind}, which no model takes")
    if spec.datatype == "BF16":
        raise Unsupported(f"input '{spec.name}' is BF16, which no file format has: package the model with FP32 inputs")
    if spec.datatype == "BYTES" and not text and not types.is_null(leaf):
        raise InvalidArgument(f"column '{name}' contains numbers ({leaf}); the model takes strings")
    if depth and not whole:
        raise InvalidArgument(f"column '{name}' contains lists; feature '{name}' of '{spec.name}' is one value a row")


def item_type(kind: Any) -> Any:
    """The type of a list's values; None for what is no list."""
    pa = arrow()
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    nested = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return kind.value_type if nested else None


def _is_text(kind: Any) -> bool:
    types = arrow().types
    return (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_string_view(kind)
        or types.is_binary_view(kind)
    )


def array_of(column: Any, name: str, spec: TensorSpec) -> Array:
    """A column as an array, its lists as further axes; not yet of the datatype of the spec.

    A flat list becomes the axes of the spec where their lengths are fixed. Raises InvalidArgument for lists of
    differing lengths.
    """
    array = _array(column, name, spec)
    inner = spec.shape[1:]
    if array.ndim == 2 and len(inner) > 1 and -1 not in inner and array.shape[1] == np.prod(inner):
        return array.reshape(len(array), *inner)
    return array


def _array(column: Any, name: str, spec: TensorSpec) -> Array:
    pa = arrow()
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    if item_type(column.type) is not None:
        return _matrix(column, name, spec)
    if _is_text(column.type):
        if spec.datatype == "BYTES":
            return column.cast(pa.binary()).to_numpy(zero_copy_only=False)
        return column.cast(pa.string()).to_numpy(zero_copy_only=False).astype(object)
    if pa.types.is_null(column.type):
        return np.full(len(column), None, dtype=object)
    if not column.null_count and pa.types.is_primitive(column.type) and not pa.types.is_boolean(column.type):
        return column.to_numpy(zero_copy_only=True)
    return arrow_column(column, name, "the input")


def _matrix(column: Any, name: str, spec: TensorSpec) -> Array:
    """Lists of one length as rows of an array."""
    types = arrow().types
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise InvalidArgument(f"column '{name}', row {row}: the list is missing")
    if types.is_fixed_size_list(column.type):
        width = column.type.list_size
    else:
        sizes = np.diff(column.offsets.to_numpy())
        width = int(sizes[0]) if len(sizes) else 0
        if (odd := np.flatnonzero(sizes != width)).size:
            raise InvalidArgument(
                f"column '{name}', row {odd[0]}: a list of {sizes[odd[0]]}, where the rows before have {width}; rows "
                "that are answered together need one length"
            )
    inner = _array(column.flatten(), name, spec)
    return inner.reshape(len(column), width, *inner.shape[1:])
