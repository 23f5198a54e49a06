"""What an MLflow model folder says besides its weights: the input example and the licence."""

import re
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from argosy.engines import mlflow_file
from argosy.packaging import table
from argosy.packaging.table import Table
from argosy.spec import foreign
from argosy.spec.errors import ArgosyError, BadPackage
from argosy.spec.tensor import Array

EXAMPLES = ("serving_input_example.json", "input_example.json")
_MAX_BYTES = 64 * 1024 * 1024
_MAX_VALUES = 2_000_000
_NO_NUMBER = re.compile(rb'("(?:[^"\\]|\\.)*+")|-?\b(?:NaN|Infinity)\b')
"""A text, or what Python writes for a number that JSON does not have."""

_SPARSE = {"data", "indices", "indptr", "shape"}


def example(folder: Path) -> Table | None:
    """The input example as a table, from whichever of MLflow's JSON layouts it is in; None where there is none. NaN is
    a missing value, a sparse matrix is read as a dense one."""
    for name in EXAMPLES:
        path = folder / name
        if path.is_file() and path.stat().st_size <= _MAX_BYTES:
            try:
                text = _NO_NUMBER.sub(lambda found: found[1] or b"null", path.read_bytes())
                return _table(foreign.json(text, name, limit=_MAX_BYTES, nodes=_MAX_VALUES), name)
            except (ArgosyError, TypeError, ValueError, IndexError, RecursionError) as error:
                raise BadPackage(f"{name} in the MLflow folder cannot be read: {error}") from None
    return None


def _table(value: Any, name: str) -> Table:
    if isinstance(value, dict):
        content = cast("dict[str, Any]", value)
        for key in ("dataframe_split", "inputs", "dataframe_records", "instances"):
            if key in content:
                return _table(content[key], name)
        if {"columns", "data"} <= set(content):
            rows = [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
            return _table(rows, name)
        if set(content) == _SPARSE:
            return Table("matrix", {"": _dense(content)})
        if "data" in content:
            return _table(content["data"], name)
        if not any(isinstance(each, list | dict) for each in content.values()):
            value = [content]
    return table.read(msgspec.json.encode(value), ".json")


def _dense(sparse: dict[str, Any]) -> Array:
    """A matrix in compressed rows, or columns where there are as many starts as columns have. Raises ValueError,
    TypeError, IndexError for numbers that do not fit together."""
    height, width = (int(axis) for axis in sparse["shape"])
    if not 0 <= height * width <= _MAX_VALUES:
        raise ValueError(f"a matrix of {height} x {width} values is too large for an example")
    values, inner, starts = (np.array(sparse[key]) for key in ("data", "indices", "indptr"))
    rows = len(starts) == height + 1
    outer = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    dense = np.zeros((height, width), values.dtype)
    dense[(outer, inner) if rows else (inner, outer)] = values
    return dense


def licence(folder: Path) -> str:
    """The licence named in MLmodel's metadata; empty where none is."""
    try:
        metadata = mlflow_file.document(folder).metadata or {}
    except ArgosyError:
        return ""
    said = metadata.get("license", "")
    return said[:200] if isinstance(said, str) else ""
