"""Columns → inputs: the same tensors, bit for bit, as `packaging.rows` makes of the same rows."""

import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pyarrow import parquet

from argosy.batch import columns
from argosy.batch.tensors import widens
from argosy.packaging.rows import read_rows
from argosy.spec.batch import BatchJob
from argosy.spec.errors import ArgosyError, InvalidArgument, Unsupported
from argosy.spec.signature import Signature, TensorSpec

ONE = (TensorSpec(name="y", datatype="FP32", shape=(-1,)),)
WIDE = TensorSpec(name="x", datatype="FP32", shape=(-1, 3), columns=("a", "b", "c"))


def job(**settings) -> BatchJob:
    return BatchJob(model="m", inputs=("in",), output="out", **settings)


def signature(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = ONE) -> Signature:
    return Signature(inputs=inputs, outputs=outputs)


def feeds(table: pa.Table, wanted: Signature, **settings) -> dict[str, np.ndarray]:
    mapping = columns.plan(wanted, table.schema, job(**settings))
    (batch,) = table.select(mapping.reads.names).combine_chunks().to_batches()
    batch = pa.RecordBatch.from_arrays(
        [c.cast(f.type) for c, f in zip(batch, mapping.reads, strict=True)], schema=mapping.reads
    )
    return mapping.feeds(batch)


def as_online(table: pa.Table, wanted: Signature) -> dict[str, np.ndarray]:
    data = io.BytesIO()
    parquet.write_table(table, data)
    return {tensor.name: tensor.array for tensor in read_rows(data.getvalue(), ".parquet", wanted)}


def outcome(make, *arguments):
    try:
        return make(*arguments)
    except ArgosyError as error:
        return type(error)


def test_whole_numbers_are_categories_where_the_input_is_categorical():
    category = TensorSpec(name="code", datatype="BYTES", shape=(-1,), semantic="categorical")
    table = pa.table({"code": pa.array([7, -3], pa.int32())})
    assert feeds(table, signature(category))["code"].tolist() == [b"7", b"-3"]
    with pytest.raises(InvalidArgument, match="contains numbers"):
        feeds(table, signature(TensorSpec(name="code", datatype="BYTES", shape=(-1,))))
    with pytest.raises(InvalidArgument, match="contains numbers"):
        feeds(pa.table({"code": [7.5]}), signature(category))


NUMBERS = [pa.float32(), pa.float64(), pa.int8(), pa.int32(), pa.int64(), pa.uint8(), pa.uint64(), pa.bool_()]
DATATYPES = ["FP32", "FP64", "INT8", "INT64", "UINT16", "UINT64", "BOOL"]


def values(kind: pa.DataType) -> st.SearchStrategy:
    if pa.types.is_boolean(kind):
        return st.booleans()
    if pa.types.is_floating(kind):
        return st.floats(width=kind.bit_width) | st.integers(-3, 300).map(float)
    low, high = np.iinfo(kind.to_pandas_dtype()).min, np.iinfo(kind.to_pandas_dtype()).max
    return st.integers(int(low), int(high)) | st.integers(0, 100)


@st.composite
def numbers(draw: st.DrawFn, kinds=NUMBERS) -> pa.Array:
    kind = draw(st.sampled_from(kinds))
    cell = values(kind) if draw(st.booleans()) else st.none() | values(kind)
    return pa.array(draw(st.lists(cell, min_size=4, max_size=4)), kind)


@st.composite
def texts(draw: st.DrawFn) -> pa.Array:
    spelled = st.sampled_from(["1", "-2", "3.5", "true", "nan", " 7 ", "1e400", "x", ""])
    cells = draw(st.lists(st.none() | spelled | st.text(), min_size=4, max_size=4))
    array = pa.array(cells, pa.string())
    return array.dictionary_encode() if draw(st.booleans()) else array


@given(numbers() | texts(), st.sampled_from([*DATATYPES, "BYTES"]), st.booleans(), st.sampled_from([(-1,), (-1, 1)]))
def test_a_column_is_the_same_tensor_as_online(array, datatype, nullable, shape):
    assume(datatype != "BYTES" or not pa.types.is_boolean(array.type))  # refused here even where values are missing
    table = pa.table({"x": array})
    wanted = signature(TensorSpec(name="x", datatype=datatype, shape=shape, nullable=nullable))
    one, other = outcome(feeds, table, wanted), outcome(as_online, table, wanted)
    if isinstance(other, type):
        assert one is other
    else:
        assert one["x"].dtype == other["x"].dtype
        np.testing.assert_array_equal(one["x"], other["x"])


@given(st.lists(numbers(), min_size=3, max_size=3), st.sampled_from(["FP32", "FP64", "INT64"]))
def test_features_are_the_same_matrix_as_online(arrays, datatype):
    table = pa.table(dict(zip("bca", arrays, strict=True)))
    wanted = signature(TensorSpec(name="x", datatype=datatype, shape=(-1, 3), columns=("a", "b", "c")))
    one, other = outcome(feeds, table, wanted), outcome(as_online, table, wanted)
    if isinstance(other, type):
        assert one is other
    else:
        np.testing.assert_array_equal(one["x"], other["x"])


@given(
    st.lists(st.lists(st.none() | st.integers(-5, 300), min_size=2, max_size=3), min_size=3, max_size=3),
    st.sampled_from([pa.float32(), pa.float64(), pa.int16()]),
    st.sampled_from(["FP32", "INT64", "UINT8"]),
)
def test_lists_are_the_same_matrix_as_online(lists, kind, datatype):
    table = pa.table({"x": pa.array(lists, pa.list_(kind))})
    wanted = signature(TensorSpec(name="x", datatype=datatype, shape=(-1, -1)))
    one, other = outcome(feeds, table, wanted), outcome(as_online, table, wanted)
    if isinstance(other, type):
        assert one is other
    else:
        np.testing.assert_array_equal(one["x"], other["x"])


def shares(array: np.ndarray, column: pa.Array) -> bool:
    buffer = np.frombuffer(column.buffers()[-1], np.uint8)
    return np.shares_memory(array, buffer)


def test_what_has_its_type_is_not_copied():
    flat = pa.array(np.arange(8, dtype="<f4"))
    lists = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(24, dtype="<f4")), 3)
    wanted = signature(
        TensorSpec(name="x", datatype="FP32", shape=(-1,)), TensorSpec(name="v", datatype="FP32", shape=(-1, 3))
    )
    batch = pa.record_batch({"x": flat, "v": lists}).slice(2, 5)
    found = columns.plan(wanted, batch.schema, job()).feeds(batch)
    assert shares(found["x"], flat)
    assert shares(found["v"], lists.values)
    assert found["x"].tolist() == [2, 3, 4, 5, 6]
    assert found["v"].tolist() == [[6, 7, 8], [9, 10, 11], [12, 13, 14], [15, 16, 17], [18, 19, 20]]


def test_images_in_flat_lists_and_tensors_of_arrow():
    wanted = signature(TensorSpec(name="x", datatype="UINT8", shape=(-1, 2, 3)))
    data = np.arange(12, dtype="u1").reshape(2, 2, 3)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(data.reshape(-1)), 6)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(data)
    nested = pa.array(data.tolist(), pa.list_(pa.list_(pa.uint8())))
    for column in (flat, tensors, nested):
        batch = pa.record_batch({"x": column})
        np.testing.assert_array_equal(columns.plan(wanted, batch.schema, job()).feeds(batch)["x"], data)


def test_names_are_mapped_and_the_rest_is_told():
    table = pa.table({"a": [1.0], "bee": [2.0], "c": [3.0], "id": ["i"], "target": [0]})
    mapping = columns.plan(signature(WIDE), table.schema, job(map={"b": "bee"}, keep=("id",)))
    assert (mapping.reads.names, mapping.unused(table.schema)) == (["a", "bee", "c", "id"], ["target"])
    assert feeds(table, signature(WIDE), map={"b": "bee"})["x"].tolist() == [[1, 2, 3]]
    listed = pa.table({"features": [[1.0, 2.0, 3.0]]})
    assert feeds(listed, signature(WIDE), map={"x": "features"})["x"].tolist() == [[1, 2, 3]]


def test_a_matrix_without_names_takes_the_columns_beside_the_kept_ones():
    wanted = signature(TensorSpec(name="x", datatype="FP64", shape=(-1, 2)))
    table = pa.table({"q": [1.0], "id": [7], "p": [2.0]})
    assert feeds(table, wanted, keep=("id",))["x"].tolist() == [[1, 2]]
    with pytest.raises(InvalidArgument, match="takes 2 columns; the files have 3"):
        feeds(table, wanted)


ONE_VALUE = TensorSpec(name="review", datatype="BYTES", shape=(-1,))
MATRIX_OF_TWO = TensorSpec(name="x", datatype="FP64", shape=(-1, 2))


def test_the_only_column_is_the_only_input_whatever_its_name():
    """As online: there is one reading."""
    assert feeds(pa.table({"text": ["a"]}), signature(ONE_VALUE))["review"].tolist() == [b"a"]
    kept = pa.table({"text": ["a"], "id": [7]})
    assert feeds(kept, signature(ONE_VALUE), keep=("id",))["review"].tolist() == [b"a"]
    assert feeds(pa.table({"v": [[1.0, 2.0]]}), signature(MATRIX_OF_TWO))["x"].tolist() == [[1, 2]]
    assert feeds(pa.table({"v": [[1.0, 2.0, 3.0]]}), signature(WIDE))["x"].tolist() == [[1, 2, 3]]
    for spec, table, said in (
        (ONE_VALUE, {"text": ["a"], "id": [7]}, "have no column 'review'"),
        (WIDE, {"b": [1.0]}, "lack 'a', 'c'"),
        (MATRIX_OF_TWO, {"v": [1.0]}, "takes 2 columns; the files have 1"),
    ):
        with pytest.raises(InvalidArgument, match=said):
            feeds(pa.table(table), signature(spec))


def test_optional_inputs_may_be_absent():
    wanted = signature(
        TensorSpec(name="x", datatype="FP64", shape=(-1,)),
        TensorSpec(name="o", datatype="FP64", shape=(-1,), optional=True),
    )
    assert list(feeds(pa.table({"x": [1.0]}), wanted)) == ["x"]
    assert list(feeds(pa.table({"x": [1.0], "o": [1.0]}), wanted)) == ["x", "o"]


DAY = pa.array([1], pa.date32())


@pytest.mark.parametrize(
    ("column", "settings", "said"),
    [
        ({"a": [1.0], "b": [1.0]}, {}, r"lack 'c' of the model's columns"),
        ({"a": [1.0], "b": [1.0], "C": [1.0]}, {}, r"did you mean|there are 'a', 'b', 'C'"),
        ({"a": [1.0], "b": [1.0], "c": DAY}, {}, r"column 'c' contains times \(date32"),
        ({"a": [1.0], "b": [1.0], "c": [[1.0]]}, {}, "column 'c' contains lists"),
        ({"a": [1.0], "b": [1.0], "c": [{"k": 1}]}, {}, "Arrow type struct"),
        ({"a": [1.0], "b": [1.0], "c": [1.0]}, {"map": {"q": "a"}}, "'q' is no input"),
        ({"a": [1.0], "b": [1.0], "c": [1.0]}, {"map": {"b": "bb"}}, "no column 'bb'; did you mean 'b'"),
        ({"a": [1.0], "b": [1.0], "c": [1.0]}, {"keep": ("id",)}, "no column 'id'"),
        ({"a": [1.0], "b": [1.0], "c": [1.0]}, {"partition": ("y",)}, "partition: 'y' contains float"),
        ({"a": [1.0], "b": [1.0], "c": [1.0], "y": [1]}, {"keep": ("y",)}, "'y' is also an output"),
        ({"a": [1.0], "b": [1.0], "c": [1.0], "l": [[1]]}, {"keep": ("l",), "format": "csv"}, "CSV has no form"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_runs(column, settings, said):
    with pytest.raises((InvalidArgument, Unsupported), match=said):
        columns.plan(signature(WIDE), pa.table(column).schema, job(**settings))


def test_numbers_for_strings_and_models_without_rows():
    with pytest.raises(InvalidArgument, match="contains numbers"):
        columns.plan(signature(TensorSpec(name="s", datatype="BYTES", shape=(-1,))), pa.schema([("s", "int64")]), job())
    alone = Signature(inputs=(TensorSpec(name="s", datatype="FP32", shape=(3,)),), outputs=(), batched=False)
    with pytest.raises(Unsupported, match="independently"):
        columns.plan(alone, pa.schema([("s", "int64")]), job())


OUTPUTS = (
    TensorSpec(name="label", datatype="BYTES", shape=(-1, 1)),
    TensorSpec(name="p", datatype="FP16", shape=(-1, 2), columns=("no", "yes")),
    TensorSpec(name="e", datatype="INT32", shape=(-1, -1, 2)),
)


def test_answers_stand_beside_what_is_kept():
    table = pa.table({"x": [1.0, 2.0], "id": pa.array(["i", "j"]).dictionary_encode()})
    wanted = signature(TensorSpec(name="x", datatype="FP64", shape=(-1,)), outputs=OUTPUTS)
    mapping = columns.plan(wanted, table.schema, job(keep=("id",)))
    batch = pa.record_batch({"x": [1.0, 2.0], "id": ["i", "j"]}, schema=mapping.reads)
    outputs = [
        np.array([[b"a"], [b"b"]], dtype=object),
        np.array([[0.5, 0.5], [0, 1]], dtype="<f2"),
        np.arange(12, dtype="<i4").reshape(2, 3, 2),
    ]
    found = mapping.rows(batch, outputs)
    assert found.schema == mapping.schema
    assert found.schema.field("p").type == pa.list_(pa.float32(), 2)
    assert found.schema.field("e").type == pa.list_(pa.list_(pa.int32(), 2))
    assert found.to_pylist()[1] == {"id": "j", "label": "b", "p": [0, 1], "e": [[6, 7], [8, 9], [10, 11]]}


def test_csv_has_a_column_for_each_number():
    wanted = signature(TensorSpec(name="x", datatype="FP64", shape=(-1,)), outputs=OUTPUTS[:2])
    mapping = columns.plan(wanted, pa.schema([("x", pa.float64())]), job(format="csv"))
    assert mapping.schema.names == ["label", "no", "yes"]
    outputs = [np.array([[b"a"]], dtype=object), np.array([[0.25, 0.75]], dtype="<f2")]
    assert mapping.rows(pa.record_batch({"x": [1.0]}), outputs).to_pylist() == [{"label": "a", "no": 0.25, "yes": 0.75}]
    with pytest.raises(Unsupported, match="CSV has no form"):
        columns.plan(
            signature(WIDE, outputs=OUTPUTS), pa.table({"a": [1], "b": [1], "c": [1]}).schema, job(format="csv")
        )


def test_a_further_file_must_fit():
    mapping = columns.plan(
        signature(WIDE), pa.table({"a": [1], "b": [1], "c": [1], "id": [1]}).schema, job(keep=("id",))
    )
    mapping.check(pa.schema([("a", "int32"), ("b", "int64"), ("c", "uint8"), ("id", "int64")]), "2.parquet")
    with pytest.raises(InvalidArgument, match=r"2\.parquet lacks the column 'c'"):
        mapping.check(pa.table({"a": [1], "b": [1], "id": [1]}).schema, "2.parquet")
    with pytest.raises(InvalidArgument, match="'a' as double, the first file as int64"):
        mapping.check(pa.table({"a": [1.0], "b": [1], "c": [1], "id": [1]}).schema, "2.parquet")
    with pytest.raises(InvalidArgument, match="'id' as string, the first file as int64"):
        mapping.check(pa.table({"a": [1], "b": [1], "c": [1], "id": ["1"]}).schema, "2.parquet")


def test_types_that_hold_one_another():
    lists = pa.list_(pa.float32()), pa.list_(pa.float64(), 3)
    good = [
        (pa.int8(), pa.int64()),
        (pa.int64(), pa.int8()),
        (pa.float32(), pa.float64()),
        lists,
        (pa.null(), pa.string()),
    ]
    bad = [(pa.float64(), pa.float32()), (pa.float32(), pa.int64()), lists[::-1], (pa.string(), pa.int64())]
    assert [widens(*pair) for pair in good] == [True] * len(good)
    assert [widens(*pair) for pair in bad] == [False] * len(bad)
