import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.packaging.rows import cast_array, fit, read_rows, to_tensors
from argosy.packaging.table import Table
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import NUMPY

WIDE = Signature(inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 2), columns=("a", "b")),), outputs=())
MIXED = Signature(
    inputs=(
        TensorSpec(name="age", datatype="FP64", shape=(-1,), nullable=True),
        TensorSpec(name="n", datatype="INT64", shape=(-1,)),
        TensorSpec(name="city", datatype="BYTES", shape=(-1,), nullable=True),
    ),
    outputs=(),
)


def test_columns_are_found_by_name_in_any_order():
    (x,) = read_rows(b'[{"b": 2, "a": 1}, {"a": 3, "b": null}]', ".json", WIDE)
    assert x.datatype == "FP32"
    np.testing.assert_array_equal(x.array, [[1, 2], [3, np.nan]])


def test_csv_text_is_read_by_the_signature():
    age, n, city = read_rows(b"city,n,age\n007,3,\n,4,1.5\n", ".csv", MIXED)
    assert np.isnan(age.array[0])
    assert n.array.tolist() == [3, 4]
    assert city.array.tolist() == [b"007", b""]


def test_without_a_signature_every_column_is_a_tensor():
    found = {tensor.name: tensor for tensor in read_rows(b"a,b\n1,x\n", ".csv")}
    assert (found["a"].datatype, found["b"].datatype) == ("INT64", "BYTES")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (b'[{"a": 1, "b": 2, "target": 0}]', "does not know the column 'target'"),
        (b'[{"a": 1}]', "lack the columns 'b'"),
        (b'[{"a": 1, "b": "x"}]', "column 'b', row 0: 'x' is no number"),
        (b"[[1, 2, 3]]", r"shape \[1, 3\]; the model takes \[-1, 2\]"),
    ],
)
def test_misfits_of_a_matrix_are_named(rows, said):
    with pytest.raises(InvalidArgument, match=said):
        read_rows(rows, ".json", WIDE)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (b'{"age": [1], "n": [1.5], "city": ["x"]}', "column 'n', row 0: 1.5 is no INT64"),
        (b'{"age": [1, 2], "n": [1, null], "city": ["x", "y"]}', "column 'n', row 1: a value is missing"),
        (b'{"age": [1], "n": [1], "city": [3]}', "column 'city' holds numbers"),
        (b'{"age": [1], "n": [1]}', "lack 'city'"),
        (b'{"age": [1], "n": [1], "city": ["x"], "more": [1]}', "does not know the column 'more'"),
        (b'{"age": [1], "n": [1e300], "city": ["x"]}', "is no INT64"),
    ],
)
def test_misfits_of_columns_are_named(rows, said):
    with pytest.raises(InvalidArgument, match=said):
        read_rows(rows, ".json", MIXED)


def test_a_missing_string_needs_a_nullable_input():
    spec = TensorSpec(name="s", datatype="BYTES", shape=(-1,))
    with pytest.raises(InvalidArgument, match="row 1: a value is missing"):
        cast_array(np.array(["a", None], dtype=object), spec, "column 's'")


def test_a_column_and_a_matrix_of_one_column_are_the_same():
    one = TensorSpec(name="x", datatype="FP64", shape=(-1, 1))
    assert fit(Table("frame", {"x": np.array([1.0, 2.0])}), (one,))[0].shape == (2, 1)
    flat = TensorSpec(name="x", datatype="FP64", shape=(-1,))
    assert fit(Table("matrix", {"": np.array([[1.0], [2.0]])}), (flat,))[0].shape == (2,)


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
    st.sampled_from(["INT8", "INT32", "UINT16", "UINT64", "INT64"]),
)
def test_integers_are_cast_exactly_or_refused(values, datatype):
    array = np.array(values, dtype=np.int64)
    spec = TensorSpec(name="x", datatype=datatype, shape=(-1,))
    limits = np.iinfo(NUMPY[datatype])
    if all(limits.min <= value <= limits.max for value in values):
        assert cast_array(array, spec, "x").tolist() == values
    else:
        with pytest.raises(InvalidArgument):
            cast_array(array, spec, "x")


@given(st.lists(st.text(min_size=1), min_size=1))
def test_strings_come_through_as_utf8(values):
    spec = TensorSpec(name="x", datatype="BYTES", shape=(-1,))
    try:
        wanted = [value.encode() for value in values]
    except UnicodeEncodeError:
        return
    array = np.empty(len(values), dtype=object)
    array[:] = values
    assert cast_array(array, spec, "x").tolist() == wanted


CATEGORY = TensorSpec(name="c", datatype="BYTES", shape=(-1,), nullable=True, semantic="categorical")


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([{"c": None}], [b""]),
        ({"c": [None, None]}, [b"", b""]),
        ({"c": np.array([np.nan])}, [b""]),
        ([{"c": 3}, {"c": None}], [b"3", b""]),
        ([{"c": "a"}, {"c": None}], [b"a", b""]),
    ],
)
def test_a_column_of_nothing_but_gaps_is_one_of_texts(rows, wanted):
    assert to_tensors(rows, [CATEGORY])[0].array.tolist() == wanted


@pytest.mark.parametrize("rows", [[{"c": 2.5}, {"c": None}], [{"c": 1.0}], [{"c": float("inf")}, {"c": None}]])
def test_numbers_are_no_texts_because_one_is_missing(rows):
    with pytest.raises(InvalidArgument, match="holds numbers"):
        to_tensors(rows, [CATEGORY])
    with pytest.raises(InvalidArgument, match="a value is missing"):
        to_tensors([{"c": None}], [TensorSpec(name="c", datatype="BYTES", shape=(-1,))])


TWO = (
    TensorSpec(name="age", datatype="FP64", shape=(-1,)),
    TensorSpec(name="city", datatype="BYTES", shape=(-1,), nullable=True),
)


@pytest.mark.parametrize(
    "rows",
    [
        [{"age": 3, "city": "a"}, {"age": None, "city": None}],
        [{"age": np.float32(3), "city": np.str_("a")}, {"age": np.nan, "city": float("nan")}],
        [{"age": np.int64(3), "city": b"a"}, {"age": pd.NA, "city": pd.NA}],
        {"age": [np.float64(3), None], "city": ["a", np.nan]},
        pd.DataFrame({"age": pd.array([3, None], "Int64"), "city": pd.array(["a", None], "string")}),
        pd.DataFrame({"age": [3, np.nan], "city": pd.Categorical(["a", None])}),
        pd.DataFrame({"age": pd.Series([3, pd.NA], dtype=object), "city": pd.Series(["a", pd.NA], dtype=object)}),
    ],
)
def test_a_gap_is_a_gap_however_python_writes_it(rows):
    age, city = (tensor.array.tolist() for tensor in to_tensors(rows, TWO))
    assert (age[0], np.isnan(age[1]), city) == (3, True, [b"a", b""])


def test_a_number_among_texts_is_refused():
    with pytest.raises(InvalidArgument, match="mixes values of the kinds float, str"):
        to_tensors([{"age": 3, "city": 2.5}, {"age": 3, "city": "a"}, {"age": 3, "city": float("nan")}], TWO)
