"""The licence of a model: what its user says, a file beside it, or what is written in it."""

from pathlib import Path

from argosy.engines import onnx_file
from argosy.packaging import mlmodel
from argosy.packaging.detect import Found

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
        head = " ".join(file.read_text("utf-8", errors="replace")[:400].lower().split())
        return next((spdx for words, spdx in _KNOWN.items() if words in head), "see LICENSE")
    if found.license:
        return next((spdx for spdx in _KNOWN.values() if spdx.lower() == found.license.lower()), found.license)
    if found.format == "mlflow":
        return mlmodel.licence(found.path)
    if found.format == "onnx":
        return onnx_file.inspect(found.path / found.entry).metadata.get("license", "")[:200]
    return ""
