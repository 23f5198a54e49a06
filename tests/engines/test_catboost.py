"""CatBoost's own files against CatBoost: numbers, categories, texts; classes of every kind; trust."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from argosy.engines import load
from argosy.packaging.rows import to_tensors
from argosy.spec.errors import BadPackage, InvalidArgument, Untrusted

cb = pytest.importorskip("catboost")
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(120, 3))
QUIET = {"iterations": 4, "verbose": 0, "thread_count": 1, "allow_writing_files": False}


def asked(path: Path, rows: Any) -> dict[str, np.ndarray]:
    engine = load("catboost", path, trusted=True, threads=1)
    found = engine.predict({each.name: each.array for each in to_tensors(rows, engine.signature.inputs)})
    assert engine.predict({spec.name: np.empty((0, *spec.shape[1:]), "f4") for spec in engine.signature.inputs})
    return {spec.name: array for spec, array in zip(engine.signature.outputs, found, strict=True)}


@pytest.mark.parametrize("names", [np.array(["no", "yes"]), np.array([3, 8]), np.array([False, True])])
def test_classes(tmp_path: Path, names: np.ndarray) -> None:
    model = cb.CatBoostClassifier(**QUIET).fit(X, names[(X[:, 0] > 0).astype(int)])
    model.save_model(str(tmp_path / "m.cbm"))
    got = asked(tmp_path / "m.cbm", X)
    np.testing.assert_array_equal(got["probabilities"], model.predict_proba(X))
    want = model.predict(X)
    assert (got["label"] == ([each.encode() for each in want] if names.dtype.kind == "U" else want)).all()
    assert load("catboost", tmp_path / "m.cbm", trusted=True).signature.outputs[1].classes == tuple(map(str, names))


@pytest.mark.parametrize("loss", ["RMSE", "Poisson", "MultiRMSE", "RMSEWithUncertainty"])
def test_regressors(tmp_path: Path, loss: str) -> None:
    target = np.abs(X[:, :2] if loss == "MultiRMSE" else X[:, 0])
    model = cb.CatBoostRegressor(loss_function=loss, **QUIET).fit(X, target)
    model.save_model(str(tmp_path / "m.cbm"))
    np.testing.assert_array_equal(asked(tmp_path / "m.cbm", X)["prediction"], model.predict(X))


def test_categories_and_texts(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "age": X[:, 0],
            "city": RANDOM.choice(["ams", "bér", "par"], len(X)),
            "code": RANDOM.choice([3, 7], len(X)),
            "note": RANDOM.choice(["a good day", "no bad thing"], len(X)),
        }
    )
    target = (frame.city == "bér") ^ (frame.code == 7)
    model = cb.CatBoostClassifier(cat_features=["city", "code"], text_features=["note"], **QUIET).fit(frame, target)
    model.save_model(str(tmp_path / "m.cbm"))
    for rows in (frame, frame.assign(age=np.nan, city="zürich", code=frame.code + 1)):
        np.testing.assert_array_equal(asked(tmp_path / "m.cbm", rows)["probabilities"], model.predict_proba(rows))


def test_what_is_not_trusted_or_no_model(tmp_path: Path) -> None:
    path = tmp_path / "m.cbm"
    cb.CatBoostRegressor(**QUIET).fit(X, X[:, 0]).save_model(str(path))
    with pytest.raises(Untrusted, match="CatBoost binary"):
        load("catboost", path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises((BadPackage, InvalidArgument)):
        load("catboost", path, trusted=True)
    path.write_bytes(b"CBM2 and more")
    with pytest.raises(BadPackage, match="no CatBoost model"):
        load("catboost", path, trusted=True)
