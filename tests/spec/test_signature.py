import msgspec
import numpy as np
import pytest

from argosy.spec.errors import InvalidArgument
from argosy.spec.matching import check_domains
from argosy.spec.signature import Domain, Signature, TensorSpec, check_inputs
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


def test_a_model_file_is_the_same_to_the_byte_where_nothing_is_on_request() -> None:
    """Its digest is that of earlier versions, which open it."""
    assert msgspec.json.encode(Signature(inputs=(), outputs=())) == b'{"inputs":[],"outputs":[],"batched":true}'


def test_classes_are_as_many_as_columns() -> None:
    with pytest.raises(InvalidArgument, match="2 classes"):
        TensorSpec(name="probabilities", datatype="FP64", shape=(-1, 3), classes=("a", "b"))
    assert TensorSpec(name="label", datatype="INT64", shape=(-1,), classes=("a", "b")).classes == ("a", "b")


DOMAIN = Domain(gaps=(True, False), limits=(None, 10.0))
BOUNDED = TensorSpec(name="x", datatype="FP64", shape=(-1, 2), columns=("a", "b"), domain=DOMAIN)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1.0, np.nan], r"input 'x', row 1, column 'b': a value is missing"),
        ([1.0, 10.5], r"input 'x', row 1, column 'b': 10.5 is too large: the model takes finite numbers up to 10"),
        ([1.0, -np.inf], r"column 'b': -inf is too large"),
    ],
)
def test_what_is_outside_a_domain_is_refused_by_row_and_column(row, message):
    with pytest.raises(InvalidArgument, match=message):
        check_domains([(BOUNDED, DOMAIN.safe)], {"x": np.array([[1.0, 2.0], row])})


def test_what_is_inside_a_domain_is_taken():
    for row in ([np.nan, 10.0], [np.inf, -10.0], [1e300, 0.0]):
        check_domains([(BOUNDED, DOMAIN.safe)], {"x": np.array([row])})


def test_categories_that_a_domain_does_not_have_are_refused():
    domain = Domain(gaps=(False,), categories=("Oslo", "São Paulo"))
    spec = TensorSpec(name="city", datatype="BYTES", shape=(-1,), domain=domain)
    known = np.array([b"Oslo", "São Paulo".encode()], dtype=object)
    check_domains([(spec, domain.safe)], {"city": known})
    for value, message in ((b"oslo", "'oslo' is no category that the model knows"), (b"", "a value is missing")):
        with pytest.raises(InvalidArgument, match=f"input 'city', row 1: {message}"):
            check_domains([(spec, domain.safe)], {"city": np.array([known[0], value], dtype=object)})
