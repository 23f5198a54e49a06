"""XGBoost and LightGBM models trained on categories of pandas, as files and in pickles, against the libraries."""

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from argosy.engines import load
from argosy.engines.base import Engine
from argosy.packaging.rows import to_tensors
from argosy.spec.errors import InvalidArgument

lgb = pytest.importorskip("lightgbm")
xgb = pytest.importorskip("xgboost")

RANDOM = np.random.default_rng(0)
ROWS = 200
RAW = pd.DataFrame(
    {
        "age": RANDOM.integers(18, 80, ROWS).astype(float),
        "city": RANDOM.choice(["ams", "ber", "par"], ROWS),
        "code": RANDOM.choice([3, 7, 9], ROWS),
    }
)
TARGET = ((RAW.age > 40) ^ (RAW.city == "ber") ^ (RAW.code == 7)).astype(int)


def typed(raw: pd.DataFrame) -> pd.DataFrame:
    return raw.assign(city=raw.city.astype("category"), code=raw.code.astype("category"))


def asked(engine: Engine, raw: Any) -> list[np.ndarray]:
    return engine.predict({each.name: each.array for each in to_tensors(raw, engine.signature.inputs)})


@pytest.fixture(scope="module")
def xgboost() -> Any:
    return xgb.XGBClassifier(n_estimators=5, n_jobs=1, enable_categorical=True).fit(typed(RAW), TARGET)


@pytest.fixture(scope="module")
def lightgbm() -> Any:
    names = TARGET.map({0: "no", 1: "yes"})
    return lgb.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1, min_child_samples=2).fit(typed(RAW), names)


@pytest.mark.parametrize("kind", ["json", "ubj", "joblib"])
def test_xgboost(tmp_path: Path, xgboost: Any, kind: str) -> None:
    path = tmp_path / f"m.{kind}"
    joblib.dump(xgboost, path) if kind == "joblib" else xgboost.save_model(path)
    engine = load("sklearn" if kind == "joblib" else "xgboost", path)
    assert [spec.datatype for spec in engine.signature.inputs][1:] == ["BYTES", "FP64"]
    label, scores = asked(engine, RAW)
    np.testing.assert_array_equal(label, xgboost.predict(typed(RAW)))
    np.testing.assert_array_equal(scores, xgboost.predict_proba(typed(RAW)))
    gaps = RAW.assign(city=RAW.city.where(RAW.city != "par", None), age=np.nan)
    np.testing.assert_array_equal(asked(engine, gaps)[1], xgboost.predict_proba(typed(gaps)))
    with pytest.raises(InvalidArgument, match="'city', row 3: 'zürich' is no category"):
        asked(engine, RAW.assign(city=["zürich" if row == 3 else city for row, city in enumerate(RAW.city)]))
    with pytest.raises(InvalidArgument, match="'code', row 0: '8' is"):
        asked(engine, RAW.assign(code=8))


def test_xgboost_cuts_texts_beyond_ascii(tmp_path: Path) -> None:
    raw = RAW.assign(city=RAW.city.replace("ber", "bér"))
    model = xgb.XGBClassifier(n_estimators=2, n_jobs=1, enable_categorical=True).fit(typed(raw), TARGET)
    model.save_model(tmp_path / "m.ubj")
    with pytest.raises(InvalidArgument, match="letters beyond ASCII"):
        load("xgboost", tmp_path / "m.ubj")


@pytest.mark.parametrize("kind", ["txt", "joblib"])
def test_lightgbm(tmp_path: Path, lightgbm: Any, kind: str) -> None:
    path = tmp_path / f"m.{kind}"
    joblib.dump(lightgbm, path) if kind == "joblib" else lightgbm.booster_.save_model(path)
    engine = load("sklearn" if kind == "joblib" else "lightgbm", path)
    odd = RAW.assign(city=["zürich" if row % 3 else city for row, city in enumerate(RAW.city)], age=np.nan, code=8)
    for raw in (RAW, odd, RAW.assign(city=RAW.city.where(RAW.city != "par", None))):
        want = lightgbm.predict_proba(typed(raw))
        got = asked(engine, raw)[-1]
        np.testing.assert_array_equal(got, want if kind == "joblib" else want[:, 1])
    if kind == "joblib":
        assert set(asked(engine, RAW)[0]) == {b"no", b"yes"}


def test_an_empty_text_that_is_a_category(tmp_path: Path) -> None:
    raw = RAW.assign(city=RAW.city.replace({"par": "", "ber": "bér"}))
    model = lgb.train({"verbosity": -1, "num_threads": 1}, lgb.Dataset(typed(raw), TARGET), 5)
    model.save_model(tmp_path / "m.txt")
    engine = load("lightgbm", tmp_path / "m.txt")
    assert not engine.signature.inputs[1].nullable
    np.testing.assert_array_equal(asked(engine, raw)[0], model.predict(typed(raw)))


def test_truth_values_are_categories(tmp_path: Path) -> None:
    raw = RAW.assign(city=RAW.city == "par")
    model = lgb.train({"verbosity": -1, "num_threads": 1}, lgb.Dataset(typed(raw), TARGET), 5)
    model.save_model(tmp_path / "m.txt")
    engine = load("lightgbm", tmp_path / "m.txt")
    assert engine.signature.inputs[1].datatype == "BOOL"
    np.testing.assert_array_equal(asked(engine, raw)[0], model.predict(typed(raw)))


def test_ordered_categories_do_not_say_their_column(tmp_path: Path) -> None:
    frame = typed(RAW).assign(size=pd.Categorical(RANDOM.choice(["s", "l"], ROWS), ordered=True))
    model = lgb.train({"verbosity": -1, "num_threads": 1}, lgb.Dataset(frame, TARGET), 2)
    model.save_model(tmp_path / "m.txt")
    with pytest.raises(InvalidArgument, match="3 columns"):
        load("lightgbm", tmp_path / "m.txt")
