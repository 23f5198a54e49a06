import numpy as np
import pytest

from argosy.packaging.prediction import prediction
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import TensorSpec
from argosy.spec.tensor import Tensor, tensor

LABEL = tensor("label", np.array([[b"a"], ["é".encode()]], object))
SCORES = tensor("probabilities", np.array([[0.25, 0.75], [1, 0]], "f4"))


def test_outputs_by_name_and_by_attribute():
    found = prediction([LABEL, SCORES])
    assert list(found) == ["label", "probabilities"]
    assert found.label.tolist() == found["label"].tolist() == [["a"], ["é"]]
    assert found.probabilities is SCORES.array
    with pytest.raises(AttributeError, match="no output 'prediction'; it gives label, probabilities"):
        _ = found.prediction


@pytest.mark.parametrize("dtype", ["i8", "i4", "?", "f8", "u1"])
def test_numbers_keep_their_type(dtype):
    assert prediction([tensor("label", np.array([0, 1], dtype))]).label.dtype == np.dtype(dtype)


def test_class_names_by_output():
    specs = [
        TensorSpec(name="label", datatype="BYTES", shape=(-1,)),
        TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 2), classes=("no", "yes")),
    ]
    assert prediction([LABEL, SCORES], specs).class_names == {"probabilities": ("no", "yes")}


def test_bytes_that_are_no_text_stay_bytes():
    image = Tensor("image", "BYTES", np.array([b"\xff\xfe"], object))
    assert prediction([image]).image.tolist() == [b"\xff\xfe"]


def test_numpy_takes_one_output_as_its_array():
    np.testing.assert_array_equal(prediction([SCORES]), SCORES.array)
    assert np.asarray(prediction([SCORES]), "f8").dtype == "f8"
    with pytest.raises(InvalidArgument, match="2 outputs: choose one of label, probabilities"):
        np.asarray(prediction([LABEL, SCORES]))
