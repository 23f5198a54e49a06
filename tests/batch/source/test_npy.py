from contextlib import suppress

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.batch import columns
from argosy.batch.place import place
from argosy.batch.source.npy import plan, read, schema
from argosy.packaging.rows import read_rows
from argosy.spec.batch import BatchJob
from argosy.spec.errors import ArgosyError, InvalidArgument, Unsupported
from argosy.spec.signature import Signature, TensorSpec
from tests.batch.source.kit import file_of, rows_of

DTYPES = ["<f4", ">f8", "<i2", "u1", "?", "<U3", "<f2"]


def array(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return (np.arange(np.prod(shape)) % 7).reshape(shape).astype(dtype)


@given(
    st.integers(0, 30), st.sampled_from([(), (1,), (3,), (2, 3)]), st.sampled_from(DTYPES), st.integers(1, 35),
    st.integers(1, 9), st.integers(0, 5),
)  # fmt: skip
def test_however_it_is_cut_the_rows_are_the_same(tmp_path_factory, rows, inner, dtype, wanted, batch, skip):
    path = tmp_path_factory.mktemp("n") / "x.npy"
    whole = array((rows, *inner), dtype)
    np.save(path, whole)
    assert rows_of(file_of(path), wanted, batch, skip=skip) == [{"array": row} for row in whole.tolist()]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_has_a_column_for_each_array(tmp_path, save):
    arrays = {"x": array((20, 3), "<f4"), "id": np.arange(20), "city": array((20,), "<U3")}
    save(tmp_path / "x.npz", **arrays)
    file = file_of(tmp_path / "x.npz")
    wanted = [dict(zip(arrays, row, strict=True)) for row in zip(*(a.tolist() for a in arrays.values()), strict=True)]
    assert rows_of(file, 6, 4, skip=3) == wanted
    assert len(plan(file, 6)) == (1 if save is np.savez_compressed else 4)
    (narrow,) = read(plan(file, 50)[0], 0, 50, pa.schema([("id", pa.int64())]))
    assert narrow.to_pydict() == {"id": list(range(20))}


def test_one_array_is_the_one_input_without_a_copy(tmp_path):
    np.save(tmp_path / "x.npy", array((1000, 64), "<f4"))
    signature = Signature(inputs=(TensorSpec(name="pixels", datatype="FP32", shape=(-1, 64)),), outputs=())
    file = file_of(tmp_path / "x.npy")
    mapping = columns.plan(signature, schema(file), BatchJob(model="m", inputs=("x",), output="o"))
    (fragment,) = plan(file, 1000)
    before = pa.total_allocated_bytes()
    (batch,) = read(fragment, 0, 1000, mapping.reads)
    found = mapping.feeds(batch)["pixels"]
    assert pa.total_allocated_bytes() - before < 10_000
    assert not found.flags.owndata
    np.testing.assert_array_equal(found, read_rows(tmp_path / "x.npy", signature=signature)[0].array)


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (np.array(5), "one number"),
        (np.array([object()]), "contains object"),
        (np.zeros(3, dtype=[("a", "f4")]), "which no model takes"),
        (np.array(["2026-01-01"], dtype="M8[D]"), r"contains datetime64"),
        (np.zeros((3, 2), order="F"), "lies in columns"),
    ],
)
def test_arrays_that_are_no_rows(tmp_path, saved, said):
    np.save(tmp_path / "x.npy", saved, allow_pickle=True)
    with pytest.raises((InvalidArgument, Unsupported), match=said):
        schema(file_of(tmp_path / "x.npy"))


def test_broken_files(tmp_path):
    np.save(tmp_path / "x.npy", array((100, 2), "<f4"))
    data = (tmp_path / "x.npy").read_bytes()
    for broken in (data[:-8], data[:30], b"PK" + data, b"\x93NUMPY\x01\x00\xff\xff" + data[10:]):
        (tmp_path / "x.npy").write_bytes(broken)
        with pytest.raises(InvalidArgument, match=r"x\.npy cannot be read as NumPy"):
            schema(file_of(tmp_path / "x.npy"))
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(InvalidArgument, match=r"x\.npz cannot be read as NumPy"):
        schema(file_of(tmp_path / "x.npz"))
    np.savez(tmp_path / "x.npz", a=np.zeros(3), b=np.zeros(4))
    with pytest.raises(InvalidArgument, match="one number of rows"):
        schema(file_of(tmp_path / "x.npz"))


@given(st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_a_broken_archive_is_an_error_and_never_a_crash(tmp_path_factory, where, byte, packed):
    path = tmp_path_factory.mktemp("n") / "x.npz"
    (np.savez_compressed if packed else np.savez)(path, a=array((9, 2), "<f4"), b=np.arange(9))
    data = bytearray(path.read_bytes())
    data[where % len(data)] = byte
    path.write_bytes(data)
    file = file_of(path)
    with suppress(ArgosyError):
        for fragment in plan(file, 4):
            list(read(fragment, 0, 3, schema(file)))


def test_in_a_bucket(s3, tmp_path):
    np.save(tmp_path / "x.npy", array((50, 3), "<f4"))
    place(f"{s3}/npy/x.npy").put(tmp_path / "x.npy")
    assert rows_of(file_of(f"{s3}/npy"), 15) == [{"array": row} for row in array((50, 3), "<f4").tolist()]
