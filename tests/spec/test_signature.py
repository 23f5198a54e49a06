import numpy as np
import pytest

from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Signature, TensorSpec, check_inputs
from argosy.spec.tensor import tensor

SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="x", datatype="FP32", shape=(-1, 2)),
        TensorSpec(name="y", datatype="INT64", shape=(-1,), optional=True),
    ),
    outputs=(TensorSpec(name="z", datatype="FP32", shape=(-1,)),),
)
X = tensor("x", np.zeros((3, 2), "f4"))


def test_good():
    check_inputs(SIGNATURE, [X])
    check_inputs(SIGNATURE, [X, tensor("y", np.zeros(3, "i8"))])


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([], "input 'x'.*is missing"),
        ([X, X], "given twice"),
        ([X, tensor("q", np.zeros(3))], "unknown input 'q'"),
        ([tensor("x", np.zeros((3, 2), "f8"))], "datatype FP64; the model takes FP32"),
        ([tensor("x", np.zeros((3, 3), "f4"))], r"shape \[3, 3\]; the model takes \[-1, 2\]"),
        ([tensor("x", np.zeros(3, "f4"))], r"shape \[3\]"),
        ([X, tensor("y", np.zeros(2, "i8"))], "differ in their number of rows"),
    ],
)
def test_bad(tensors, message):
    with pytest.raises(InvalidArgument, match=message):
        check_inputs(SIGNATURE, tensors)


def test_signature_refuses():
    with pytest.raises(InvalidArgument, match="none of BOOL"):
        TensorSpec(name="x", datatype="float", shape=(-1,))
    with pytest.raises(InvalidArgument, match="free first axis"):
        Signature(inputs=(TensorSpec(name="x", datatype="FP32", shape=(1,)),), outputs=())


def test_classes_are_as_many_as_columns() -> None:
    with pytest.raises(InvalidArgument, match="2 classes"):
        TensorSpec(name="probabilities", datatype="FP64", shape=(-1, 3), classes=("a", "b"))
    assert TensorSpec(name="label", datatype="INT64", shape=(-1,), classes=("a", "b")).classes == ("a", "b")
