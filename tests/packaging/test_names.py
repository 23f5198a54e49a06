"""Names of inputs and outputs: those of the push, else of the sample, else of the model."""

import contextlib

import msgspec
import numpy as np
import onnx
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from argosy.client.local import locate
from argosy.packaging.load import load
from argosy.packaging.options import PushOptions
from argosy.packaging.package import open_package
from argosy.protocol import rows
from argosy.protocol.rest import Response
from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import Tensor
from tests.packaging.conftest import pickled

X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 3.0], [3.0, 1.0]])
MODEL = LogisticRegression().fit(X, ["no", "no", "yes", "yes"])
WANTED = MODEL.predict(X).tolist()


@pytest.fixture
def built():
    """Make a package, and delete it at the end."""
    with contextlib.ExitStack() as stack:

        def make(path, **options):
            located = locate(path, PushOptions(**options))
            stack.callback(located.release)
            return open_package(located.folder, trusted=located.trusted)

        yield make


@pytest.fixture
def source(tmp_path):
    np.savez(tmp_path / "sample.npz", flower=X)
    return pickled(MODEL, tmp_path / "model.pkl")


def names(version):
    return [
        [spec.name for spec in side] for side in (version.manifest.signature.inputs, version.manifest.signature.outputs)
    ]


@pytest.mark.parametrize("convert", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_names_of_the_push(built, source, convert):
    sample = source.parent / "sample.npz"
    given = {"input_names": ("iris",), "output_names": ("kind", "chances"), "sample": sample, "convert": convert}
    version = built(source, **given)
    assert names(version) == [["iris"], ["kind", "chances"]]
    model = load(version)
    assert model.predict({"iris": X}).kind.tolist() == WANTED
    assert model.predict(X[0]).chances.shape == (1, 2)
    assert model.signature.outputs[1].classes == ("no", "yes")
    features = model.package.profile()
    assert {feature.tensor for feature in features.inputs} == {"iris"}
    assert {feature.tensor for feature in features.outputs} == {"kind", "chances"}


def test_names_of_the_sample_are_kept(built, source):
    version = built(source, sample=source.parent / "sample.npz")
    assert names(version) == [["flower"], ["label", "probabilities"]]
    assert load(version).predict({"flower": X}).label.tolist() == WANTED


KINDS = ("setosa", "versicolor", "virginica")


def graph(path, *, width):
    """An ONNX classifier without names of classes: the number of the largest of some columns, and the columns."""
    value = onnx.helper.make_tensor_value_info
    inputs = [value("x", onnx.TensorProto.FLOAT, ["N", 3])]
    outputs = [value("winner", onnx.TensorProto.INT64, ["N"]), value("logits", onnx.TensorProto.FLOAT, ["N", width])]
    nodes = [
        onnx.helper.make_node("ArgMax", ["x"], ["winner"], axis=1, keepdims=0),
        onnx.helper.make_node("Identity", ["x"], ["logits"]),
    ]
    made = onnx.helper.make_graph(nodes, "classifier", inputs, outputs)
    onnx.save(onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_a_name_for_each_is_needed(built, tmp_path):
    source = graph(tmp_path / "m.onnx", width=3)
    with pytest.raises(InvalidArgument, match=r"1 names for the 2 outputs of the model \(winner, logits\)"):
        built(source, output_names=("kind",))
    with pytest.raises(InvalidArgument, match="two outputs share a name"):
        built(source, output_names=("kind", "kind"))


@pytest.mark.parametrize("width", [3, "W"], ids=["declared", "free"])
def test_classes_of_the_push(built, tmp_path, width):
    version = built(graph(tmp_path / "m.onnx", width=width), classes=KINDS)
    assert [spec.classes for spec in version.manifest.signature.outputs] == [KINDS, KINDS]
    model = load(version)
    answer = model.predict(np.eye(3, dtype="f4"))
    assert answer.class_names == {"winner": KINDS, "logits": KINDS}
    tensors = [Tensor(spec.name, spec.datatype, answer[spec.name]) for spec in model.signature.outputs]
    body = rows.encode(Response("m", "1", tensors), model.signature)
    assert msgspec.json.decode(body) == {"predictions": [*KINDS]}


@pytest.mark.slow
def test_classes_take_the_place_of_numbers(built, tmp_path):
    source = pickled(LogisticRegression().fit(X, [0, 0, 1, 1]), tmp_path / "m.pkl")
    assert [spec.classes for spec in built(source, convert=False).manifest.signature.outputs] == [(), ("0", "1")]
    named = built(source, classes=("no", "yes")).manifest.signature.outputs
    assert [spec.classes for spec in named] == [("no", "yes")] * 2


@pytest.mark.parametrize(
    "targets",
    [[3, 3, 9, 9], pytest.param(["no", "no", "yes", "yes"], marks=pytest.mark.slow)],
    ids=["numbers", "texts"],
)
def test_labels_that_classes_do_not_number(built, tmp_path, targets):
    source = pickled(RidgeClassifier().fit(X, targets), tmp_path / "m.pkl")
    with pytest.raises(InvalidArgument, match=r"gives 3, which none of 2|2 classes are named; .* gives label BYTES"):
        built(source, classes=("a", "b"))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("a", "b"), "gives 2, which none of 2"),
        (("a", "b", "c", "d"), "4 classes are named; .* logits FP32"),
        ("aab", "twice"),
    ],
)
def test_classes_that_do_not_fit(built, tmp_path, classes, message):
    sample = tmp_path / "x.npy"
    np.save(sample, np.eye(3, dtype="f4"))
    with pytest.raises(InvalidArgument, match=message):
        built(graph(tmp_path / "m.onnx", width=3), classes=tuple(classes), sample=sample)
