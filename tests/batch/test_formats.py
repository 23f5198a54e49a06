"""A job from every format to every format: each row answered once, in order, with what was kept beside it."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from pyarrow import csv, feather, parquet

import argosy
from argosy.batch.place import place
from argosy.batch.work import FragmentRunner
from argosy.packaging.load import load
from argosy.packaging.package import open_package
from tests.batch import kit
from tests.batch.source.kit import file_of, rows_of

ROWS = 500
X = (np.random.default_rng(1).standard_normal((ROWS, 4)) * 100).astype("<f4")
NAMES = ["a,b", 'quo"te', "new\nline", "ö", ""]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return kit.home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def engine(home):
    model = load(open_package(kit.package(home, "times")), threads=1)
    yield model.engine
    model.close()


def wide() -> pa.Table:
    """A column for each number, and text that is hard to cut."""
    names = pa.array([NAMES[n % len(NAMES)] or None for n in range(ROWS)], pa.string())
    return pa.table({"id": range(ROWS), "name": names} | {f"f{n}": X[:, n] for n in range(4)})


def listed() -> pa.Table:
    """A column of lists."""
    return wide().select(["id", "name"]).append_column("x", pa.array(X.tolist(), pa.list_(pa.float32())))


def csv_bytes() -> bytes:
    data = io.BytesIO()
    csv.write_csv(wide(), data)
    return data.getvalue()


def written(folder: Path, format: str) -> Path:
    path = folder / f"in.{format}"
    if format == "parquet":
        parquet.write_table(listed(), path, row_group_size=150)
    elif format in ("arrow", "feather"):
        feather.write_feather(wide(), path, compression="uncompressed" if format == "arrow" else "lz4", chunksize=150)
    elif format.startswith("csv"):
        path.write_bytes(gzip.compress(csv_bytes()) if format.endswith("gz") else csv_bytes())
    elif format == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in listed().to_pylist()))
    elif format == "npz":
        np.savez(path, x=X, id=np.arange(ROWS), name=np.array([NAMES[n % len(NAMES)] for n in range(ROWS)]))
    return path


def done(home, engine, data: Path, output: Path, **settings) -> list[dict]:
    """The rows of the output of a job that was done in this process."""
    plan = kit.planned(kit.package(home, "times"), data, output, fragment_rows=170, **settings)
    bench = FragmentRunner(plan, engine, 64)
    bench.ledger.begin(plan)
    bench.stage.create()
    for number in range(len(bench.fragments)):
        assert kit.run(bench, number, lambda tally: None, lambda: False) is not None
    parts = [output / part.name for entry in kit.entries(output) for part in entry.parts]
    return [row for path in parts for row in read(path, plan.job.format)]


def read(path: Path, format: str) -> list[dict]:
    if format == "jsonl":
        return rows_of(file_of(path), 10**6, 10**6)
    if format == "csv":
        how = csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
        found = csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=how)
        rest = [name for name in found.column_names if name.startswith("y_")]
        return [{**row, "y": [row.pop(name) for name in rest]} for row in found.to_pylist()]
    return ds.dataset(path, format="ipc" if format == "arrow" else format).to_table().to_pylist()


@pytest.mark.parametrize("taken", ["parquet", "arrow", "feather", "csv", "csv.gz", "jsonl", "npz"])
@pytest.mark.parametrize("given", ["parquet", "arrow", "csv", "jsonl"])
def test_every_row_once_and_in_order(home, engine, tmp_path, taken, given):
    rows = done(home, engine, written(tmp_path, taken), tmp_path / "out", keep=("id", "name"), format=given)
    assert [row["id"] for row in rows] == list(range(ROWS))
    assert [row["name"] or "" for row in rows] == [NAMES[n % len(NAMES)] for n in range(ROWS)]
    assert np.array([row["y"] for row in rows], "<f4").tobytes() == (X * np.float32(2)).tobytes()


def test_folders_by_value_are_resumed_and_read_like_others(home, engine, tmp_path):
    data = written(tmp_path, "parquet")
    done(home, engine, data, tmp_path / "out", keep=("id",), partition=("name",))
    found = ds.dataset(
        tmp_path / "out", partitioning=ds.partitioning(pa.schema([("name", pa.string())]), flavor="hive")
    )
    rows = sorted(found.to_table().to_pylist(), key=lambda row: row["id"])
    assert [row["name"] for row in rows] == wide().column("name").to_pylist()
    assert np.array([row["y"] for row in rows], "<f4").tobytes() == (X * np.float32(2)).tobytes()


def test_the_files_say_which_version_answered(home, engine, tmp_path):
    done(home, engine, written(tmp_path, "parquet"), tmp_path / "out")
    found = [parquet.read_schema(path).metadata for path in (tmp_path / "out").glob("*.parquet")]
    assert all(one == found[0] for one in found)
    assert {b"argosy.model", b"argosy.digest", b"argosy.recipe", b"argosy.release"} <= set(found[0])
    assert found[0][b"argosy.digest"] == kit.DIGEST.encode()


def test_from_a_bucket_into_a_bucket(home, s3, tmp_path, monkeypatch):
    monkeypatch.setenv("ARGOSY_HOME", str(home.root))
    for number in range(3):
        spot = place(f"{s3}/job/in/{number}.parquet")
        parquet.write_table(listed().slice(number * 200, 200), tmp_path / "x.parquet", row_group_size=60)
        spot.put(tmp_path / "x.parquet")
    place(f"{s3}/job/in/_SUCCESS").put(b"")
    settings = {"keep": ["id"], "fragment_rows": 70, "workers": 2, "batch_size": 32, "partition": ["name"]}
    result = argosy.batch("times:1", f"{s3}/job/in/*.parquet", f"{s3}/job/out", **settings)
    assert (result.rows, result.out) == (ROWS, ROWS)
    rows: list[dict] = []
    for spot in place(f"{s3}/job/out").walk():
        if "/_argosy/" not in spot.url:
            rows += parquet.read_table(io.BytesIO(spot.read()), partitioning=None).to_pylist()
    rows.sort(key=lambda row: row["id"])
    assert [row["id"] for row in rows] == list(range(ROWS))
    assert np.array([row["y"] for row in rows], "<f4").tobytes() == (X * np.float32(2)).tobytes()
    assert not any(spot.name.startswith(".") for spot in place(f"{s3}/job").walk())
