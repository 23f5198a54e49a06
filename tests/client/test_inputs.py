import numpy as np
import pandas
import pytest

from argosy.packaging.rows import to_tensors
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import TensorSpec

TABLE = TensorSpec(name="x", datatype="FP32", shape=(-1, 2), columns=("a", "b"))
PLAIN = TensorSpec(name="x", datatype="FP32", shape=(-1, 2))
A = TensorSpec(name="a", datatype="INT64", shape=(-1, 1))
B = TensorSpec(name="b", datatype="BYTES", shape=(-1,))


@pytest.mark.parametrize(
    "x",
    [
        np.array([[1, 2], [3, 4]]),
        [[1, 2], [3, 4]],
        {"x": [[1, 2], [3, 4]]},
        {"b": [2, 4], "a": [1, 3]},
        [{"b": 2, "a": 1}, {"a": 3, "b": 4}],
        pandas.DataFrame({"b": [2, 4], "a": [1, 3]}),
    ],
)
def test_one_table(x):
    (found,) = to_tensors(x, [TABLE])
    assert (found.name, found.datatype) == ("x", "FP32")
    assert found.array.tolist() == [[1, 2], [3, 4]]


def test_none_is_nan():
    (found,) = to_tensors([{"a": None, "b": 1}], [TABLE])
    assert np.isnan(found.array[0, 0])
    (found,) = to_tensors([[None, 1]], [PLAIN])
    assert np.isnan(found.array[0, 0])


@pytest.mark.parametrize(
    "x", [pandas.DataFrame({"a": [1, 2], "b": ["u", "v"]}), {"a": [[1], [2]], "b": ["u", "v"]}, [[1, "u"], [2, "v"]]]
)
def test_one_input_a_column(x):
    if isinstance(x, list):
        x = np.array(x, dtype=object)
    a, b = to_tensors(x, [A, B])
    assert a.array.tolist() == [[1], [2]]
    assert b.array.tolist() == [b"u", b"v"]


def test_nothing_declared():
    assert to_tensors([[1.0]], [])[0].name == "input-0"
    assert to_tensors({"q": [1]}, [])[0].name == "q"


@pytest.mark.parametrize(
    ("x", "specs", "message"),
    [
        ({"a": [1]}, [TABLE], "lack the columns 'b'"),
        ({"a": [1], "b": [1], "c": [1]}, [TABLE], "does not know the column 'c'"),
        ({"a": [1], "b": [1, 2]}, [TABLE], "differ in their number of rows"),
        ({"q": [1]}, [PLAIN], "have 1 columns"),
        ([[1, 2], [3]], [PLAIN], "ragged"),
        ([["u", "v"]], [PLAIN], "is no number"),
        ([[1.5]], [A], "is no INT64"),
        ([[2**63]], [A], "is no INT64"),
        ([[300]], [TensorSpec(name="x", datatype="UINT8", shape=(-1, 1))], "is no UINT8"),
        (np.zeros((2, 3)), [A, B], "cannot be 2 inputs"),
    ],
)
def test_refuses(x, specs, message):
    with pytest.raises(InvalidArgument, match=message):
        to_tensors(x, specs)


def test_extremes_survive():
    (found,) = to_tensors([[-(2**63)], [2**63 - 1]], [A])
    assert found.array.tolist() == [[-(2**63)], [2**63 - 1]]


@pytest.mark.parametrize(
    "x",
    [
        {"a": 1, "b": 2},
        {"b": 2.0, "a": np.int64(1)},
        [1, 2],
        np.array([1.0, 2.0]),
        {"x": [1, 2]},
        pandas.Series({"b": 2, "a": 1}),
        pandas.DataFrame({"b": [2], "a": [1]}).iloc[0],
    ],
    ids=repr,
)
def test_one_row(x):
    (found,) = to_tensors(x, [TABLE])
    assert found.array.tolist() == [[1, 2]]


def test_one_row_of_several_inputs():
    a, b = to_tensors({"b": "é", "a": 1}, [A, B])
    assert a.array.tolist() == [[1]]
    assert b.array.tolist() == ["é".encode()]


def test_one_input_goes_by_any_name():
    (found,) = to_tensors({"features": [[1, 2], [3, 4]]}, [TABLE])
    assert (found.name, found.array.tolist()) == ("x", [[1, 2], [3, 4]])
    (found,) = to_tensors({"review": ["u", "v"]}, [B])
    assert (found.name, found.array.tolist()) == ("b", [b"u", b"v"])


def test_a_row_without_a_category_is_a_row():
    category = TensorSpec(name="b", datatype="BYTES", shape=(-1,), nullable=True)
    for x in ([{"b": None}, {"b": "u"}], {"b": [None, "u"]}, pandas.DataFrame({"b": [None, "u"]})):
        (found,) = to_tensors(x, [category])
        assert found.array.tolist() == [b"", b"u"]


def test_four_rows_of_one_value_are_not_a_row_of_four():
    with pytest.raises(InvalidArgument, match=r"shape \[2\]|lack the columns"):
        to_tensors(pandas.DataFrame({"x": [1.0, 2.0]}), [PLAIN])
    with pytest.raises(InvalidArgument, match=r"shape \[2\]"):
        to_tensors([1.0, 2.0], [PLAIN], lenient=False)


def test_a_value_out_of_range_is_refused():
    with pytest.raises(InvalidArgument, match="out of the range of FP32"):
        to_tensors([[1e39, 1]], [PLAIN])
