"""Models for LiteRT: what onnx2tf makes is held against the golden examples."""

import os
import shutil
import sys

import pytest
from click.testing import CliRunner

from argosy.cli.main import argosy
from argosy.client.local import locate
from argosy.embedded.formats import tflite
from argosy.packaging.options import PushOptions
from argosy.spec.errors import GoldenMismatch, InvalidArgument, MissingExtra, Unsupported
from tests.embedded.nets.kit import TensorProto, helper, image_net, node, onnx, random, write

ONNX2TF = """#!/bin/sh
mkdir made && cp {model} made/model_float32.tflite
"""
PYTHON = """#!/bin/sh
PYTHONPATH={folder} exec {python} "$@"
"""
INTERPRETER = """
import onnxruntime

class Interpreter:
    def __init__(self, model_path):
        self.session, self.given = onnxruntime.InferenceSession(model_path), {}

    def get_input_details(self):
        return [{"name": each.name, "index": each.name} for each in self.session.get_inputs()]

    def get_output_details(self):
        return [{"name": each.name, "index": at} for at, each in enumerate(self.session.get_outputs())]

    def resize_tensor_input(self, index, shape): ...

    def allocate_tensors(self): ...

    def set_tensor(self, index, values):
        self.given[index] = values

    def invoke(self):
        self.found = self.session.run(None, self.given)

    def get_tensor(self, index):
        return self.found[index]
"""


@pytest.fixture
def dense(tmp_path):
    """A package, and its file."""
    path = write(tmp_path / "dense.onnx", [node("Gemm", ["x", "w"], ["y"])], [6], ["y"], {"w": random(6, 10)})
    located = locate(path)
    yield located.open()
    located.release()


@pytest.fixture
def converter(tmp_path, monkeypatch):
    """Stands for onnx2tf and the LiteRT beside it, which is onnxruntime here: it gives this file for every model."""

    def put(model):
        folder = tmp_path / "bin"
        (folder / "ai_edge_litert").mkdir(parents=True, exist_ok=True)
        (folder / "ai_edge_litert" / "interpreter.py").write_text(INTERPRETER)
        for name, text in (("onnx2tf", ONNX2TF), ("python", PYTHON)):
            (folder / name).write_text(text.format(model=model, folder=folder, python=sys.executable))
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return put


def test_what_answers_otherwise_or_has_other_names_is_not_given_away(dense, converter, tmp_path):
    converter("model.onnx")
    assert tflite(dense, "net:1")["model.tflite"] == dense.weights.read_bytes()
    for name, output, bound, said in (
        ("other", "y", random(6, 10, seed=1), r"net:1 as \.tflite: output 'y'"),
        ("named", "z", random(6, 10), "it has no output 'y'"),
    ):
        path = write(tmp_path / f"{name}.onnx", [node("Gemm", ["x", "w"], [output])], [6], [output], {"w": bound})
        converter(path)
        with pytest.raises(GoldenMismatch, match=said):
            tflite(dense, "net:1")
    converter("nothing")
    with pytest.raises(InvalidArgument, match="onnx2tf failed"):
        tflite(dense, "net:1")


def test_the_converter_is_asked_for_and_texts_are_refused(dense, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtra, match=r"needs onnx2tf.*pipx install"):
        tflite(dense, "net:1")
    label = node("LabelEncoder", ["t"], ["u"], domain="ai.onnx.ml", keys_strings=["a"], values_int64s=[1])
    text = helper.make_tensor_value_info("t", TensorProto.STRING, ["N"])
    number = helper.make_tensor_value_info("u", TensorProto.INT64, ["N"])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    graph = helper.make_graph([label], "texts", [text], [number])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "texts.onnx")
    located = locate(tmp_path / "texts.onnx", PushOptions())
    try:
        with pytest.raises(Unsupported, match="'t' holds texts"):
            tflite(located.open(), "texts:1")
    finally:
        located.release()


@pytest.mark.slow
def test_networks_of_images_and_numbers_become_tflite(tmp_path, monkeypatch):
    program = shutil.which(os.environ.get("ONNX2TF", "onnx2tf"))
    if program is None:
        pytest.skip("onnx2tf is not installed: pipx install --python python3.12 onnx2tf, or name it by ONNX2TF")
    monkeypatch.setenv("PATH", f"{os.path.dirname(program)}:{os.environ['PATH']}")
    dense = [node("Gemm", ["x", "w"], ["a"]), node("Softmax", ["a"], ["y"])]
    write(tmp_path / "dense.onnx", dense, [6], ["y"], {"w": random(6, 10)})
    image_net(tmp_path / "images.onnx")
    for name in ("dense", "images"):
        command = ["export", "tflite", str(tmp_path / f"{name}.onnx"), "-o", str(tmp_path / name)]
        ran = CliRunner().invoke(argosy, command)
        assert ran.exit_code == 0, ran.output
        assert (tmp_path / name / "model.tflite").read_bytes()[4:8] == b"TFL3"
