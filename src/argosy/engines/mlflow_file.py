"""The MLmodel file of an MLflow model folder: which flavour, what it takes and gives, what may be loaded of it."""

from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from argosy.engines.mlflow_rules import Weights, weights
from argosy.spec import foreign
from argosy.spec.errors import BadPackage, InvalidArgument, Unsupported
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import datatype_of

MAX_BYTES = 16 << 20

COLUMNS = {
    "boolean": "BOOL",
    "integer": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
    "binary": "BYTES",
    "datetime": "BYTES",
}
"""MLflow's column types → datatypes. A datetime is its ISO 8601 text."""


class MlModel(msgspec.Struct, frozen=True, kw_only=True):
    """`weights` is what may be loaded without trust; None where there are `objections` to that.

    `columns` are MLflow's own types by name where the signature is one of columns, else empty: tensors. `unnamed`: the
    one tensor has no name of its own, the model is given a bare array. `inputs` None: no signature. `signature` is
    MLflow's own, by side.
    """

    loader: str
    weights: Weights | None
    objections: tuple[str, ...]
    inputs: tuple[TensorSpec, ...] | None
    columns: dict[str, str]
    unnamed: bool
    signature: dict[str, str]


def read(folder: Path) -> MlModel:
    """Read `MLmodel`. Raises BadPackage for a folder without a sound one, Unsupported for types nobody can send."""
    conf = document(folder)
    flavors = {str(name): table(section) for name, section in table(conf.get("flavors")).items()}
    loader = flavors.get("python_function", {}).get("loader_module")
    if not isinstance(loader, str):
        raise BadPackage(f"{folder.name}: its MLmodel has no python_function flavour, so nothing can load it")
    found, objections = weights(folder, flavors)
    signature = _signature(folder, table(conf.get("signature")))
    entries = _entries(folder, signature["inputs"]) if "inputs" in signature else None
    inputs, columns = _inputs(entries) if entries is not None else (None, {})
    return MlModel(
        loader=loader,
        weights=found,
        objections=objections,
        inputs=inputs,
        columns=columns,
        unnamed=bool(entries) and not columns and "name" not in entries[0],
        signature=signature,
    )


def document(folder: Path) -> dict[str, Any]:
    """MLmodel as plain values. Raises BadPackage for a folder without a sound one."""
    file = folder / "MLmodel"
    if not folder.is_dir() or file.is_symlink() or not file.is_file():
        raise BadPackage(f"{folder.name} is no MLflow model: a folder with a file MLmodel was expected")
    with file.open("rb") as handle:
        data = handle.read(min(file.stat().st_size, MAX_BYTES) + 1)
    try:
        found = foreign.document(data, f"{folder.name}: its MLmodel", limit=MAX_BYTES)
    except InvalidArgument as error:
        raise BadPackage(error.message) from None
    if not isinstance(found, dict):
        raise BadPackage(f"{folder.name}: its MLmodel is empty or no mapping")
    return table(found)  # pyright: ignore[reportUnknownArgumentType]


def table(value: Any) -> dict[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _signature(folder: Path, said: dict[str, Any]) -> dict[str, str]:
    """The sides of the signature, which MLmodel holds as strings of JSON."""
    found = {side: said[side] for side in ("inputs", "outputs", "params") if said.get(side) is not None}
    for side, text in found.items():
        if not isinstance(text, str):
            raise BadPackage(f"{folder.name}: the {side} in its MLmodel are no text")
        _json(folder, text)
    return found


def _json(folder: Path, text: str) -> Any:
    try:
        return foreign.json(text, f"{folder.name}: the signature in its MLmodel", limit=MAX_BYTES)
    except InvalidArgument as error:
        raise BadPackage(error.message) from None


def _entries(folder: Path, text: str) -> list[dict[str, Any]]:
    """The signature's inputs."""
    entries = _json(folder, text)
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in cast("list[Any]", entries)):
        raise BadPackage(f"{folder.name}: the signature in its MLmodel is no list of inputs")
    return cast("list[dict[str, Any]]", entries)


def _inputs(entries: list[dict[str, Any]]) -> tuple[tuple[TensorSpec, ...], dict[str, str]]:
    if all(entry.get("type") == "tensor" for entry in entries):
        return tuple(_tensor(entry) for entry in entries), {}
    kinds = [str(entry.get("type")) for entry in entries]
    if unknown := [kind for kind in kinds if kind not in COLUMNS]:
        raise Unsupported(f"an MLflow input of type '{unknown[0]}' cannot be served; use columns or tensors")
    if not all(isinstance(entry.get("name"), str) for entry in entries):
        if len(set(kinds)) > 1 or COLUMNS[kinds[0]] == "BYTES":
            raise InvalidArgument("the MLflow signature has columns without names: log the model with a DataFrame")
        return (TensorSpec(name="x", datatype=COLUMNS[kinds[0]], shape=(-1, len(kinds)), nullable=True),), {}
    specs = tuple(
        TensorSpec(
            name=entry["name"],
            datatype=COLUMNS[kind],
            shape=(-1,),
            nullable=kind in ("float", "double", "string"),
            optional=entry.get("required") is False,
        )
        for entry, kind in zip(entries, kinds, strict=True)
    )
    return specs, {entry["name"]: kind for entry, kind in zip(entries, kinds, strict=True)}


def _tensor(entry: dict[str, Any]) -> TensorSpec:
    try:
        spec = entry["tensor-spec"]
        dtype = np.dtype(spec["dtype"])
        shape = tuple(int(axis) for axis in spec["shape"])
    except (KeyError, TypeError, ValueError):
        raise BadPackage("a tensor in the MLflow signature has no dtype or shape") from None
    return TensorSpec(name=entry.get("name", "x"), datatype=datatype_of(np.empty(0, dtype)), shape=shape)
