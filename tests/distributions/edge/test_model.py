"""A package on a device: what is loaded, what is refused, and that it is held to its golden examples and budget."""

import shutil

import numpy as np
import onnx
import onnxruntime
import pytest

from argosy.packaging.package import OUTPUTS
from argosy.protocol import tensorfile
from argosy.spec.tensor import Tensor
from argosy_edge import model, tensors
from argosy_edge.errors import AgentError, BadPackage, GoldenMismatch, InvalidArgument, OverBudget, Unsupported
from argosy_edge.wire import Budget
from tests.distributions.edge.packages import COLUMNS, ROWS, classifier, free, texts


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages") / "classifier"
    return folder, classifier(folder)


@pytest.fixture(scope="module")
def loaded(package):
    return model.load(*package, version="3")


def test_it_answers_as_its_golden_examples_say(loaded):
    found = loaded.selftest()
    assert (found.rows, found.difference) == (8, 0.0)
    assert found.milliseconds > 0
    inputs, outputs = loaded.golden()
    assert list(outputs) == ["label", "scores"]
    assert (loaded.answer(inputs)["label"] == outputs["label"]).all()


@pytest.mark.parametrize(
    "given", [ROWS[:2], {"x": ROWS[:2]}, [dict(zip(COLUMNS, row, strict=True)) for row in ROWS[:2].tolist()]]
)
def test_it_is_asked_in_process_with_arrays_or_rows(loaded, given):
    assert (loaded.predict(given)["label"] == loaded.answer({"x": ROWS[:2]})["label"]).all()


def test_one_row_needs_no_first_axis(loaded):
    assert loaded.predict(ROWS[0])["scores"].shape == (1, 3)
    assert list(loaded.predict(dict(zip(COLUMNS, ROWS[0], strict=True)), outputs=("label",))) == ["label"]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, r"input 'x' \(FP32 \[-1, 4\]\) is missing"),
        ({"x": ROWS, "y": ROWS}, "unknown input 'y'; the model takes x"),
        ({"x": ROWS.astype("f8")}, "'x' is of float64; the model takes FP32"),
        ({"x": ROWS[:, :3]}, r"shape \[8, 3\]; the model takes \[-1, 4\]"),
        ({"x": np.where(ROWS[1, 2] == ROWS, np.nan, ROWS)}, "row 1, column 'c': the model takes no missing value"),
        ({"x": ROWS * np.float32(1e9)}, "row 0, column 'a': the model takes no number as large as"),
    ],
    ids=["missing", "unknown", "datatype", "shape", "gap", "magnitude"],
)
def test_what_does_not_fit_the_signature_is_refused_by_name(loaded, inputs, said):
    with pytest.raises(InvalidArgument, match=said):
        loaded.answer(inputs)


def test_texts_go_in_and_out_under_the_names_of_the_signature(tmp_path):
    found = model.load(tmp_path / "t", texts(tmp_path / "t"))
    assert found.selftest().rows == 3
    assert found.predict(np.array(["ü", "x"]))["same"].tolist() == ["ü", "x"]
    for odd in (b"a\0b", b"\xff"):
        with pytest.raises(InvalidArgument, match="element 0"):
            found.answer({"text": np.array([odd], object)})


def test_a_model_of_free_shapes_takes_rows_of_any_width(tmp_path):
    found = model.load(tmp_path / "p", free(tmp_path / "p"))
    assert found.selftest().rows == 8
    for width in (0, 1, 7, 4000):
        assert (found.predict(np.ones((2, width), "f4"))["twice"] == np.full((2, width), 2)).all()


def test_a_model_of_a_newer_runtime_is_refused_naming_the_one_there_is(package, tmp_path):
    folder, manifest = package
    there = shutil.copytree(folder, tmp_path / "p")
    newer = onnx.load(there / "model.onnx")
    newer.opset_import[0].version = 999
    onnx.save(newer, there / "model.onnx")
    with pytest.raises(
        BadPackage, match=rf"onnxruntime {onnxruntime.__version__} cannot load model.onnx: ONNX Runtime only"
    ):
        model.load(there, manifest)


@pytest.mark.parametrize("engine", ["sklearn", "llamacpp"])
def test_a_package_of_another_engine_is_refused_by_name(package, engine):
    folder, manifest = package
    with pytest.raises(Unsupported, match=f"engine '{engine}'; devices run onnx alone"):
        model.load(folder, manifest | {"engine": engine})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": "../../model.onnx"}, "has no file '../../model.onnx'"),
        ({"weights": "golden/inputs.oip"}, "cannot load inputs.oip"),
        ({"signature": 7}, "the manifest is no model's"),
        ({"signature": {"inputs": [], "outputs": []}}, "no input or output"),
        (
            {"signature": {"inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 4]}],
                           "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1]}]}},
            "has the input 'x' of FP64; the model has 'x' of FP32",
        ),
        (
            {"signature": {"inputs": [{"name": "x", "datatype": "BF16", "shape": [-1, 4]}],
                           "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1]}]}},
            "'x' of model is BF16; on a device there are",
        ),
    ],
    ids=["outside", "no model", "no signature", "empty", "datatype", "bf16"],
)  # fmt: skip
def test_a_package_that_is_not_what_its_manifest_says_is_refused(package, change, said):
    folder, manifest = package
    with pytest.raises(BadPackage, match=said):
        model.load(folder, manifest | change)


def test_what_a_newer_platform_adds_to_a_manifest_is_passed_over(package):
    folder, manifest = package
    assert model.load(folder, manifest | {"colour": {"of": ["the", "sky"]}}).name == "model"


@pytest.mark.parametrize("whole", [True, False])
def test_a_model_that_answers_otherwise_is_refused_naming_the_value(tmp_path, whole):
    manifest = classifier(tmp_path / "p")
    recorded = tensorfile.read(tmp_path / "p" / OUTPUTS)
    scores = recorded[1].array.copy()
    scores[0, 2] += 0.1
    tensorfile.write(tmp_path / "p" / OUTPUTS, [recorded[0], Tensor("scores", "FP32", scores)])
    with pytest.raises(GoldenMismatch, match=r"output 'scores', \[0, 2\]: want .*, got .*; 1 of"):
        model.load(tmp_path / "p", manifest).selftest(whole=whole)


@pytest.mark.parametrize(
    ("budget", "said"), [(Budget(milliseconds=1e-9), "takes .* ms"), (Budget(memory=1), "takes .* bytes of memory")]
)
def test_a_model_over_its_budget_is_refused_with_both_numbers(package, budget, said, monkeypatch):
    sizes = iter((1_000_000, 9_000_000))
    monkeypatch.setattr(model, "resident", lambda: next(sizes))
    with pytest.raises(OverBudget, match=said):
        model.load(*package).selftest(budget)


@pytest.mark.parametrize("cut", [0, 5, 60, -1])
def test_golden_examples_that_are_damaged_are_refused(tmp_path, cut):
    manifest = classifier(tmp_path / "p")
    path = tmp_path / "p" / OUTPUTS
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BadPackage, match="is no file of tensors"):
        model.load(tmp_path / "p", manifest).selftest()
    path.unlink()
    with pytest.raises(BadPackage, match="cannot be read"):
        model.load(tmp_path / "p", manifest).selftest()


@pytest.mark.parametrize("datatype", tensors.NUMPY)
def test_every_datatype_survives_its_bytes(datatype):
    dtype = tensors.NUMPY[datatype]
    array = np.array([[b"a", b""], [b"\xff\0", b"z"]], object) if datatype == "BYTES" else np.eye(2).astype(dtype)
    data = tensors.to_bytes(array)
    assert (tensors.of_bytes("t", datatype, (2, 2), data) == array).all()
    for odd in (data[:-1], data + b"\0"):
        with pytest.raises(AgentError):
            tensors.of_bytes("t", datatype, (2, 2), odd)
