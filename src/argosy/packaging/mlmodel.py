"""What an MLflow model folder says besides its weights: the input example and the licence."""

from pathlib import Path
from typing import Any, cast

import msgspec

from argosy.packaging import table
from argosy.packaging.table import Table
from argosy.spec.errors import ArgosyError, BadPackage

EXAMPLES = ("serving_input_example.json", "input_example.json")
_MAX_BYTES = 64 * 1024 * 1024


def example(folder: Path) -> Table | None:
    """The input example as a table, from whichever of MLflow's JSON layouts it is in; None where there is none."""
    for name in EXAMPLES:
        path = folder / name
        if path.is_file() and path.stat().st_size <= _MAX_BYTES:
            try:
                return _table(msgspec.json.decode(path.read_bytes()), name)
            except (msgspec.DecodeError, ArgosyError) as error:
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
    import yaml

    try:
        content = yaml.safe_load((folder / "MLmodel").read_bytes())
        return str(content["metadata"]["license"])[:200]
    except (yaml.YAMLError, OSError, KeyError, TypeError):
        return ""
