"""Tensors of a table → the texts and the pandas DataFrame that a model was trained on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from argosy.engines.base import require
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import Array


def frame(specs: Sequence[TensorSpec], inputs: Mapping[str, Array]) -> Any:
    """A DataFrame: one column for each input, or for each of its `columns`. BYTES are `str`; '' where nullable is NaN.

    Raises InvalidArgument for an input with several values a row and no names for them, or strings that are not UTF-8.
    """
    pd: Any = require("pandas", "sklearn", "a model trained on a DataFrame")
    if len(specs) == 1 and specs[0].columns and specs[0].datatype != "BYTES":
        return pd.DataFrame(inputs[specs[0].name], columns=list(specs[0].columns), copy=False)
    columns: dict[str, Array] = {}
    for spec in specs:
        if spec.name not in inputs:
            continue
        array = inputs[spec.name]
        if spec.datatype == "BYTES":
            array = strings(spec.name, array, nullable=spec.nullable)
        if spec.columns:
            columns.update({name: array[:, place] for place, name in enumerate(spec.columns)})
        else:
            columns[spec.name] = column(spec, array)
    return pd.DataFrame(columns)


def column(spec: TensorSpec, array: Array) -> Array:
    """A tensor of shape [rows] or [rows, 1] as [rows]."""
    if array.ndim == 1:
        return array
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    raise InvalidArgument(f"input '{spec.name}' of shape {list(array.shape)} is no column; use [-1] or [-1, 1]")


def strings(name: str, array: Array, *, nullable: bool = False, zeros: bool = True) -> Array:
    """BYTES → an object array of `str`, NaN for the empty string where the input is nullable. Raises InvalidArgument
    for what is not UTF-8, and for a zero byte unless `zeros` may be."""
    out = np.empty(array.shape, dtype=object)
    flat = out.reshape(-1)
    for place, value in enumerate(array.reshape(-1)):
        try:
            flat[place] = value.decode() if value or not nullable else np.nan
        except UnicodeDecodeError as error:
            raise InvalidArgument(f"input '{name}', element {place}: not UTF-8 ({error.reason})") from None
        if not zeros and b"\0" in value:
            raise InvalidArgument(f"input '{name}', element {place}: the model's strings cannot hold a zero byte")
    return out
