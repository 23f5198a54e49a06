"""Which format a model file has, found from its content; its name is only ever repeated in messages."""

import ast
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from argosy.engines import onnx_file, wire
from argosy.engines.compressed import start
from argosy.packaging import content as looks
from argosy.spec.errors import BadPackage, InvalidArgument, NotFound, Unsupported


def classes(path: Path) -> list[str]:
    """Top-level classes of a Python file that define both `load` and `predict`, read without running it."""
    try:
        tree = ast.parse(path.read_bytes() if path.stat().st_size < 4 * 1024 * 1024 else b"")
    except (SyntaxError, ValueError, RecursionError):
        return []
    return [node.name for node in tree.body if isinstance(node, ast.ClassDef) and {"load", "predict"} <= _methods(node)]


def _methods(node: ast.ClassDef) -> set[str]:
    return {item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}


def files_with_class(folder: Path) -> list[str]:
    """`file.py:Class` for every such class in the top level of a folder."""
    files = sorted(child for child in folder.glob("*.py") if child.is_file() and not child.is_symlink())
    return [f"{file.name}:{name}" for file in files for name in classes(file)]


def class_of(path: Path) -> dict[str, str | int | float | bool]:
    """The engine's setting for the one class of a file. Raises InvalidArgument where there are several."""
    names = classes(path)
    if len(names) > 1:
        raise InvalidArgument(
            f"{path.name} has {len(names)} classes with load and predict ({', '.join(names)}); keep one"
        )
    return {"class": f"{path.stem}:{names[0]}"}


Format = Literal[
    "onnx",
    "skops",
    "joblib",
    "pickle",
    "xgboost-json",
    "xgboost-ubj",
    "lightgbm-text",
    "mlflow",
    "torch-export",
    "python",
]

ENGINE_OF: dict[Format, str] = {
    "onnx": "onnx",
    "skops": "sklearn",
    "joblib": "sklearn",
    "pickle": "sklearn",
    "xgboost-json": "xgboost",
    "xgboost-ubj": "xgboost",
    "lightgbm-text": "lightgbm",
    "mlflow": "mlflow",
    "torch-export": "torch",
    "python": "python",
}

_HEAD = 64 * 1024


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was recognised: its format, the engine that runs it, settings for that engine.

    `entry` is what the engine loads inside a folder; empty where it loads the path itself.
    """

    path: Path
    format: Format
    engine: str
    entry: str = ""
    settings: dict[str, str | int | float | bool] = {}

    @property
    def can_run_code(self) -> bool:
        """Whether loading this format can run code of the file's author."""
        return self.format in ("joblib", "pickle", "skops", "mlflow", "torch-export", "python")


class File:
    """The start and end of a file, opened once for all tests."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        with path.open("rb") as handle:
            self.head = handle.read(_HEAD)
            handle.seek(max(self.size - _HEAD, 0))
            self.tail = handle.read(_HEAD)
        self.plain = start(path, self.head, _HEAD)


def detect(path: Path, engine: str | None = None) -> Found:
    """The format of a file or folder. `engine` overrides the engine that the format would get.

    Raises NotFound, or BadPackage saying what the input looks like and what is accepted.
    """
    if not path.exists():
        raise NotFound(f"there is no file or folder {path}")
    found = _folder(path) if path.is_dir() else _file(path)
    return found if engine in (None, found.engine) else msgspec.structs.replace(found, engine=engine)


def _file(path: Path) -> Found:
    if not path.is_file():
        raise BadPackage(f"{path} is neither a file nor a folder")
    file = File(path)
    if not file.size:
        raise BadPackage(f"{path.name} is empty: 0 bytes")
    for kind, test in MAGIC.items():
        if test(file):
            if check := CHECKS.get(kind):
                check(file)
            return Found(
                path=path, format=kind, engine=ENGINE_OF[kind], settings=class_of(path) if kind == "python" else {}
            )
    inside = " (compressed)" if file.plain is not file.head else ""
    raise BadPackage(f"{path.name} looks like {_looks(file)}{inside}; Argosy accepts {looks.ACCEPTED}")


def _looks(file: File) -> str:
    if file.path.suffix == ".py":
        return "Python code without a class that has both load and predict"
    if zipfile.is_zipfile(file.path):
        return _zip_looks(file.path)
    if file.head.startswith(b"PK\x03\x04"):
        return "a zip archive that is cut off"
    return looks.like(file.plain, file.path.name)


def _zip_looks(path: Path) -> str:
    names = _zip_names(path)
    if any(name.endswith("data.pkl") for name in names):
        return "a torch.save file (weights or a pickled module): save the program with torch.export.save"
    if "config.json" in names and "model.weights.h5" in names:
        return "a Keras model: convert it to ONNX first"
    return f"a zip archive of {len(names)} files: unpack it first"


def _folder(path: Path) -> Found:
    if (path / "MLmodel").is_file():
        return Found(path=path, format="mlflow", engine="mlflow")
    if classes := files_with_class(path):
        if len(classes) > 1:
            raise BadPackage(
                f"{path.name} has {len(classes)} classes with load and predict ({', '.join(classes)}); keep one"
            )
        file = path / next(iter(classes)).partition(":")[0]
        return Found(path=path, format="python", engine="python", settings=class_of(file))
    inside = sorted(child.name for child in path.iterdir())
    models = [name for name in inside if _accepted(path / name)]
    if len(models) == 1 and _is_onnx(File(path / models[0])):
        return Found(path=path, format="onnx", engine="onnx", entry=models[0])
    hint = f"; push the file {models[0]} itself" if len(models) == 1 else ""
    listing = ", ".join(inside[:5]) + (", …" if len(inside) > 5 else "") or "nothing"
    raise BadPackage(
        f"{path.name} is a folder with {listing}{hint}; of folders Argosy accepts MLflow models and Python classes"
    )


def _accepted(path: Path) -> bool:
    try:
        return path.is_file() and not path.is_symlink() and bool(_file(path))
    except (BadPackage, Unsupported, OSError):
        return False


def _zip_names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []


def _is_onnx(file: File) -> bool:
    """onnx.ModelProto: a small ir_version (field 1) first, then another of its fields with the right wire type."""
    try:
        number, start = wire.varint(file.head, 0, len(file.head))
        version, start = wire.varint(file.head, start, len(file.head))
        following, _ = wire.varint(file.head, start, len(file.head))
    except BadPackage:
        return False
    return number == 8 and 1 <= version <= 100 and following in _MODEL_TAGS


_MODEL_TAGS = {5 << 3 | wire.VARINT, *(field << 3 | wire.BYTES for field in (2, 3, 4, 6, 7, 8, 14, 20, 25, 26))}


def is_skops(file: File) -> bool:
    """A zip archive with skops' schema."""
    return file.head.startswith(b"PK") and "schema.json" in _zip_names(file.path)


def _is_torch_export(file: File) -> bool:
    names = _zip_names(file.path) if file.head.startswith(b"PK") else []
    return any(name.rsplit("/", 1)[-1] in ("archive_format", "serialized_exported_program.json") for name in names)


def _is_joblib(file: File) -> bool:
    return is_pickle(file) and (b"joblib.numpy_pickle" in file.plain or file.plain is not file.head)


def is_pickle(file: File) -> bool:
    """Protocol 2 and later start with 0x80 and their number; the older are text opcodes that end with a full stop."""
    head = file.plain
    if len(head) > 2 and head[0] == 0x80:
        return 2 <= head[1] <= 5
    return bool(re.match(rb"\(?c[A-Za-z_][\w.]*\n[A-Za-z_]\w*\n|\([ld]p?\d*\n", head)) and file.tail.rstrip().endswith(
        b"."
    )


def _is_xgboost_json(file: File) -> bool:
    return (
        bool(re.match(rb'\s*\{\s*"(?:learner|version|Config)"\s*:', file.head))
        and b'"learner"' in file.head + file.tail
    )


def _is_xgboost_ubj(file: File) -> bool:
    return bool(re.match(rb"\{(?:L.{8}|l.{4}|I.{2}|[iU].)(?:learner|version|Config)", file.head, re.DOTALL))


def _is_lightgbm(file: File) -> bool:
    return bool(re.match(rb"tree\r?\nversion=v\d", file.head))


def _is_python(file: File) -> bool:
    return b"class " in file.head and bool(classes(file.path))


MAGIC: dict[Format, Callable[[File], bool]] = {
    "skops": is_skops,
    "torch-export": _is_torch_export,
    "joblib": _is_joblib,
    "pickle": is_pickle,
    "xgboost-json": _is_xgboost_json,
    "xgboost-ubj": _is_xgboost_ubj,
    "lightgbm-text": _is_lightgbm,
    "onnx": _is_onnx,
    "python": _is_python,
}


def _check_onnx(file: File) -> None:
    onnx_file.inspect(file.path)


def _check_braces(file: File) -> None:
    if not file.tail.rstrip().endswith(b"}"):
        raise BadPackage(f"{file.path.name} looks like an XGBoost model that is cut off: it does not end with a brace")


def _check_lightgbm(file: File) -> None:
    if b"end of trees" not in file.head + file.tail and not _contains(file.path, b"end of trees"):
        raise BadPackage(f"{file.path.name} looks like a LightGBM model that is cut off: 'end of trees' is missing")


def _check_stop(file: File) -> None:
    if file.plain is file.head and not file.tail.rstrip(b"\r\n").endswith(b"."):
        raise BadPackage(f"{file.path.name} looks like a pickle that is cut off: it does not end with the STOP opcode")


CHECKS: dict[Format, Callable[[File], None]] = {
    "onnx": _check_onnx,
    "xgboost-json": _check_braces,
    "xgboost-ubj": _check_braces,
    "lightgbm-text": _check_lightgbm,
    "joblib": _check_stop,
    "pickle": _check_stop,
}


def _contains(path: Path, needle: bytes) -> bool:
    with path.open("rb") as handle:
        before = b""
        while chunk := handle.read(1024 * 1024):
            if needle in before + chunk:
                return True
            before = chunk[-len(needle) :]
    return False
