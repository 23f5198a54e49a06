"""What of an MLmodel may be followed without trust: which flavours, which of their keys, classes, methods and files.

Whatever is not in these lists is an objection. MLflow itself imports the module, makes the class and calls the method
that the folder names, and adds its code to sys.path.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec

from argosy.spec.errors import BadPackage


class Flavour(msgspec.Struct, frozen=True):
    """A loader module of MLflow that we stand in for: its section of MLmodel, the keys there, the key that names the
    file, the classes it may name (the first where it names none; none of them: the file itself says), the methods."""

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
    found += _keys("python_function", pyfunc, _PYFUNC) + _keys(known.name, own, known.keys)
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


def _keys(section: str, conf: dict[str, Any], known: frozenset[str]) -> list[str]:
    """Keys that nobody knows, and those that are empty where all is well."""
    return [
        f"{key[:100]} of {section}: {conf[key]!s:.100}"
        for key in conf
        if key not in known and not (key in _IDLE and not conf[key])
    ]


def inside(folder: Path, named: object) -> None:
    """Raise BadPackage for a path that an MLmodel names and that is absolute, or leads out of the folder."""
    for path in cast("list[object]", named) if isinstance(named, list) else [named]:
        if isinstance(path, str) and not _within(folder, path):
            raise BadPackage(f"{folder.name}: its MLmodel refers to '{path[:200]}', outside the folder")


def _within(folder: Path, path: str) -> bool:
    if "\\" in path or "\0" in path or ".." in path.split("/") or path.startswith("/"):
        return False
    return (folder / path).resolve().is_relative_to(folder.resolve())


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
