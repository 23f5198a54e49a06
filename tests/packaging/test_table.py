import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.packaging.table import column, infer, read, scalar_type
from argosy.spec.errors import InvalidArgument, NotFound, Unsupported


def test_json_rows_are_a_frame_with_gaps():
    table = read(b'[{"a": 1, "b": "x"}, {"a": 2.5}]', ".json")
    assert table.kind == "frame"
    assert table.arrays["a"].tolist() == [1.0, 2.5]
    assert table.arrays["b"].tolist() == ["x", None]


def test_json_columns_and_lists():
    assert read(b'{"a": [1, 2], "b": [true, false]}', ".json").arrays["b"].dtype == bool
    assert read(b"[[1, 2], [3, 4]]", ".json").arrays[""].tolist() == [[1, 2], [3, 4]]


def test_json_inference_request():
    body = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}'
    table = read(body, ".json")
    assert table.kind == "tensors"
    assert table.arrays["x"].dtype == np.float32


def test_csv_stays_text_until_it_is_inferred():
    table = read(b"zip,n,ok,gap\n01234,1,true,\n00501,2,false,1.5\n", ".csv")
    assert table.arrays["zip"].tolist() == ["01234", "00501"]
    found = infer(table).arrays
    assert found["n"].dtype == np.int64
    assert found["ok"].dtype == bool
    assert np.isnan(found["gap"][0])


def test_parquet_with_nulls_categories_and_strings(tmp_path):
    frame = pd.DataFrame(
        {"i": pd.array([1, None], dtype="Int64"), "s": ["x", None], "c": pd.Categorical(["u", "v"]), "f": [1.0, 2.0]}
    )
    frame.to_parquet(tmp_path / "x.parquet")
    found = read(tmp_path / "x.parquet").arrays
    assert np.isnan(found["i"][1])
    assert found["s"].tolist() == ["x", None]
    assert found["c"].tolist() == ["u", "v"]


def test_parquet_with_times_is_refused(tmp_path):
    pd.DataFrame({"t": pd.to_datetime(["2026-01-01"])}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(Unsupported, match="column 't' holds times"):
        read(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b"", ".csv", "is empty"),
        (b"{", ".json", "not valid JSON"),
        (b'"x"', ".json", "rows are a list"),
        (b"[]", ".json", "rows are a list"),
        (b"[[1, 2], [3]]", ".json", "ragged"),
        (b'[{"a": 1}, [2]]', ".json", "some rows are objects"),
        (b'[{"a": 1}, {"a": "x"}]', ".json", "column 'a'.*mixes"),
        (b'{"a": [1, 2], "b": [1]}', ".json", "differ in length"),
        (b'[{"a": 99999999999999999999}]', ".json", "64 bits|mixes"),
        (b"a,b\n1\n", ".csv", "row 2: 1 values for 2 columns"),
        (b"a,a\n1,2\n", ".csv", "share a name"),
        (b"a\n", ".csv", "needs a header and at least one row"),
        (b"PAR1 no", ".parquet", "not valid Parquet"),
        (b"\x93NUMPY", ".npy", "not a numpy file"),
        (b"x", ".xlsx", "rows are read from"),
    ],
)
def test_bad_rows_are_refused(data, kind, said):
    with pytest.raises(InvalidArgument, match=said):
        read(data, kind)


def test_npy_with_objects_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidArgument, match="without objects"):
        read(tmp_path / "x.npy")


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="there is no file"):
        read(tmp_path / "none.csv")


def test_columns_of_one_kind():
    assert column([1, None]).dtype == np.float64
    assert column([True, False]).dtype == bool
    assert column(["a", None]).tolist() == ["a", None]


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-7", "0"], "int"),
        (["9" * 18, "-9223372036854775808"], "int"),
        (["01234", "94105"], "text"),
        (["-007", "1.5"], "text"),
        (["9" * 20, "1"], "text"),
        (["9223372036854775808", "1"], "text"),
        (["0.5", "1e3", ".5", "1.", "+4", "nan", "-inf"], "float"),
        (["1_0"], "text"),
        (["0x1F"], "text"),
        (["１"], "text"),
        (["true", "False"], "bool"),
        (["true", "1"], "text"),
        ([], "text"),
    ],
)
def test_the_type_of_a_column_of_text(texts, kind):
    assert scalar_type(texts) == kind


CELLS = [
    "0",
    "7",
    "-3",
    "007",
    "-0",
    "+4",
    "2.5",
    "1e3",
    "9" * 17,
    "9" * 20,
    "true",
    "FALSE",
    "x",
    "1_0",
    "0x1F",
    "nan",
]


@given(st.lists(st.sampled_from(CELLS), min_size=1, max_size=5))
def test_a_sample_and_a_file_of_a_batch_job_have_the_same_types(tmp_path_factory, cells):
    from argosy.batch.source.csv import schema
    from tests.batch.source.kit import file_of

    data = "v,w\n" + "".join(f"{cell},1\n" for cell in cells)
    path = tmp_path_factory.mktemp("c") / "x.csv"
    path.write_text(data)
    of_batch = {"int64": "i", "double": "f", "bool": "b", "string": "O"}[str(schema(file_of(path)).field("v").type)]
    assert infer(read(data.encode(), ".csv")).arrays["v"].dtype.kind == of_batch


def test_what_a_column_of_text_becomes():
    table = read(b"zip,n,gaps,big,flag\n01234, 5,1,9007199254740993,true\n00501,6,,,\n", ".csv")
    found = infer(table).arrays
    assert found["zip"].tolist() == ["01234", "00501"]
    assert found["n"].tolist() == [5, 6]
    assert (found["gaps"][0], np.isnan(found["gaps"][1])) == (1.0, True)
    assert found["big"].tolist() == ["9007199254740993", None]
    assert found["flag"].tolist() == ["true", None]


def test_an_object_of_values_is_one_row():
    table = read(b'{"age": 41, "city": "Bern"}', ".json")
    assert {name: array.tolist() for name, array in table.arrays.items()} == {"age": [41], "city": ["Bern"]}
    with pytest.raises(InvalidArgument, match="one list for each column, or one value"):
        read(b'{"age": 41, "city": ["Bern"]}', ".json")
