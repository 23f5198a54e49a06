"""The MLmodel file of an MLflow model folder: what the model takes and gives, and what may be loaded without trust.

MLflow itself imports the module, makes the class and calls the method that the folder names, and adds its code to
sys.path. Whatever is not in the lists below is an objection.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

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


class Flavour(msgspec.Struct, frozen=True):
    """A loader module of MLflow that we stand in for: its section of MLmodel, the keys there, the key that names the
    file, the classes it may name (the first where it names none; none: the file itself says), the methods."""

    name: str
    keys: frozenset[str]
    file: str
    classes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("predict",)


_XGB = ("Model", "Classifier", "Regressor", "Ranker", "RFClassifier", "RFRegressor")
_LGBM = ("Model", "Classifier", "Regressor", "Ranker")
FLAVOURS = {
    "mlflow.sklearn": Flavour(
        "sklearn",
        frozenset({"pickled_model", "sklearn_version", "serialization_format", "skops_trusted_types"}),
        "pickled_model",
        methods=("predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba"),
    ),
    "mlflow.xgboost": Flavour(
        "xgboost",
        frozenset({"data", "model_class", "model_format", "xgb_version"}),
        "data",
        ("xgboost.core.Booster", *(f"xgboost.sklearn.XGB{name}" for name in _XGB)),
    ),
    "mlflow.lightgbm": Flavour(
        "lightgbm",
        frozenset({"data", "model_class", "lgb_version", "serialization_format", "skops_trusted_types"}),
        "data",
        ("lightgbm.basic.Booster", *(f"lightgbm.sklearn.LGBM{name}" for name in _LGBM)),
    ),
    "mlflow.onnx": Flavour("onnx", frozenset({"data", "onnx_version", "providers", "onnx_session_options"}), "data"),
}
"""By loader module. `mlflow.pyfunc.model`, code of the user's, and all others are loaded by MLflow, with trust only."""

_PYFUNC = frozenset({"loader_module", "python_version", "env", "data", "model_path", "predict_fn"})
_IDLE = frozenset({"code", "config", "streamable"})
"""Keys that say nothing while they are empty."""

_SESSION = frozenset({"inter_op_num_threads", "intra_op_num_threads", "execution_mode", "graph_optimization_level"})


class Weights(msgspec.Struct, frozen=True):
    """What is loaded without trust: how, which file of the folder, as which class, answering by which method."""

    loader: str
    file: str
    model_class: str
    method: str


class Sides(msgspec.Struct, frozen=True):
    """MLflow's signature: the sides as texts of JSON."""

    inputs: str | None = None
    outputs: str | None = None
    params: str | None = None


class Document(msgspec.Struct, frozen=True):
    """What is read of an MLmodel."""

    flavors: dict[str, dict[str, Any]] = {}
    signature: Sides | None = None
    metadata: dict[str, Any] | None = None


class _TensorType(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]


class _Input(msgspec.Struct, frozen=True):
    type: str
    name: str | None = None
    required: bool = True
    tensor: _TensorType | None = msgspec.field(default=None, name="tensor-spec")


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
    about = document(folder)
    loader = about.flavors.get("python_function", {}).get("loader_module")
    if not isinstance(loader, str):
        raise BadPackage(f"{folder.name}: its MLmodel has no python_function flavour, so nothing can load it")
    found, objections = weights(folder, about.flavors)
    sides: dict[str, str | None] = msgspec.structs.asdict(about.signature or Sides())
    signature = {side: text for side, text in sides.items() if text is not None}
    values = {side: _json(folder, text) for side, text in signature.items()}
    entries, inputs, columns = list[_Input](), None, dict[str, str]()
    if "inputs" in values:
        try:
            entries = msgspec.convert(values["inputs"], list[_Input])
        except msgspec.ValidationError as error:
            raise BadPackage(f"{folder.name}: the signature in its MLmodel is no list of inputs: {error}") from None
        inputs, columns = _inputs(entries)
    return MlModel(
        loader=loader,
        weights=found,
        objections=objections,
        inputs=inputs,
        columns=columns,
        unnamed=bool(entries) and not columns and entries[0].name is None,
        signature=signature,
    )


def document(folder: Path) -> Document:
    """What MLmodel says. Raises BadPackage for a folder without a sound one."""
    file = folder / "MLmodel"
    if not folder.is_dir() or file.is_symlink() or not file.is_file():
        raise BadPackage(f"{folder.name} is no MLflow model: a folder with a file MLmodel was expected")
    with file.open("rb") as handle:
        data = handle.read(min(file.stat().st_size, MAX_BYTES) + 1)
    try:
        return msgspec.convert(foreign.document(data, f"{folder.name}: its MLmodel", limit=MAX_BYTES), Document)
    except InvalidArgument as error:
        raise BadPackage(error.message) from None
    except msgspec.ValidationError as error:
        raise BadPackage(f"{folder.name}: its MLmodel is empty, or has no sound python_function: {error}") from None


def _json(folder: Path, text: str) -> Any:
    try:
        return foreign.json(text, f"{folder.name}: the signature in its MLmodel", limit=MAX_BYTES)
    except InvalidArgument as error:
        raise BadPackage(error.message) from None


def _inputs(entries: list[_Input]) -> tuple[tuple[TensorSpec, ...], dict[str, str]]:
    if not entries:
        raise BadPackage("the MLflow signature has no inputs")
    if all(entry.type == "tensor" for entry in entries):
        return tuple(_tensor(entry) for entry in entries), {}
    kinds = [entry.type for entry in entries]
    if unknown := [kind for kind in kinds if kind not in COLUMNS]:
        raise Unsupported(f"an MLflow input of type '{unknown[0]}' cannot be served; use columns or tensors")
    if any(entry.name is None for entry in entries):
        if len(set(kinds)) > 1 or COLUMNS[kinds[0]] == "BYTES":
            raise InvalidArgument("the MLflow signature has columns without names: log the model with a DataFrame")
        return (TensorSpec(name="x", datatype=COLUMNS[kinds[0]], shape=(-1, len(kinds)), nullable=True),), {}
    columns = {entry.name or "": entry.type for entry in entries}
    specs = tuple(
        TensorSpec(
            name=entry.name or "",
            datatype=COLUMNS[entry.type],
            shape=(-1,),
            nullable=entry.type in ("float", "double", "string"),
            optional=not entry.required,
        )
        for entry in entries
    )
    return specs, columns


def _tensor(entry: _Input) -> TensorSpec:
    try:
        dtype = np.dtype(entry.tensor.dtype if entry.tensor else "")
    except (TypeError, ValueError):
        raise BadPackage("a tensor in the MLflow signature has no dtype") from None
    shape = entry.tensor.shape if entry.tensor else ()
    return TensorSpec(name=entry.name or "x", datatype=datatype_of(np.empty(0, dtype)), shape=shape)


def weights(folder: Path, flavors: dict[str, dict[str, Any]]) -> tuple[Weights | None, tuple[str, ...]]:
    """What may be loaded without trust, or none and what is against it. Raises BadPackage for a path that leads out of
    the folder, which no trust changes."""
    pyfunc = flavors["python_function"]
    loader = str(pyfunc["loader_module"])
    known = FLAVOURS.get(loader)
    for section in flavors.values():
        for key in ("data", "model_path", "code", "pickled_model"):
            inside(folder, section.get(key))
    if known is None:
        return None, (f"loader_module {loader[:200]}",)
    own = flavors.get(known.name, {})
    method, model_class = pyfunc.get("predict_fn", "predict"), own.get("model_class", (*known.classes, "")[0])
    found = [f"flavour {name[:200]}" for name in flavors if name not in ("python_function", known.name)]
    for name, section, keys in (("python_function", pyfunc, _PYFUNC), (known.name, own, known.keys)):
        odd = [key for key in section if key not in keys and not (key in _IDLE and not section[key])]
        found += [f"{key[:100]} of {name}: {section[key]!s:.100}" for key in odd]
    found += [] if method in known.methods else [f"predict_fn {method!s:.200}"]
    found += [] if model_class in (known.classes or ("",)) else [f"model_class {model_class!s:.200}"]
    options: Any = own.get("onnx_session_options") or {}
    found += [] if isinstance(options, dict) and set(cast("Any", options)) <= _SESSION else ["onnx_session_options"]
    named = {str(name) for name in (own.get(known.file), pyfunc.get("model_path"), pyfunc.get("data")) if name}
    if len(named) != 1:
        found.append(f"{len(named)} model files" if named else "no model file")
    if found:
        return None, tuple(found)
    return Weights(loader, named.pop(), str(model_class), str(method)), ()


def inside(folder: Path, named: object) -> None:
    """Raise BadPackage for a path that an MLmodel names and that is absolute, or leads out of the folder."""
    for path in cast("list[object]", named) if isinstance(named, list) else [named]:
        if isinstance(path, str):
            odd = "\\" in path or "\0" in path or ".." in path.split("/") or path.startswith("/")
            if odd or not (folder / path).resolve().is_relative_to(folder.resolve()):
                raise BadPackage(f"{folder.name}: its MLmodel refers to '{path[:200]}', outside the folder")


def regular(folder: Path, path: str) -> Path:
    """The file of the folder under this path, reached through no symbolic link. Raises BadPackage."""
    inside(folder, path)
    at = folder
    for part in path.split("/"):
        at = at / part
        if at.is_symlink():
            raise BadPackage(f"{folder.name}: '{path[:200]}' is or goes through a symbolic link")
    if not at.is_file():
        raise BadPackage(f"{folder.name}: its MLmodel names '{path[:200]}', which is no file in it")
    return at


def every_file(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of the folder with their paths in it. Raises BadPackage for a link, or what is no regular file."""
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_symlink() or not (file.is_file() or file.is_dir()):
            raise BadPackage(f"{folder.name}: '{name[:200]}' is a symbolic link, or no regular file")
        if file.is_file():
            yield name, file
