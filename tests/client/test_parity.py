"""The same rows answered in every mode: as JSON, as binary tensors, by gRPC, in this process, and in batch."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import tritonclient.grpc as triton
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import argosy
from argosy.client import Client
from argosy.client.local import Located, load, locate
from argosy.packaging.options import PushOptions
from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.serving.server import Replica
from argosy.spec.address import Address

ROWS = 96
CALL = 32
"""Rows of each call in every mode: a matrix product may round otherwise for other sizes."""

Answers = dict[str, Any]


def digits(folder: Path) -> tuple[Located, pd.DataFrame]:
    """A network over a table whose 64 columns have names."""
    x, y = load_digits(return_X_y=True, as_frame=True)
    x = x.astype("float32")
    model = MLPClassifier((32,), max_iter=5, random_state=0)
    with pytest.warns(UserWarning, match="iterations"):
        model.fit(x, y)
    return _packed(folder, model, x), x[-ROWS:].reset_index(drop=True)


def trips(folder: Path) -> tuple[Located, pd.DataFrame]:
    """A pipeline over numbers and text."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame(
        {
            "hour": rng.integers(0, 24, 500),
            "miles": rng.normal(8, 3, 500).astype("float32"),
            "town": rng.choice(["Zürich", "Oslo", "a 'b'"], 500),
        }
    )
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["town"]), remainder="passthrough")
    model = make_pipeline(encode, RandomForestClassifier(10, random_state=0))
    model.fit(x, (x["miles"] > x["hour"] / 2).astype(int))
    return _packed(folder, model, x), x[-ROWS:].reset_index(drop=True)


def _packed(folder: Path, model: Any, x: pd.DataFrame) -> Located:
    joblib.dump(model, folder / "model.joblib")
    x.to_parquet(folder / "sample.parquet")
    return locate(folder / "model.joblib", PushOptions(sample=folder / "sample.parquet"))


@pytest.fixture(params=[digits, trips], ids=lambda each: each.__name__)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Located, pd.DataFrame]]:
    located, rows = request.param(tmp_path)
    yield located, rows
    located.release()


def joined(parts: list[Any]) -> Answers:
    """Answers of several calls, by output, as lists."""
    return {name: np.concatenate([part[name] for part in parts]).reshape(ROWS, -1).tolist() for name in parts[0]}


def by_rest(address: str, pieces: list[pd.DataFrame], binary: bool) -> Answers:
    with Client(address) as client:
        return joined([client.predict("m", piece, binary=binary) for piece in pieces])


def by_grpc(address: str, located: Located, pieces: list[pd.DataFrame]) -> Answers:
    from argosy.packaging.package import open_package
    from argosy.packaging.rows import to_tensors

    signature = open_package(located.folder).manifest.signature
    parts: list[Any] = []
    with triton.InferenceServerClient(address) as client:
        for piece in pieces:
            inputs = []
            for tensor in to_tensors(piece, signature.inputs):
                one = triton.InferInput(tensor.name, tensor.shape, tensor.datatype)
                one.set_data_from_numpy(tensor.array)
                inputs.append(one)
            answer = client.infer("m", inputs)
            parts.append({spec.name: answer.as_numpy(spec.name) for spec in signature.outputs})
    return joined(parts)


def in_batch(located: Located, rows: pd.DataFrame, folder: Path) -> Answers:
    rows.to_parquet(folder / "in.parquet")
    argosy.batch(located.folder, folder / "in.parquet", folder / "out", batch_size=CALL, workers=1, threads=1)
    table = pd.read_parquet(folder / "out")
    return {name: [np.ravel(value).tolist() for value in table[name]] for name in table.columns}


@pytest.mark.slow
async def test_every_mode_gives_the_same_bits(case: tuple[Located, pd.DataFrame], tmp_path: Path):
    located, rows = case
    pieces = [rows[start : start + CALL] for start in range(0, ROWS, CALL)]
    model = ModelConfig(name="m", package=str(located.folder))
    http, grpc = Address(path=str(tmp_path / "r.sock")), Address(port=0)
    replica = Replica(ReplicaConfig(models=(model,), http=http, grpc=grpc))
    _, where = await replica.start()
    try:
        rest = f"unix:{http.path}"
        found = {
            "json": await asyncio.to_thread(by_rest, rest, pieces, False),
            "binary": await asyncio.to_thread(by_rest, rest, pieces, True),
            "grpc": await asyncio.to_thread(by_grpc, str(where), located, pieces),
            "batch": await asyncio.to_thread(in_batch, located, rows, tmp_path),
        }
    finally:
        await replica.drain()
    local = load(located.folder, threads=1)
    here = joined([local.predict(piece) for piece in pieces])
    local.close()
    assert len(next(iter(here.values()))) == ROWS
    for mode, answers in found.items():
        assert answers == here, mode
