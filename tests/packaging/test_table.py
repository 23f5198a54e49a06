import numpy as np
import pandas as pd
import pytest

from argosy.packaging.table import column, infer, read
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
