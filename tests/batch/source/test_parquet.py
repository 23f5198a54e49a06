from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from argosy.batch.source.parquet import pieces, plan, read, schema
from argosy.spec.errors import Conflict, InvalidArgument
from tests.batch.source.kit import file_of, rows_of


def table(rows: int) -> pa.Table:
    columns = {
        "id": range(rows),
        "x": [float(n) if n % 5 else None for n in range(rows)],
        "v": [[n, n + 1] for n in range(rows)],
        "c": pa.array([f"c{n % 3}" for n in range(rows)]).dictionary_encode(),
        "a.b": [f"{n}" for n in range(rows)],
    }
    return pa.table(columns)


@given(st.integers(0, 60), st.integers(1, 25), st.integers(1, 70), st.integers(1, 9), st.integers(0, 12), st.booleans())
def test_however_it_is_cut_the_rows_are_the_same(tmp_path_factory, rows, group, wanted, batch, skip, narrow):
    path = tmp_path_factory.mktemp("p") / "x.parquet"
    parquet.write_table(table(rows), path, row_group_size=group)
    columns = ["a.b", "id"] if narrow else ["id", "x", "v", "c", "a.b"]
    reads = pa.schema([schema(file_of(path)).field(name) for name in columns])
    assert rows_of(file_of(path), wanted, batch, reads, skip) == table(rows).select(columns).to_pylist()


@given(st.lists(st.integers(0, 100)), st.integers(1, 60))
def test_pieces_hold_every_row_once_and_are_not_large(sizes, rows):
    found = pieces(sizes, rows)
    assert [row for start, end in found for row in range(start, end)] == list(range(sum(sizes)))
    assert all(0 < end - start <= rows for start, end in found)


def test_a_row_group_is_not_split_without_need():
    assert pieces([10, 10, 10, 45, 3, 4], 20) == [(0, 20), (20, 30), (30, 45), (45, 60), (60, 75), (75, 82)]


def test_columns_come_in_the_types_that_were_agreed(tmp_path):
    path = tmp_path / "x.parquet"
    parquet.write_table(pa.table({"n": pa.array([1, 2], pa.int32())}), path)
    (fragment,) = plan(file_of(path), 10)
    (batch,) = read(fragment, 0, 10, pa.schema([("n", pa.int64())]))
    assert batch.to_pydict() == {"n": [1, 2]}
    parquet.write_table(pa.table({"n": ["a"]}), path)
    (fragment,) = plan(file_of(path), 10)
    with pytest.raises(InvalidArgument, match="'n' of the type int64"):
        list(read(fragment, 0, 10, pa.schema([("n", pa.int64())])))
    with pytest.raises(InvalidArgument, match="lacks the column 'm'"):
        list(read(fragment, 0, 10, pa.schema([("n", pa.string()), ("m", pa.int64())])))


def test_a_file_that_was_replaced_is_noticed(tmp_path):
    path = tmp_path / "x.parquet"
    parquet.write_table(table(5), path)
    (fragment,) = plan(file_of(path), 10)
    parquet.write_table(table(6), path)
    with pytest.raises(Conflict, match="has changed"):
        list(read(fragment, 0, 10, schema(file_of(path))))


def test_broken_files_are_named(tmp_path: Path):
    path = tmp_path / "x.parquet"
    parquet.write_table(table(2000), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(InvalidArgument, match=r"x\.parquet cannot be read as Parquet"):
        plan(file_of(path), 10)
    path.write_bytes(b"\xff" * 5000 + whole[5000:])
    (fragment,) = plan(file_of(path), 5000)
    with pytest.raises(InvalidArgument, match=r"x\.parquet cannot be read as Parquet"):
        list(read(fragment, 0, 5000, schema(file_of(path))))
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    parquet.write_table(twice, path)
    with pytest.raises(InvalidArgument, match="two columns are named 'a'"):
        schema(file_of(path))


def test_in_a_bucket(s3, tmp_path):
    from argosy.batch.place import place

    path = tmp_path / "x.parquet"
    parquet.write_table(table(50), path, row_group_size=20)
    place(f"{s3}/parquet/x.parquet").put(path)
    file = file_of(f"{s3}/parquet/*.parquet")
    assert rows_of(file, 15) == table(50).to_pylist()
