import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from argosy.spec.errors import InvalidArgument
from argosy.spec.matching import WINDOW, cast_values, fit_inputs, fitting_shape
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import NUMPY, Tensor, tensor

NUMBERS = [name for name in NUMPY if name not in ("BYTES", "BF16")]
ROWS = np.arange(6, dtype="f4").reshape(3, 2)


def signature(*inputs):
    return Signature(inputs=inputs, outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1,)),))


ONE = signature(TensorSpec(name="x", datatype="FP32", shape=(-1, 2), columns=("age", "height")))
TWO = signature(
    TensorSpec(name="a", datatype="INT64", shape=(-1,)),
    TensorSpec(name="b", datatype="BYTES", shape=(-1, 1)),
    TensorSpec(name="c", datatype="FP64", shape=(-1,), optional=True),
)


def exact(value):
    """A value of numpy as a number of Python, which has no range and compares exactly; None for NaN."""
    return None if value != value else value.item()


@given(st.data())
def test_a_cast_gives_equal_values_or_is_refused(data):
    source, datatype = data.draw(st.sampled_from(NUMBERS)), data.draw(st.sampled_from(NUMBERS))
    array = data.draw(arrays.arrays(NUMPY[source], st.integers(1, 5)))
    before = [exact(value) for value in array]
    try:
        found = cast_values(array, datatype, "x")
    except InvalidArgument:
        assert any(not _has(value, datatype, source) for value in before), (array, datatype)
        return
    assert found.dtype == NUMPY[datatype]
    if (source, datatype) == ("FP64", "FP32"):
        assert (found == array.astype("f4")).all() or np.isnan(array).any()
        assert (np.isinf(found) == np.isinf(array)).all()
    else:
        assert [exact(value) for value in found] == before


def _has(value, datatype, source):
    """Whether a datatype has this number, by arithmetic of Python."""
    dtype = NUMPY[datatype]
    if dtype.kind == "f":
        if value is None or value in (float("inf"), float("-inf")):
            return True
        if (source, datatype) == ("FP64", "FP32"):
            return bool(np.isfinite(np.float64(value).astype("f4")))
        with np.errstate(over="ignore"):
            near = dtype.type(float(value))
        return bool(np.isfinite(near)) and near.item() == value
    if value is None or value in (float("inf"), float("-inf")) or value != int(value):
        return False
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return low <= value <= high


@pytest.mark.parametrize(
    ("array", "datatype", "message"),
    [
        (np.array([1, 2**24 + 1]), "FP32", "row 1: 16777217 is no FP32: send a float"),
        (np.array([2**63 - 1]), "FP64", "9223372036854775807 is no FP64"),
        (np.array([2**64 - 1], "u8"), "INT64", "is no INT64"),
        (np.array([-1]), "UINT64", "-1 is no UINT64"),
        (np.array([[1.0, 2.0], [3.0, 0.5]]), "INT64", "row 1: 0.5 is no INT64"),
        (np.array([1.0, np.nan]), "INT32", "row 1: a value is missing"),
        (np.array([1e39]), "FP32", "row 0: 1e.39 is out of the range of FP32"),
        (np.array([0.1], "f4"), "FP16", "is no FP16"),
        (np.array([2]), "BOOL", "2 is no BOOL"),
        (np.array(300), "UINT8", "row 0: 300 is no UINT8"),
    ],
)
def test_what_would_change_is_refused(array, datatype, message):
    with pytest.raises(InvalidArgument, match=message):
        cast_values(array, datatype, "input 'x'")


def test_the_row_of_a_large_array_is_named():
    array = np.zeros((WINDOW, 2))
    array[-1, 1] = 0.5
    with pytest.raises(InvalidArgument, match=f"row {WINDOW - 1}: 0.5"):
        cast_values(array, "INT32", "input 'x'")


@pytest.mark.parametrize(
    ("shape", "given", "wanted"),
    [
        ((-1,), (3, 1), (3,)),
        ((-1, 1), (3,), (3, 1)),
        ((-1, 1), (1,), (1, 1)),
        ((-1, 4), (4,), (1, 4)),
        ((-1, 3, 8, 8), (3, 8, 8), (1, 3, 8, 8)),
        ((-1,), (), (1,)),
        ((), (1,), ()),
        ((-1, 3), (2, 3), (2, 3)),
    ],
)
def test_shapes_that_fit(shape, given, wanted):
    assert fitting_shape(TensorSpec(name="x", datatype="FP32", shape=shape), "FP32", given) == wanted


@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [
        ((-1, -1), (4,), r"may mean \[1, 4\] or \[4, 1\]"),
        ((-1, 4), (5,), r"has shape \[5\]"),
        ((-1, 4), (2, 2, 4), r"has shape \[2, 2, 4\]"),
        ((-1,), (3, 2), r"has shape \[3, 2\]"),
    ],
)
def test_shapes_that_do_not(shape, given, message):
    with pytest.raises(InvalidArgument, match=message):
        fitting_shape(TensorSpec(name="x", datatype="FP32", shape=shape), "FP32", given)


def test_rows_of_a_table_are_never_one_row():
    with pytest.raises(InvalidArgument, match=r"has shape \[4\]"):
        fitting_shape(TensorSpec(name="x", datatype="FP32", shape=(-1, 4)), "FP32", (4,), row=False)


def test_columns_may_have_the_name_of_the_input():
    known = signature(TensorSpec(name="x", datatype="FP32", shape=(-1, 2), columns=("x", "y")))
    (found,) = fit_inputs(known, [tensor("y", ROWS[:, 1]), tensor("x", ROWS[:, 0])])
    np.testing.assert_array_equal(found.array, ROWS)


@pytest.mark.parametrize(
    "tensors",
    [
        [tensor("x", ROWS)],
        [tensor("input-0", ROWS)],
        [tensor("x", ROWS.astype("f8"))],
        [tensor("x", ROWS.astype("i4"))],
        [tensor("x", ROWS.astype("u1"))],
        [tensor("height", ROWS[:, 1]), tensor("age", ROWS[:, 0].astype("i8"))],
        [tensor("height", ROWS[:, 1:]), tensor("age", ROWS[:, :1])],
    ],
    ids=["as it is", "another name", "FP64", "INT32", "UINT8", "columns", "columns of an axis more"],
)
def test_one_input(tensors):
    (found,) = fit_inputs(ONE, tensors)
    assert (found.name, found.datatype) == ("x", "FP32")
    np.testing.assert_array_equal(found.array, ROWS)
    assert found.array.dtype == "f4"


def test_several_inputs_go_by_name():
    words = tensor("b", np.array([b"u", b"v"], object))
    found = fit_inputs(TWO, [words, tensor("a", np.array([[1.0], [2.0]]))])
    assert {one.name: (one.datatype, one.shape) for one in found} == {"a": ("INT64", (2,)), "b": ("BYTES", (2, 1))}
    assert [one.name for one in fit_inputs(TWO, [words, tensor("a", np.array([1, 2])), tensor("c", np.array([1, 2]))])]


@pytest.mark.parametrize(
    ("known", "tensors", "message"),
    [
        (ONE, [], "input 'x'.*is missing"),
        (ONE, [tensor("p", ROWS), tensor("q", ROWS)], "unknown input 'p'"),
        (ONE, [tensor("x", ROWS), tensor("x", ROWS)], "given twice"),
        (ONE, [tensor("age", ROWS[:, 0]), tensor("age", ROWS[:, 0])], "given twice"),
        (ONE, [tensor("age", ROWS[:, 0]), tensor("weight", ROWS[:, 0])], "unknown input 'age'"),
        (ONE, [tensor("age", ROWS[:, 0]), tensor("height", ROWS[:2, 0])], "differ in their number of rows"),
        (ONE, [tensor("age", ROWS[:, 0])], r"has shape \[3\]"),
        (ONE, [tensor("x", np.array([["a", "b"]], object))], "datatype BYTES"),
        (ONE, [Tensor("x", "BF16", ROWS.astype("u2"))], "datatype BF16"),
        (TWO, [tensor("q", np.array([1]))], "unknown input 'q'"),
        (TWO, [tensor("a", np.array([1])), tensor("b", np.array([1]))], "input 'b' has datatype INT64"),
        (TWO, [tensor("a", np.array([1])), tensor("b", np.array(["u", "v"]))], "differ in their number of rows"),
    ],
)
def test_refused(known, tensors, message):
    with pytest.raises(InvalidArgument, match=message):
        fit_inputs(known, tensors)
