"""A model in the format of another runtime, where its golden examples hold there."""

import platform
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from argosy.embedded.report import SECONDS
from argosy.engines import onnx_file
from argosy.engines.base import require
from argosy.packaging.golden import compare
from argosy.packaging.package import Package
from argosy.process.child import Child
from argosy.spec.errors import Unsupported
from argosy.spec.tensor import Array, Tensor

MACHINES = {"x86_64": "amd64", "aarch64": "arm"}
"""What onnxruntime calls them: the layout of weights in its own format is that of one kind of machine."""


def onnx(package: Package, model: str) -> dict[str, bytes]:
    """The ONNX file that the package serves from. Raises Unsupported for another model."""
    manifest = package.manifest
    if manifest.engine != "onnx":
        why = f"it was not converted: {manifest.conversion.reason}"
        raise Unsupported(f"{model} is no ONNX model, but one of {manifest.engine}; {why}")
    if found := onnx_file.inspect(package.weights).files:
        raise Unsupported(f"{model} has its weights in {len(found)} files beside it: copy the package (argosy pull)")
    return {"model.onnx": package.weights.read_bytes()}


def ort(package: Package, model: str, machine: str) -> dict[str, bytes]:
    """In onnxruntime's own format, for a kind of machine ('amd64', 'arm'): sessions begin in half the time, and builds
    of onnxruntime that read nothing else are small. For this machine the golden examples are replayed. Raises
    GoldenMismatch, MissingExtra and what `onnx` does."""
    data = onnx(package, model)["model.onnx"]
    require("onnx", "onnx", "export ort")
    with tempfile.TemporaryDirectory(prefix="argosy-ort-") as place:
        folder = Path(place)
        (folder / "model.onnx").write_bytes(data)
        # Without the platform the blocked layout of convolutions is left out: magika then takes 1.7x the time.
        with Child(f"onnxruntime's converter on {model}", timeout=SECONDS) as child:  # it prints and leaves files open
            child.run("argosy.embedded.formats:convert", Conversion(folder=str(folder), machine=machine), bool)
        found = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".ort", ".config")}
    if MACHINES.get(platform.machine()) == machine:
        _replay(found["model.ort"], package, f"{model} as .ort: ")
    return found


def _replay(data: bytes, package: Package, what: str) -> None:
    """Hold a model that onnxruntime loads against the golden examples. Raises GoldenMismatch."""
    onnxruntime: Any = require("onnxruntime", "onnx", "the export")
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    wanted = package.golden_outputs()
    fed = {tensor.name: _values(tensor) for tensor in package.golden_inputs()}
    got = session.run([tensor.name for tensor in wanted], fed)
    plain = [
        np.char.encode(each.astype(str), "utf-8").astype(object) if each.dtype.kind in "OU" else each for each in got
    ]
    compare(wanted, plain, package.manifest.tolerance, what)


class Conversion(msgspec.Struct, frozen=True, kw_only=True):
    """The job of `convert`: a folder with ONNX files, and the kind of machine."""

    folder: str
    machine: str


def convert(job: Conversion) -> bool:
    """Write the `.ort` files of a folder; runs in a child."""
    converter: Any = require("onnxruntime.tools.convert_onnx_models_to_ort", "onnx", "export ort")
    styles = [converter.OptimizationStyle.Fixed]
    converter.convert_onnx_models_to_ort(
        Path(job.folder), None, styles, target_platform=job.machine, enable_type_reduction=True
    )
    return True


def _values(tensor: Tensor) -> Array:
    """As onnxruntime takes them: texts are str."""
    if tensor.array.dtype.kind != "O":
        return tensor.array
    texts = [each.decode() if isinstance(each, bytes) else each for each in tensor.array.ravel().tolist()]
    return np.array(texts, object).reshape(tensor.array.shape)


def gguf(package: Package, model: str) -> tuple[Path, ...]:
    """The GGUF files of a language model, to be copied. Raises Unsupported for another model."""
    language = package.manifest.language
    if language is None or package.manifest.engine != "llamacpp":
        raise Unsupported(f"{model} is no GGUF model, but one of {package.manifest.engine}")
    weights = package.weights
    return tuple(sorted(weights.rglob("*.gguf"))) if weights.is_dir() else (weights,)
