from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.batch.sink import file as files
from argosy.batch.sink import partition
from argosy.spec.errors import InvalidArgument

HOSTILE = ["..", ".", "a/b", "../../etc", "", "=", "%2F", "a=b", "ü", "\n", "\x00", "'", "\\", "*", "~", "C:", "_x"]
HOSTILE += [None, "null", " ", "a b", "+"]


def write(folder: Path, table: pa.Table, by: list[str], batch: int = 3, format="parquet"):
    return partition.write(table.to_batches(batch), table.schema, folder, f"part-0.{format}", by, format, {})


@given(st.lists(st.tuples(st.sampled_from(HOSTILE), st.integers(-1, 2))), st.integers(1, 5))
def test_every_row_goes_to_its_folder_in_order(tmp_path_factory, rows, group):
    folder = tmp_path_factory.mktemp("p")
    columns = list(zip(*rows, strict=True)) or [[], []]
    table = pa.table(
        {"v": pa.array(columns[0], pa.string()), "k": pa.array(columns[1], pa.int64()), "n": range(len(rows))}
    )
    before, files.GROUP_ROWS = files.GROUP_ROWS, (group, group)
    try:
        parts = write(folder, table, ["v", "k"])
    finally:
        files.GROUP_ROWS = before
    assert sum(part.rows for part in parts) == len(rows)
    assert len(parts) == len(set(rows))
    assert all(len(Path(part.name).parts) == 3 for part in parts)
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*.parquet")) == sorted(part.name for part in parts)
    if rows:
        kinds = pa.schema([("v", pa.string()), ("k", pa.int64())])
        found = ds.dataset(folder, partitioning=ds.partitioning(kinds, flavor="hive")).to_table().to_pylist()
        assert sorted((row["n"], row["v"], row["k"]) for row in found) == [(n, *row) for n, row in enumerate(rows)]
        for part in parts:
            numbers = pl.read_parquet(folder / part.name)["n"].to_list()
            assert numbers == sorted(numbers)


def test_others_read_the_folders(tmp_path):
    table = pa.table({"v": ["a/b", "ü", None, "x y"], "n": [1, 2, 3, 4]})
    write(tmp_path, table, ["v"])
    found = duckdb.sql(f"select v, n from read_parquet('{tmp_path}/*/*.parquet', hive_partitioning=true) order by n")
    assert found.fetchall() == [("a/b", 1), ("ü", 2), (None, 3), ("x y", 4)]


@pytest.mark.parametrize("format", ["csv", "jsonl", "arrow"])
def test_other_formats(tmp_path, format):
    table = pa.table({"d": pa.array([1, 2, 1], pa.date32()), "b": [True, True, True], "n": [1, 2, 3]})
    names = [part.name for part in write(tmp_path, table, ["d", "b"], format=format)]
    assert names == [f"d=1970-01-0{day}/b=true/part-0.{format}" for day in (2, 3)]


@pytest.mark.parametrize(
    ("table", "by", "said"),
    [
        ({"v": [1.5], "n": [1]}, ["v"], "'v' contains double"),
        ({"v": ["a"], "n": [1]}, ["w"], "no column 'w'"),
        ({"v": ["a"]}, ["v"], "no column is left"),
        ({"v": [partition.MISSING], "n": [1]}, ["v"], "stands for a missing one"),
        ({"v": ["a" * 300], "n": [1]}, ["v"], "too long"),
        ({"v": list(range(600)), "n": [1] * 600}, ["v"], "more than 512 folders"),
    ],
)
def test_what_cannot_name_folders(tmp_path, table, by, said):
    with pytest.raises(InvalidArgument, match=said):
        write(tmp_path, pa.table(table), by, 1000)
    assert not list(tmp_path.rglob("*.parquet"))
