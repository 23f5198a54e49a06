"""What an MLflow model folder says besides its weights: the input example and the licence."""

from pathlib import Path
from typing import Any, cast

import msgspec

from argosy.engines import mlflow_file
from argosy.packaging import table
from argosy.packaging.table import Table
from argosy.spec import foreign
from argosy.spec.errors import ArgosyError, BadPackage

EXAMPLES = ("serving_input_example.json", "input_example.json")
_MAX_BYTES = 64 * 1024 * 1024
_MAX_VALUES = 2_000_000


def example(folder: Path) -> Table | None:
    """The input example as a table, from whichever of MLflow's JSON layouts it is in; None where there is none."""
    for name in EXAMPLES:
        path = folder / name
        if path.is_file() and path.stat().st_size <= _MAX_BYTES:
            try:
                return _table(foreign.json(path.read_bytes(), name, limit=_MAX_BYTES, nodes=_MAX_VALUES), name)
            except (ArgosyError, TypeError, ValueError, RecursionError) as error:
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
        if "data" in content:
            return _table(content["data"], name)
    return table.read(msgspec.json.encode(value), ".json")


def licence(folder: Path) -> str:
    """The licence named in MLmodel's metadata; empty where none is."""
    try:
        metadata = mlflow_file.document(folder).metadata or {}
    except ArgosyError:
        return ""
    said = metadata.get("license", "")
    return said[:200] if isinstance(said, str) else ""
