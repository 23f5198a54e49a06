"""Each model of the table in every mode, beside its library: on rows of its data, and on rows that were not in it."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.svm import SVC

import argosy
from argosy.client import Client
from argosy.client.local import load
from argosy.engines import Engine
from argosy.engines import load as load_engine
from argosy.packaging import convert, examine
from argosy.packaging.options import PushOptions
from argosy.packaging.package import Package, stored
from argosy.packaging.push import push
from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.serving.server import Replica
from argosy.spec.address import Address
from argosy.spec.errors import InvalidArgument
from argosy.spec.package import Tolerance
from tests.models.table import DATA, MODELS, Model

pytestmark = pytest.mark.filterwarnings("ignore")
ROWS = 40


def rows_of(x: Any) -> Any:
    """Rows of the data, and each column drawn for itself with values that the data has not."""
    random = np.random.default_rng(77)
    frame = pd.DataFrame(x) if isinstance(x, np.ndarray) else x
    drawn = frame.sample(ROWS, random_state=7, replace=True).reset_index(drop=True)
    for name in drawn.columns:
        values = frame[name].to_numpy()[random.integers(0, len(frame), ROWS)]
        if values.dtype.kind == "f":
            values = values * (1 + random.choice([0, 1e-9, 1e-3, 1.0], ROWS) * random.normal(size=ROWS))
        drawn[name] = pd.Series(values).astype(frame[name].dtype)
    both = pd.concat([frame.head(ROWS), drawn], ignore_index=True)
    return both.to_numpy() if isinstance(x, np.ndarray) else both


def original(model: Any, rows: Any, file: str = "") -> dict[str, Any]:
    """What the library says; LightGBM's own file holds the booster alone."""
    if file.endswith(".txt"):
        return {"first": model.booster_.predict(rows)}
    found = {"first": np.asarray(model.predict(rows))}
    if hasattr(model, "predict_proba"):
        found["probabilities"] = np.asarray(model.predict_proba(rows))
    return found


def check(got: Any, want: dict[str, Any], mode: str) -> None:
    """Labels equal, values within 1e-5."""
    if not isinstance(got, dict):
        got = {"first": got}
    names = list(got)
    pairs = [(got[names[0]], want["first"])]
    if "probabilities" in got and "probabilities" in want:
        pairs.append((got["probabilities"], want["probabilities"]))
    for one, other in pairs:
        one = np.asarray(
            [value.decode() if isinstance(value, bytes) else value for value in np.asarray(one).ravel().tolist()]
        )
        other = np.asarray(other).ravel()
        if other.dtype.kind == "f":
            np.testing.assert_allclose(one.astype(float), other, rtol=1e-5, atol=1e-7, err_msg=mode)
        else:
            assert one.tolist() == other.tolist(), mode


async def served(package: Package, rows: Any, socket: Path, outputs: Sequence[str] = ()) -> list[Any]:
    """Its answers as JSON, and as binary tensors."""
    config = ModelConfig(name="m", package=str(package.folder), trusted=package.trusted)
    replica = Replica(ReplicaConfig(models=(config,), http=Address(path=str(socket))))
    await replica.start()

    def ask(binary: bool) -> Any:
        with Client(f"unix:{socket}") as client:
            return client.predict("m", rows, binary=binary, outputs=outputs)

    try:
        return [await asyncio.to_thread(ask, binary) for binary in (False, True)]
    finally:
        await replica.drain()


QUICK = {"people, strict"}
"""Models that walk in every run; the others are slow."""


def cases() -> Iterator[Any]:
    """Each model with its sample, and those of plain numbers without."""
    for model in MODELS:
        marks = [] if model.name in QUICK else [pytest.mark.slow]
        yield pytest.param(model, True, id=f"{model.name}, sample", marks=marks)
        if model.data == "stamps":
            yield pytest.param(model, False, id=f"{model.name}, no sample", marks=[pytest.mark.slow])


@pytest.mark.parametrize(("model", "sampled"), list(cases()))
async def test_every_mode_answers_as_the_library(model: Model, sampled: bool, tmp_path: Path, store: Any) -> None:
    x, y = DATA[model.data]()
    fitted = model.fitted(x, y)
    path = model.save(fitted, tmp_path)
    frame = pd.DataFrame(x, columns=[f"c{place}" for place in range(x.shape[1])]) if isinstance(x, np.ndarray) else x
    frame.to_parquet(tmp_path / "x.parquet")
    options = PushOptions(sample=tmp_path / "x.parquet" if sampled else None, trust="catboost" in model.name)
    version = push(path, name="m", store=store, options=options, report=lambda line: None)
    rows = rows_of(x)
    want = original(fitted, rows, model.file)
    asked = pd.DataFrame(rows, columns=frame.columns) if sampled else rows
    package = stored(store, version.digest)
    local = load(package.folder, threads=1, trust=package.trusted)
    check(local.predict(asked), want, "load")
    for mode, answer in zip(("json", "binary"), await served(package, asked, tmp_path / "r.sock"), strict=True):
        check(answer, want, mode)
    if sampled:
        asked.to_parquet(tmp_path / "in.parquet")
        argosy.batch(
            package.folder, tmp_path / "in.parquet", tmp_path / "out", workers=1, threads=1, trust=package.trusted
        )
        table = pd.read_parquet(tmp_path / "out")
        check({name: np.stack(table[name].map(np.ravel)) for name in table.columns}, want, "batch")
    local.close()


@pytest.mark.slow
async def test_outputs_on_request_in_every_mode(tmp_path: Path, store: Any) -> None:
    x, y = DATA["plain"]()
    fitted = SVC().fit(x, y)
    joblib.dump(fitted, tmp_path / "m.joblib")
    frame = pd.DataFrame(x, columns=[f"c{place}" for place in range(x.shape[1])])
    frame.to_parquet(tmp_path / "x.parquet")
    options = PushOptions(sample=tmp_path / "x.parquet")
    version = push(tmp_path / "m.joblib", name="m", store=store, options=options, report=lambda line: None)
    folder = stored(store, version.digest).folder
    want, names = fitted.decision_function(x), ["decision_function"]
    local = load(folder, threads=1)
    found = {"load": local.predict(frame, names)}
    local.close()
    found["served"], _ = await served(stored(store, version.digest), frame, tmp_path / "r.sock", names)
    argosy.batch(folder, tmp_path / "x.parquet", tmp_path / "out", outputs=names, workers=1, threads=1, batch_size=99)
    found["batch"] = pd.read_parquet(tmp_path / "out").to_dict("series")
    for mode, answer in found.items():
        assert list(answer) == names, mode
        np.testing.assert_allclose(answer["decision_function"], want, rtol=1e-9, err_msg=mode)


REFUSING = ("boosting", "kmeans", "stacking", "logistic")


@pytest.mark.parametrize("name", REFUSING)
def test_what_the_library_refuses_is_refused(name: str, tmp_path: Path) -> None:
    """In this process: as `push` converts, and as every mode asks the engine."""
    model = next(one for one in MODELS if one.name == name)
    x, y = DATA[model.data]()
    fitted = model.make().fit(x, y)
    joblib.dump(fitted, tmp_path / "m.joblib")
    np.save(tmp_path / "x.npy", x)
    engine = converted(tmp_path / "m.joblib", tmp_path / "x.npy", tmp_path)
    for value in (np.nan, np.inf, -np.inf):
        row = x[:2].copy()
        row[1, 3] = value
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            fitted.predict(row)
        with pytest.raises(InvalidArgument, match=r"row 1, element \[3\]|NaN|infinity"):
            engine.predict({"x": row})
    assert engine.signature.inputs[0].nullable is False


def converted(path: Path, sample: Path, into: Path) -> Engine:
    """The engine that a push comes to."""
    task = examine.Task(
        engine="sklearn", weights=str(path), settings={}, sample=str(sample), tolerance=Tolerance(), into=str(into)
    )
    task = msgspec.structs.replace(task, signature=examine.examine(task).signature)
    verdict, signature = convert.convert(task)
    if not verdict.converted:
        return load_engine("sklearn", path, signature=task.signature)
    return load_engine("onnx", into / convert.MODEL, signature=signature)
