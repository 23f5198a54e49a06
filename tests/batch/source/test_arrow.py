from contextlib import suppress

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather, ipc

from argosy.batch.place import place
from argosy.batch.source.arrow import plan, read, schema
from argosy.spec.errors import ArgosyError, Conflict, InvalidArgument
from tests.batch.source.kit import file_of, rows_of


def table(rows: int) -> pa.Table:
    return pa.table({
        "id": range(rows),
        "s": pa.array([f"s{n}" if n % 3 else None for n in range(rows)], pa.string()),
        "v": pa.array([[n, n] for n in range(rows)], pa.list_(pa.int64())),
        "c": pa.array([f"c{n % 3}" for n in range(rows)]).dictionary_encode(),
    })  # fmt: skip


def write(path, whole: pa.Table, batch: int, stream: bool = False, packed: bool = False):
    options = ipc.IpcWriteOptions(compression="zstd" if packed else None)
    new = ipc.new_stream if stream else ipc.new_file
    with new(path, whole.schema, options=options) as writer:
        writer.write_table(whole, max_chunksize=batch)
    return file_of(path)


@given(
    st.integers(0, 40), st.integers(1, 15), st.integers(1, 50), st.integers(1, 9), st.integers(0, 9),
    st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_however_it_is_cut_the_rows_are_the_same(
    tmp_path_factory, rows, size, wanted, batch, skip, stream, packed, narrow
):
    file = write(tmp_path_factory.mktemp("a") / "x.arrow", table(rows), size, stream, packed)
    columns = ["c", "id"] if narrow else table(0).column_names
    reads = pa.schema([schema(file).field(name) for name in columns])
    assert rows_of(file, wanted, batch, reads, skip) == table(rows).select(columns).to_pylist()
    assert len(plan(file, wanted)) == 1 or not stream


def test_nothing_is_copied(tmp_path):
    whole = pa.table({"x": np.arange(100_000, dtype="<f4")})
    (fragment,) = plan(write(tmp_path / "x.arrow", whole, 100_000), 100_000)
    before = pa.total_allocated_bytes()
    held = list(read(fragment, 0, 10_000, whole.schema))
    assert pa.total_allocated_bytes() - before < 10_000
    assert sum(batch.num_rows for batch in held) == 100_000


def test_feather_and_its_first_version(tmp_path):
    feather.write_feather(table(5), tmp_path / "x.feather")
    assert rows_of(file_of(tmp_path / "x.feather"), 3) == table(5).to_pylist()
    (tmp_path / "y.feather").write_bytes(b"FEA1" + bytes(50))
    with pytest.raises(ArgosyError, match="first version of Feather"):
        schema(file_of(tmp_path / "y.feather"))


def test_a_changed_file_is_noticed(tmp_path):
    (fragment,) = plan(write(tmp_path / "x.arrow", table(5), 5), 10)
    file = write(tmp_path / "x.arrow", table(6), 5)
    with pytest.raises(Conflict, match="has changed"):
        list(read(fragment, 0, 10, schema(file)))


@given(st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_a_broken_file_is_an_error_and_never_a_crash(tmp_path_factory, place, byte, stream):
    path = tmp_path_factory.mktemp("a") / "x.arrow"
    write(path, table(20).drop_columns(["c"]), 10, stream)
    data = bytearray(path.read_bytes())
    data[place % len(data)] = byte
    path.write_bytes(data)
    file = file_of(path)
    with suppress(ArgosyError):
        for fragment in plan(file, 7):
            list(read(fragment, 0, 5, schema(file)))


def test_cut_off_and_empty(tmp_path):
    path = tmp_path / "x.arrow"
    write(path, table(50), 10)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InvalidArgument, match=r"x\.arrow cannot be read as Arrow IPC"):
        plan(file_of(path), 7)


def test_in_a_bucket(s3, tmp_path):
    write(tmp_path / "x.arrow", table(50), 20)
    place(f"{s3}/arrow/x.arrow").put(tmp_path / "x.arrow")
    assert rows_of(file_of(f"{s3}/arrow"), 15) == table(50).to_pylist()
