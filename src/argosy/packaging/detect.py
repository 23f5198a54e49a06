"""Which format a model file has, found from its content; its name is only ever repeated in messages."""

import ast
import mmap
import re
import zipfile
from pathlib import Path
from typing import Literal

import msgspec

from argosy.engines import onnx_file, wire
from argosy.engines.compressed import start
from argosy.packaging import conversions, encoder
from argosy.packaging.conversions import of_archive, of_folder, of_text
from argosy.packaging.language import folder, gguf
from argosy.spec.errors import BadPackage, InvalidArgument, NotFound, Unsupported
from argosy.spec.language import LanguageModel
from argosy.spec.package import LANGUAGE

ACCEPTED = (
    "ONNX, scikit-learn (skops, joblib or pickle), XGBoost (JSON or UBJSON), LightGBM text, CatBoost (cbm), "
    "MLflow model folders, torch.export programs (.pt2), Python files with a class that has load and predict, encoders "
    "(folders of sentence-transformers or of the BERT family), and language models (GGUF files, folders with "
    "safetensors, LoRA adapters)"
)

Format = Literal[
    "onnx",
    "skops",
    "joblib",
    "pickle",
    "xgboost-json",
    "xgboost-ubj",
    "lightgbm-text",
    "catboost",
    "mlflow",
    "torch-export",
    "python",
    "encoder",
    "gguf",
    "causal-lm",
    "lora",
]

ENGINE_OF: dict[Format, str] = {
    "onnx": "onnx",
    "skops": "sklearn",
    "joblib": "sklearn",
    "pickle": "sklearn",
    "xgboost-json": "xgboost",
    "xgboost-ubj": "xgboost",
    "lightgbm-text": "lightgbm",
    "catboost": "catboost",
    "mlflow": "mlflow",
    "torch-export": "torch",
    "python": "python",
    "encoder": "encoder",
    "gguf": "llamacpp",
    "causal-lm": "vllm",
    "lora": "vllm",
}

_HEAD = 64 * 1024
_MOST_CODE = 4 * 1024 * 1024

_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""What torch.save began with before it wrote zip archives: several pickles follow."""

_MARKS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89HDF\r\n", "keras_hdf5"),
    (0, b"binf", "an old binary XGBoost model: load it and save it again as .json or .ubj"),
    (0, b"ZF", "a joblib file older than 0.10: load it and dump it again"),
    (0, b"\x93NUMPY", "a numpy array, not a model; as sample rows it goes to --sample"),
    (0, b"PAR1", "a Parquet table, not a model; as sample rows it goes to --sample"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself: run  git lfs pull"),
    (0, b"\x7fELF", "a program or shared library"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive: unpack it first"),
    (0, b"\x04\x22\x4d\x18", "an LZ4-compressed file: compress with zlib, gzip, bz2 or xz, or not at all"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd-compressed file: unpack it first"),
    (257, b"ustar", "a tar archive: unpack it first"),
    (4, b"TFL3", "tflite"),
    *((0, mark, "tensor_rt") for mark in (b"ftrt", b"ptrt")),
    *((0, mark, "r_object") for mark in (b"RDX", b"X\n\0\0\0", b"RDA")),
    (0, _OLD_TORCH, "torch_weights"),
)
"""Where in a file that is no model which bytes are, and what it is then, or its kind of `conversions.toml`."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A model that was recognised: its format, the engine that runs it, settings for that engine. `entry` is what the
    engine loads inside a folder; empty where it loads the path itself. `beside`: the files with the external data of an
    ONNX file, or the other parts of a split GGUF file, as paths from its folder; of the folder of a language model, all
    that is taken. `language` is what is known of a language model, `templates` its chat templates."""

    path: Path
    format: Format
    engine: str
    entry: str = ""
    settings: dict[str, str | int | float | bool] = {}
    beside: tuple[str, ...] = ()
    language: LanguageModel | None = None
    templates: tuple[str, ...] = ()
    license: str = ""


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
    """The format of a file or folder. `engine` overrides the engine that the format would get. Raises NotFound, or
    BadPackage saying what the input looks like and what is accepted."""
    if not path.exists():
        raise NotFound(f"there is no file or folder {path}")
    found = _folder(path) if path.is_dir() else _file(path)
    if engine in LANGUAGE and found.language is None:
        raise InvalidArgument(f"the engine {engine} runs language models, and {path.name} is none ({found.format})")
    return found if engine in (None, found.engine) else msgspec.structs.replace(found, engine=engine)


def is_language(path: Path) -> bool:
    """Whether a file or folder is a language model, by its first look."""
    if path.is_dir():
        known = (path / folder.ADAPTER).is_file() or any(path.glob("*.gguf")) or folder.is_generator(path)
        return known and not (path / "MLmodel").is_file()
    if not path.is_file():
        return False
    with path.open("rb") as handle:
        return handle.read(4) == gguf.MAGIC


def _file(path: Path) -> Found:
    if not path.is_file():
        raise BadPackage(f"{path} is neither a file nor a folder")
    file = File(path)
    if not file.size:
        raise BadPackage(f"{path.name} is empty: 0 bytes")
    kind = format_of(file)
    if kind is None:
        inside = " (compressed)" if file.plain is not file.head else ""
        what = _described(file)
        accepts = "" if "argosy push" in what else f"{inside}; Argosy accepts {ACCEPTED}"
        raise BadPackage(f"{path.name} looks like {what}{accepts}")
    if kind == "gguf":
        return _gguf(path)
    _check_whole(file, kind)
    return Found(
        path=path,
        format=kind,
        engine=ENGINE_OF[kind],
        settings=_class_in(path, [path]) if kind == "python" else {},
        beside=onnx_file.inspect(path).files if kind == "onnx" else (),
    )


def _gguf(path: Path) -> Found:
    """A GGUF file, with the other files of the model that it is a part of. Raises BadPackage, Unsupported."""
    first, *others = gguf.shards(path)
    header = gguf.read_all([first, *others])
    facts = gguf.facts(header, path.name)
    return Found(
        path=first,
        format="lora" if facts.kind == "adapter" else "gguf",
        engine="llamacpp",
        beside=tuple(each.name for each in others),
        language=facts,
        templates=gguf.templates(header),
        license=header.text("general.license")[:80],
    )


def _language(path: Path) -> Found | None:
    """The folder of a language model; None for others."""
    if (path / folder.ADAPTER).is_file():
        kind, about = "lora", folder.adapter(path)[0]
    elif folder.is_generator(path):
        kind, about = "causal-lm", folder.generator(path)
    else:
        files = sorted(each for each in path.glob("*.gguf") if each.is_file())
        firsts = [
            each for each in files if not (match := gguf.SPLIT.fullmatch(each.name)) or match["number"] == "00001"
        ]
        if len(firsts) > 1:
            names = ", ".join(each.name for each in firsts[:5])
            raise BadPackage(f"{path.name} is a folder with {len(firsts)} GGUF models; push one of them: {names}")
        return _gguf(files[0]) if files else None
    return Found(
        path=path,
        format=kind,
        engine="vllm",
        beside=about.files,
        language=about.facts,
        templates=about.templates,
        license=about.license,
    )


def _folder(path: Path) -> Found:
    if (path / "MLmodel").is_file():
        return Found(path=path, format="mlflow", engine="mlflow")
    if encoder.recognise(path):
        return Found(path=path, format="encoder", engine="encoder")
    if found := _language(path):
        return found
    code = [file for file in sorted(path.glob("*.py")) if file.is_file() and not file.is_symlink() and _classes(file)]
    if code:
        return Found(path=path, format="python", engine="python", settings=_class_in(path, code))
    inside = sorted(child.name for child in path.iterdir())
    models = [name for name in inside if _accepted(path / name)]
    if len(models) == 1 and format_of(File(path / models[0])) == "onnx":
        return Found(path=path, format="onnx", engine="onnx", entry=models[0])
    if not models and (known := of_folder(path, inside)):
        raise BadPackage(f"{path.name} looks like {known}")
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


def _class_in(path: Path, files: list[Path]) -> dict[str, str | int | float | bool]:
    """The engine's setting for the one class of a file or folder. Raises InvalidArgument where there are several."""
    found = [(file, name) for file in files for name in _classes(file)]
    if len(found) > 1:
        names = ", ".join(f"{file.name}:{name}" for file, name in found)
        raise InvalidArgument(f"{path.name} has {len(found)} classes with load and predict ({names}); keep one")
    return {"class": f"{found[0][0].stem}:{found[0][1]}"}


def _classes(path: Path) -> list[str]:
    """Top-level classes of a Python file that define both `load` and `predict`, read without running it."""
    try:
        tree = ast.parse(path.read_bytes() if path.stat().st_size < _MOST_CODE else b"")
    except (SyntaxError, ValueError, RecursionError):
        return []
    found: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
            found += [node.name] if {"load", "predict"} <= methods else []
    return found


def format_of(file: File) -> Format | None:
    """The format of a file by its content; None for what is no model."""
    if file.head.startswith(gguf.MAGIC):
        return "gguf"
    if file.head.startswith(b"PK"):
        names = _zip_names(file.path)
        if "schema.json" in names:
            return "skops"
        if {name.rsplit("/", 1)[-1] for name in names} & {"archive_format", "serialized_exported_program.json"}:
            return "torch-export"
    if _is_pickle(file):
        return "joblib" if b"joblib.numpy_pickle" in file.plain or file.plain is not file.head else "pickle"
    if re.match(rb'\s*\{\s*"(?:learner|version|Config)"\s*:', file.head) and b'"learner"' in file.head + file.tail:
        return "xgboost-json"
    if re.match(rb"\{(?:L.{8}|l.{4}|I.{2}|[iU].)(?:learner|version|Config)", file.head, re.DOTALL):
        return "xgboost-ubj"
    if re.match(rb"tree\r?\nversion=v\d", file.head):
        return "lightgbm-text"
    if file.head.startswith(b"CBM1"):
        return "catboost"
    if _is_onnx(file.head):
        return "onnx"
    return "python" if b"class " in file.head and _classes(file.path) else None


def _zip_names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []


def _is_pickle(file: File) -> bool:
    """Protocol 2 and later start with 0x80 and their number; the older are text opcodes that end with a full stop."""
    head = file.plain
    if head.startswith(_OLD_TORCH):
        return False
    if len(head) > 2 and head[0] == 0x80:
        return 2 <= head[1] <= 5
    opcodes = re.match(rb"\(?c[A-Za-z_][\w.]*\n[A-Za-z_]\w*\n|\([ld]p?\d*\n", head)
    return bool(opcodes) and file.tail.rstrip().endswith(b".")


_MODEL_TAGS = {5 << 3 | wire.VARINT, *(field << 3 | wire.BYTES for field in (2, 3, 4, 6, 7, 8, 14, 20, 25, 26))}


def _is_onnx(head: bytes) -> bool:
    """onnx.ModelProto: a small ir_version (field 1) first, then another of its fields with the right wire type."""
    try:
        number, at = wire.varint(head, 0, len(head))
        version, at = wire.varint(head, at, len(head))
        following, _ = wire.varint(head, at, len(head))
    except BadPackage:
        return False
    return number == 8 and 1 <= version <= 100 and following in _MODEL_TAGS


def _check_whole(file: File, kind: Format) -> None:
    name = file.path.name
    if kind == "onnx":
        try:
            onnx_file.inspect(file.path)
        except BadPackage:  # other messages of protobuf begin alike
            if file.path.suffix == ".mlmodel":
                raise BadPackage(f"{name} looks like {conversions.said('core_ml', name)}") from None
            if name == "saved_model.pb":
                folder = file.path.absolute().parent.name
                raise BadPackage(f"{name} looks like {conversions.said('saved_model', folder)}") from None
            raise
    elif kind in ("xgboost-json", "xgboost-ubj") and not file.tail.rstrip().endswith(b"}"):
        raise BadPackage(f"{name} looks like an XGBoost model that is cut off: it does not end with a brace")
    elif kind == "lightgbm-text":
        with file.path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data.find(b"end of trees") < 0:
                raise BadPackage(f"{name} looks like a LightGBM model that is cut off: 'end of trees' is missing")
    elif kind in ("joblib", "pickle") and file.plain is file.head and not file.tail.rstrip(b"\r\n").endswith(b"."):
        raise BadPackage(f"{name} looks like a pickle that is cut off: it does not end with the STOP opcode")


def _described(file: File) -> str:
    """What a file that is no model looks like: `a PDF document`, `text starting with 'hello'`."""
    if file.path.suffix == ".py":
        return "Python code without a class that has both load and predict"
    if zipfile.is_zipfile(file.path):
        names = _zip_names(file.path)
        if known := of_archive(file.path, names):
            return known
        return f"a zip archive of {len(names)} files: unpack it first"
    if file.head.startswith(b"PK\x03\x04"):
        return "a zip archive that is cut off"
    for at, mark, what in _MARKS:
        if file.plain[at : at + len(mark)] == mark:
            return conversions.said(what, file.path.name) if what in conversions.KINDS else what
    suffix = f" (its name ends in {file.path.suffix})" if file.path.suffix else ""
    return _described_text(file.plain, file.path.name) or f"unknown binary data{suffix}"


def _described_text(head: bytes, name: str) -> str:
    begin = head.lstrip()[:64].lower()
    if begin.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page, perhaps the error page of a download that failed"
    if len(head) > 9 and head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") < 2**32:
        return conversions.said("safetensors", name)
    if len(head) >= 16 and not head.strip(b"\0"):
        return "nothing but zero bytes, perhaps a download that broke off"
    if begin.startswith((b"<?xml", b"<pmml")):
        roots = {b"<PMML": "pmml", b"<net ": "open_vino"}
        return next(
            (conversions.said(known, name) for root, known in roots.items() if root in head[:4096]), "an XML document"
        )
    if head[:1] == b"\n" and b"\x12\x0bPlaceholder" in head:
        return conversions.said("graph", name)
    if known := of_text(head.lstrip(), name):
        return known
    if begin.startswith((b"{", b"[")):
        return "JSON that is no XGBoost model"
    try:
        text = head[:400].decode()
    except UnicodeDecodeError as error:
        if error.start < len(head[:400]) - 4:
            return ""
        text = head[: error.start].decode()
    if not text or not all(letter.isprintable() or letter.isspace() for letter in text):
        return ""
    return f"text starting with {text.strip().splitlines()[0][:60]!r}" if text.strip() else "blank text"
