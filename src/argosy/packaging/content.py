"""What a file that is no model looks like, for the error that refuses it."""

from collections.abc import Callable

ACCEPTED = (
    "ONNX, scikit-learn (skops, joblib or pickle), XGBoost (JSON or UBJSON), LightGBM text, "
    "MLflow model folders, torch.export programs (.pt2), and Python files with a class that has load and predict"
)

_PREFIXES: dict[bytes, str] = {
    b"\x89HDF\r\n": "an HDF5 file (Keras?): convert the model to ONNX first",
    b"GGUF": "a GGUF language model, which this version does not serve",
    b"CBM1": "a CatBoost model: save it with format='onnx'",
    b"binf": "an old binary XGBoost model: load it and save it again as .json or .ubj",
    b"ZF": "a joblib file older than 0.10: load it and dump it again",
    b"\x93NUMPY": "a numpy array, not a model; as sample rows it goes to --sample",
    b"PAR1": "a Parquet table, not a model; as sample rows it goes to --sample",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: run  git lfs pull",
    b"\x7fELF": "a program or shared library",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"7z\xbc\xaf": "a 7-Zip archive: unpack it first",
    b"\x04\x22\x4d\x18": "an LZ4-compressed file: compress with zlib, gzip, bz2 or xz, or not at all",
    b"\x28\xb5\x2f\xfd": "a zstd-compressed file: unpack it first",
}


def like(head: bytes, name: str = "") -> str:
    """A phrase for the first bytes of a file: `a PDF document`, `text starting with 'hello'`."""
    for prefix, what in _PREFIXES.items():
        if head.startswith(prefix):
            return what
    return next((what for test, what in _TESTS if test(head)), "") or _text(head) or f"unknown binary data{_said(name)}"


def _said(name: str) -> str:
    suffix = name.rsplit(".", 1)[-1] if "." in name else ""
    return f" (its name ends in .{suffix})" if suffix else ""


def _html(head: bytes) -> bool:
    start = head.lstrip()[:64].lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))


def _tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _tflite(head: bytes) -> bool:
    return head[4:8] == b"TFL3"


def _safetensors(head: bytes) -> bool:
    return len(head) > 9 and head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") < 2**32


def _zeros(head: bytes) -> bool:
    return len(head) >= 16 and not head.strip(b"\0")


_TESTS: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (_html, "an HTML page, perhaps the error page of a download that failed"),
    (_tar, "a tar archive: unpack it first"),
    (_tflite, "a TensorFlow Lite model: convert it to ONNX first"),
    (_safetensors, "a safetensors file, which holds weights without a model: export the model to ONNX or torch.export"),
    (_zeros, "nothing but zero bytes, perhaps a download that broke off"),
    (lambda head: head.lstrip()[:5] == b"<?xml", "an XML document"),
    (lambda head: head.lstrip()[:1] in (b"{", b"["), "JSON that is no XGBoost model"),
)


def _text(head: bytes) -> str:
    """`text starting with …` when nearly all of it can be read."""
    try:
        text = head[:400].decode()
    except UnicodeDecodeError as error:
        if error.start < len(head[:400]) - 4:
            return ""
        text = head[: error.start].decode()
    if not text or sum(c.isprintable() or c.isspace() for c in text) < len(text):
        return ""
    return f"text starting with {text.strip().splitlines()[0][:60]!r}" if text.strip() else "blank text"
