"""CSV and JSON lines through a job's mapping: the same bits as `argosy predict` reads from the same text."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.batch import columns
from argosy.batch.fragment import FAULT
from argosy.batch.source import source
from argosy.packaging.rows import read_rows
from argosy.spec.batch import BatchJob
from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from tests.batch.source.kit import file_of

DATATYPES = ("FP16", "FP32", "FP64", "INT8", "INT64", "UINT64", "BOOL", "BYTES")
CELLS = ["0", "1", "-3", "7", "300", "2.5", "1e3", "1e400", "-0", "0.1", "16777217", "18446744073709551615", "true"]
CELLS += ["False", " 5", "nan", "inf", "x", "é", "0x10", "1_0", "+4", ".5", "007"]
PLAIN = [0, 1, -3, 300, 2.5, 1e3, 0.1, 16777217, True, False, "x", "é", "2.5", "7"]


def signature(datatype: str, shape: tuple[int, ...] = (-1,)) -> Signature:
    return Signature(inputs=(TensorSpec(name="v", datatype=datatype, shape=shape, nullable=True),), outputs=())


def in_batch(path, wanted: Signature, keep: tuple[str, ...] = ()) -> list:
    """For each row what the model gets, or None where it is a bad row."""
    file = file_of(path)
    module = source(file.format)
    mapping = columns.plan(wanted, module.schema(file), BatchJob(model="m", inputs=("i",), output="o", keep=keep))
    found: list = []
    for fragment in module.plan(file, 3):
        for batch in module.read(fragment, 0, 2, mapping.reads):
            faulty = FAULT in batch.schema.names
            for row in range(batch.num_rows):
                one = batch.slice(row, 1)
                bad = faulty and one.column(FAULT)[0].as_py() is not None
                found.append(None if bad else fed(mapping, one.drop_columns([FAULT]) if faulty else one))
    return found


def fed(mapping: columns.Mapping, row) -> object:
    try:
        return mapping.feeds(row)["v"][0]
    except InvalidArgument:
        return None


def online(data: bytes, kind: str, wanted: Signature) -> object:
    try:
        return read_rows(data, kind, wanted)[0].array[0]
    except InvalidArgument:
        return None


def same(one: object, other: object) -> bool:
    if isinstance(one, bytes) or one is None or other is None:
        return one == other
    return np.array_equal(one, other, equal_nan=True)


@given(st.lists(st.sampled_from(CELLS), min_size=1, max_size=6), st.sampled_from(DATATYPES), st.booleans())
def test_csv(tmp_path_factory, cells, datatype, kept):
    path = tmp_path_factory.mktemp("t") / "x.csv"
    path.write_text("v,w\n" + "".join(f"{cell},1\n" for cell in cells))
    for cell, got in zip(cells, in_batch(path, signature(datatype), ("w",) if kept else ()), strict=True):
        assert same(got, online(f"v\n{cell}\n".encode(), ".csv", signature(datatype)))


@given(st.lists(st.sampled_from(PLAIN), min_size=1, max_size=6), st.sampled_from(DATATYPES))
def test_json_lines(tmp_path_factory, values, datatype):
    path = tmp_path_factory.mktemp("t") / "x.jsonl"
    if datatype == "BYTES":
        values = ["x", *(value for value in values if isinstance(value, str))]
    path.write_text("".join(json.dumps({"v": value, "w": 1}) + "\n" for value in values))
    for value, got in zip(values, in_batch(path, signature(datatype)), strict=True):
        wanted = online(json.dumps([{"v": value}]).encode(), ".json", signature(datatype))
        assert same(got, wanted)


@pytest.mark.parametrize("datatype", ["FP32", "INT64", "UINT64"])
def test_lists_in_json_lines(tmp_path, datatype):
    values = [[1, 2], [3, 0], [2.0, 5]]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps({"v": value}) + "\n" for value in values))
    found = in_batch(tmp_path / "x.jsonl", signature(datatype, (-1, 2)))
    (wanted,) = read_rows(
        json.dumps([{"v": value} for value in values]).encode(), ".json", signature(datatype, (-1, 2))
    )
    np.testing.assert_array_equal(np.stack(found), wanted.array)
    assert found[0].dtype == wanted.array.dtype
