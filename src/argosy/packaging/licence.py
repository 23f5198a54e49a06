"""The licence of a model: what the user says, a LICENSE file beside it, or what the format itself records."""

from pathlib import Path

from argosy.engines import wire
from argosy.packaging import mlmodel
from argosy.packaging.detect import Found
from argosy.spec.errors import BadPackage

NAMES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "COPYING")
_MAX_BYTES = 1024 * 1024

_KNOWN = {
    "apache license": "Apache-2.0",
    "mit license": "MIT",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 2-clause": "BSD-2-Clause",
    "mozilla public license version 2.0": "MPL-2.0",
    "gnu general public license": "GPL",
    "creative commons attribution 4.0": "CC-BY-4.0",
}


def file_beside(source: Path) -> Path | None:
    """The licence file in the folder of the model, or in the model that is a folder."""
    folder = source if source.is_dir() else source.parent
    paths = [folder / name for name in NAMES]
    return next((p for p in paths if p.is_file() and not p.is_symlink() and p.stat().st_size <= _MAX_BYTES), None)


def name_of(found: Found, file: Path | None, said: str) -> str:
    """The SPDX name where it can be told, the model's own words otherwise; empty where nothing says."""
    if said:
        return said
    if file is not None:
        head = file.read_text("utf-8", errors="replace")[:400].lower()
        return next((spdx for words, spdx in _KNOWN.items() if words in " ".join(head.split())), "see LICENSE")
    if found.format == "mlflow":
        return mlmodel.licence(found.path)
    return onnx_metadata(found.path / found.entry).get("license", "")[:200] if found.format == "onnx" else ""


def onnx_metadata(path: Path) -> dict[str, str]:
    """metadata_props (field 14 of onnx.ModelProto) as text."""
    import mmap

    found: dict[str, str] = {}
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            for prop in wire.fields(data, 0, len(data)):
                if prop.number == 14 and prop.wire == wire.BYTES:
                    pair = {field.number: wire.text(data, field) for field in wire.fields(data, prop.start, prop.end)}
                    found[pair.get(1, "")] = pair.get(2, "")
        except BadPackage:
            return {}
    return found
