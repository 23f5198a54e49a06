"""Every format: what is written is what is read again, in the same groups however it came, durable or not there."""

import datetime
import hashlib
import os
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv, feather, ipc, parquet

from argosy.batch.place import place
from argosy.batch.sink import file as files
from argosy.batch.sink import formats
from argosy.spec.errors import StorageFull
from tests.batch.source.kit import file_of, rows_of

FORMATS = ("parquet", "arrow", "csv", "jsonl")
META = {"argosy.model": "digits:3", "argosy.digest": "sha256:ab"}


def table(rows: int, lists: bool = True) -> pa.Table:
    columns = {
        "id": pa.array(range(rows)),
        "s": pa.array([None if n % 4 == 1 else f'a"{n},\nö' for n in range(rows)], pa.string()),
        "x": pa.array([n / 3 for n in range(rows)]),
        "b": pa.array([n % 2 == 0 for n in range(rows)]),
    }
    if lists:
        columns["p"] = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(2 * rows, dtype="<f4")), 2)
    return pa.table(columns)


def read(path: Path, format: str) -> list[dict]:
    if format == "parquet":
        return parquet.read_table(path).to_pylist()
    if format == "arrow":
        return feather.read_table(path, memory_map=False).to_pylist()
    if format == "csv":
        how = csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
        return csv.read_csv(
            path, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=how
        ).to_pylist()
    return rows_of(file_of(path), 10**6, 10**6)


@pytest.mark.parametrize("format", FORMATS)
@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9))
def test_the_same_rows_are_the_same_bytes_however_they_came(tmp_path_factory, format, rows, one, other):
    folder, whole = tmp_path_factory.mktemp("s"), table(rows, format != "csv")
    before, files.GROUP_ROWS = files.GROUP_ROWS, (8, 8)
    try:
        parts = [
            formats.write(format, whole.to_batches(size), whole.schema, folder / f"{size}.{format}", META)
            for size in (one, other)
        ]
    finally:
        files.GROUP_ROWS = before
    data = (folder / f"{one}.{format}").read_bytes()
    assert (parts[0].rows, parts[0].size, parts[0].digest) == (rows, len(data), hashlib.sha256(data).hexdigest())
    if format != "arrow":  # where a bitmap of no gaps may be there or not
        assert parts[1].digest == parts[0].digest
    assert read(folder / f"{one}.{format}", format) == whole.to_pylist()


def test_the_version_stands_in_the_file_and_others_read_it(tmp_path):
    whole = table(10)
    formats.write("parquet", whole.to_batches(), whole.schema, tmp_path / "x.parquet", META)
    assert parquet.read_schema(tmp_path / "x.parquet").metadata == {k.encode(): v.encode() for k, v in META.items()}
    assert pl.read_parquet(tmp_path / "x.parquet")["p"].to_list() == whole.column("p").to_pylist()
    assert duckdb.sql(f"select sum(id) from '{tmp_path}/x.parquet'").fetchall() == [(45,)]
    formats.write("arrow", whole.to_batches(), whole.schema, tmp_path / "x.arrow", META)
    with ipc.open_file(tmp_path / "x.arrow") as reader:
        assert reader.schema.metadata == {k.encode(): v.encode() for k, v in META.items()}


def test_groups_are_neither_tiny_nor_large():
    assert files.group_rows(pa.schema([("x", pa.bool_())])) == 131_072
    assert files.group_rows(pa.schema([("x", pa.list_(pa.float32(), 384)), ("s", pa.string())])) == 16_384
    assert files.group_rows(pa.schema([("x", pa.list_(pa.float32(), 10**6))])) == 1024


def test_json_has_no_nan_and_times_are_text(tmp_path):
    when = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)
    whole = pa.table({"x": [float("nan"), 1.5], "t": [when, None], "d": [when.date(), None]})
    formats.write("jsonl", whole.to_batches(), whole.schema, tmp_path / "x.jsonl", META)
    assert (tmp_path / "x.jsonl").read_bytes() == (
        b'{"x":null,"t":"2026-01-02 03:04:05.678901Z","d":"2026-01-02"}\n{"x":1.5,"t":null,"d":null}\n'
    )


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, format):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    whole = table(10, format != "csv")
    with pytest.raises(StorageFull):
        formats.write(format, whole.to_batches(), whole.schema, tmp_path / "x", META)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_what_fails_half_way_leaves_nothing(tmp_path, format):
    def batches():
        yield from table(300_000, False).to_batches()
        raise InterruptedError

    with pytest.raises(InterruptedError):
        formats.write(format, batches(), table(1, False).schema, tmp_path / "x", META)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", FORMATS)
def test_into_a_bucket_and_back(s3, tmp_path, format):
    whole = table(3000, format != "csv")
    part = formats.write(format, whole.to_batches(), whole.schema, tmp_path / f"x.{format}", META)
    spot = place(f"{s3}/sinks/x.{format}")
    spot.put(tmp_path / f"x.{format}")
    assert (spot.stamp().size, hashlib.sha256(spot.read()).hexdigest()) == (part.size, part.digest)
