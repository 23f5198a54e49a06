from datetime import timedelta

import duckdb
import numpy as np
import polars as pl
import pytest

from argosy.spec.errors import InvalidArgument, NotFound
from argosy.spec.signature import Signature, TensorSpec
from argosy.store.payloads import layout
from argosy.store.payloads.query import Query, read
from tests.store.payloads.kit import HOUR, NOON, encoder, record, request, writer


@pytest.fixture
def root(tmp_path):
    log = writer(tmp_path / "log")
    log.write([record(n, time=NOON + n * HOUR, code=500 if n == 3 else 200) for n in range(5)])
    writer(tmp_path / "log", endpoint="secret").write([record(99)])
    return tmp_path / "log"


def ids(root, **query):
    return read(root, Query(endpoint="digits", **query)).table.column("request_id").to_pylist()


def test_rows_oldest_first(root):
    assert ids(root) == ["r0", "r1", "r2", "r3", "r4"]
    assert ids(root, limit=2) == ["r3", "r4"]
    names = read(root, Query(endpoint="digits")).table.column_names
    assert names[:3] == ["request_id", "row", "rows"]
    assert set(names[-3:]) == {"endpoint", "version", "hour"}


def test_conditions(root):
    assert ids(root, where="code >= 500") == ["r3"]
    assert ids(root, where='"input.age" > 2 AND "input.country" = \'FR\'') == ["r3", "r4"]
    assert ids(root, where="input.age > 2 OR output.label IS NULL -- a comment") == ["r3", "r4"]
    noon = layout.hour_of(NOON)
    assert ids(root, since=noon + timedelta(hours=1), until=noon + timedelta(hours=2)) == ["r1", "r2"]
    assert ids(root, where="version = '2'") == []


def test_a_version_of_another_signature_lies_beside_the_first(root):
    signature = Signature(inputs=(TensorSpec(name="Age", datatype="FP64", shape=(-1,)),), outputs=())
    late = request("late", {"Age": np.array([7.0])}, time=NOON + 6 * HOUR)
    writer(root, version="2", made=encoder(signature)).write([late])
    assert ids(root, where="version = '2'") == ["late"]
    assert ids(root, where="input.country = 'FR'")[-1] == "r4"


@pytest.mark.parametrize(
    "where",
    [
        "(SELECT count(*) FROM read_text('{secret}')) > 0",
        "(SELECT count(*) FROM read_parquet('{other}')) > 0",
        "(SELECT count(*) FROM '{other}') > 0",
        "(SELECT count(*) FROM glob('/etc/*')) > 0",
        "(SELECT count(*) FROM read_csv('/etc/passwd')) > 0",
        "true); COPY payload TO '{out}'; SELECT (true",
        "true); SET enable_external_access = true; SELECT (true",
        "true) UNION ALL (SELECT * FROM read_blob('/etc/passwd')",
        "true); ATTACH '{out}' AS other; SELECT (true",
        "true); INSTALL httpfs; SELECT (true",
        "true); DROP VIEW payload; SELECT (true",
        "(",
        "no_such_column = 1",
        "(SELECT count(*) FROM read_parquet('http://127.0.0.1:9/x.parquet')) > 0",
    ],
)
def test_a_hostile_condition_reaches_nothing(root, tmp_path, where):
    (tmp_path / "token").write_text("secret")
    other = next(root.glob("endpoint=secret/*/*/*.parquet"))
    out = tmp_path / "out"
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InvalidArgument, match="the condition"):
        read(root, Query(endpoint="digits", where=where.format(secret=tmp_path / "token", other=other, out=out)))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_hostile_column_name(tmp_path):
    name = "a\"b'; DROP TABLE x; --\n"
    signature = Signature(inputs=(TensorSpec(name=name, datatype="FP64", shape=(-1,)),), outputs=())
    writer(tmp_path, made=encoder(signature)).write([request("r1", {name: np.array([7.0])})])
    table = read(tmp_path, Query(endpoint="digits")).table
    assert table.column("input.a\"b'; DROP TABLE x; --?").to_pylist() == [7.0]


def test_a_file_cut_short_is_told_and_the_rest_is_read(root):
    first = root / layout.segments(root, "digits")[0].key
    first.write_bytes(first.read_bytes()[:-20])
    answer = read(root, Query(endpoint="digits"))
    assert answer.table.num_rows == 4
    assert [each.key for each in answer.broken] == [first.relative_to(root).as_posix()]
    assert read(root, Query(endpoint="digits")).broken == ()


def test_nothing_there(root):
    with pytest.raises(NotFound, match="there are logs of digits, secret"):
        read(root, Query(endpoint="digit"))
    assert read(root, Query(endpoint="digits", since=layout.hour_of(NOON) + timedelta(days=9))).table.num_rows == 0


def test_other_readers_see_the_same(root):
    there = f"{root}/endpoint=digits/**/*.parquet"
    assert duckdb.sql(f"SELECT count(*), min(version) FROM read_parquet('{there}')").fetchall() == [(5, 1)]
    frame = pl.scan_parquet(root / "endpoint=digits", hive_partitioning=True).filter(pl.col("input.age") > 2).collect()
    assert sorted(frame["request_id"]) == ["r3", "r4"]
