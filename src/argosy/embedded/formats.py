"""A model in the format of another runtime, where its golden examples hold there."""

import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from argosy.embedded.report import SECONDS, run
from argosy.engines import onnx_file
from argosy.engines.base import require
from argosy.packaging.golden import compare
from argosy.packaging.package import Package
from argosy.process.child import Child
from argosy.spec.errors import GoldenMismatch, MissingExtra, Unsupported
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


LITERT = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
given, model = np.load("golden.npz"), Interpreter(model_path="made/model_float32.tflite")
places = {each["name"]: each["index"] for each in model.get_input_details()}
found = []
for row in range(int(sys.argv[1])) or [None]:
    rows = {name: given[name] if row is None else given[name][row : row + 1] for name in given.files}
    for name, values in rows.items():
        model.resize_tensor_input(places[name], values.shape)
    model.allocate_tensors()
    for name, values in rows.items():
        model.set_tensor(places[name], values)
    model.invoke()
    found.append({each["name"]: model.get_tensor(each["index"]) for each in model.get_output_details()})
np.savez("answers.npz", **{name: np.concatenate([each[name] for each in found]) for name in found[0]})
"""
"""Replays golden rows, each alone: what is converted often takes one row only."""


def tflite(package: Package, model: str) -> dict[str, bytes]:
    """As LiteRT (TensorFlow Lite) has it, by the program onnx2tf, without TensorFlow; the golden examples are replayed
    by the LiteRT beside that. Raises MissingExtra, InvalidArgument for what onnx2tf cannot convert, GoldenMismatch."""
    data = onnx(package, model)["model.onnx"]
    signature = package.manifest.signature
    if texts := [each.name for each in (*signature.inputs, *signature.outputs) if each.datatype == "BYTES"]:
        raise Unsupported(f"'{texts[0]}' holds texts: LiteRT has numbers alone, so export the model without it")
    program = shutil.which("onnx2tf")
    if program is None:
        raise MissingExtra(
            "export tflite needs onnx2tf, which is not installed: run  pipx install --python python3.12 onnx2tf"
        )
    with tempfile.TemporaryDirectory(prefix="argosy-tflite-") as place:
        folder = Path(place)
        (folder / "model.onnx").write_bytes(data)
        given: Any = {each.name: each.array for each in package.golden_inputs()}
        np.savez(folder / "golden.npz", **given)
        kept = ["-kat", *(spec.name for spec in signature.inputs)]  # else it turns NCHW around
        run([program, "-i", "model.onnx", "-o", "made", "-tb", "flatbuffer_direct", "-n", *kept], "onnx2tf", folder)
        rows = str(len(package.golden_inputs()[0].array) if signature.batched else 0)
        run([str(Path(program).resolve().with_name("python")), "-c", LITERT, rows], f"{model} in LiteRT", folder)
        wanted, found = package.golden_outputs(), np.load(folder / "answers.npz")
        if lost := [each.name for each in wanted if each.name not in found]:
            raise GoldenMismatch(f"{model} as .tflite: it has no output '{lost[0]}'")
        compare(wanted, [found[each.name] for each in wanted], package.manifest.tolerance, f"{model} as .tflite: ")
        return {"model.tflite": (folder / "made" / "model_float32.tflite").read_bytes()}


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
