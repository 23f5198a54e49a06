"""XGBoost and LightGBM: parity, missing values, threads."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from argosy.engines import load
from argosy.spec.errors import BadPackage, InvalidArgument
from argosy.spec.signature import Signature, TensorSpec

lgb = pytest.importorskip("lightgbm")
xgb = pytest.importorskip("xgboost")

IRIS, CANCER, DIABETES = (loader(return_X_y=True) for loader in (load_iris, load_breast_cancer, load_diabetes))


def holed(x: np.ndarray, dtype: str) -> np.ndarray:
    """The rows with every seventh value missing, and an infinity."""
    x = x.astype(dtype)
    x.reshape(-1)[::7] = np.nan
    x[0, 1] = np.inf
    return x


def xgboost(data, objective: str, path: Path, **extra) -> Path:
    xgb.train({"objective": objective, "nthread": 1, **extra}, xgb.DMatrix(*data), 5).save_model(path)
    return path


def lightgbm(data, objective: str, path: Path, **extra) -> Path:
    parameters = {"objective": objective, "verbosity": -1, "num_threads": 1, "num_leaves": 7, **extra}
    lgb.train(parameters, lgb.Dataset(*data), 5).save_model(path)
    return path


@pytest.mark.parametrize(
    ("data", "objective", "extra", "name", "shape"),
    [
        (IRIS, "multi:softprob", {"num_class": 3}, "probabilities", (-1, 3)),
        (IRIS, "multi:softmax", {"num_class": 3}, "label", (-1,)),
        (CANCER, "binary:logistic", {}, "probability", (-1,)),
        (DIABETES, "reg:squarederror", {}, "prediction", (-1,)),
        (CANCER, "binary:logistic", {"num_parallel_tree": 2, "subsample": 0.5}, "probability", (-1,)),
        (DIABETES, "reg:squarederror", {"booster": "gblinear"}, "prediction", (-1,)),
    ],
)
@pytest.mark.parametrize("kind", ["json", "ubj", ""])
@pytest.mark.filterwarnings("ignore:.*Unknown file format:UserWarning")
@pytest.mark.filterwarnings("ignore:.*gblinear. is deprecated:UserWarning")
def test_xgboost_objectives(tmp_path: Path, data, objective: str, extra, name: str, shape, kind: str) -> None:
    path = xgboost(data, objective, tmp_path / f"m.{kind or 'ubj'}", **extra)
    if not kind:
        path = path.rename(tmp_path / "weights")
    engine = load("xgboost", path, threads=1)
    (output,) = engine.signature.outputs
    assert (output.name, output.shape) == (name, shape)
    x = data[0].astype("f4") if extra.get("booster") == "gblinear" else holed(data[0], "f4")
    booster = xgb.Booster(model_file=bytearray(path.read_bytes()))
    want = booster.predict(xgb.DMatrix(x)) if "booster" in extra else booster.inplace_predict(x)
    np.testing.assert_array_equal(engine.predict({"x": x})[0], want)
    assert engine.predict({"x": x[:1]})[0].shape == (1, *shape[1:])
    assert engine.predict({"x": x[:0]})[0].shape == (0, *shape[1:])


@pytest.mark.parametrize(
    ("data", "objective", "extra", "name", "shape"),
    [
        (IRIS, "multiclass", {"num_class": 3}, "probabilities", (-1, 3)),
        (IRIS, "multiclassova", {"num_class": 3}, "probabilities", (-1, 3)),
        (CANCER, "binary", {}, "probability", (-1,)),
        (DIABETES, "regression", {}, "prediction", (-1,)),
        (DIABETES, "regression", {"linear_tree": True}, "prediction", (-1,)),
        (CANCER, "binary", {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, "probability", (-1,)),
    ],
)
def test_lightgbm_objectives(tmp_path: Path, data, objective: str, extra, name: str, shape) -> None:
    path = lightgbm(data, objective, tmp_path / "m.txt", **extra)
    engine = load("lightgbm", path, threads=1)
    (output,) = engine.signature.outputs
    assert (output.name, output.shape, output.datatype) == (name, shape, "FP64")
    x = holed(data[0], "f8")
    np.testing.assert_array_equal(engine.predict({"x": x})[0], lgb.Booster(model_file=path).predict(x))
    assert engine.predict({"x": x[:1]})[0].shape == (1, *shape[1:])
    assert engine.predict({"x": x[:0]})[0].shape == (0, *shape[1:])


def test_lightgbm_from_several_threads(tmp_path: Path) -> None:
    engine = load("lightgbm", lightgbm(CANCER, "binary", tmp_path / "m.txt"), threads=2)
    x = np.tile(CANCER[0], (2, 1))
    want = engine.predict({"x": x})[0]
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda at: engine.predict({"x": x[at : at + 10]})[0], range(0, len(x), 10)))
    np.testing.assert_array_equal(np.concatenate(parts), want)


def test_xgboost_uses_its_threads_for_large_batches(tmp_path: Path) -> None:
    engine = load("xgboost", xgboost(CANCER, "binary:logistic", tmp_path / "m.ubj"), threads=2)
    x = np.tile(CANCER[0].astype("f4"), (2, 1))
    large = engine.predict({"x": x})[0]
    small = np.concatenate([engine.predict({"x": x[at : at + 100]})[0] for at in range(0, len(x), 100)])
    np.testing.assert_array_equal(large, small)


def test_early_stopping_is_followed_for_scikit_learn_classes(tmp_path: Path) -> None:
    x, y = CANCER
    model = xgb.XGBClassifier(n_estimators=60, early_stopping_rounds=2, max_depth=6, learning_rate=1.0, n_jobs=1)
    model.fit(x[:300], y[:300], eval_set=[(x[300:], y[300:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    model.save_model(tmp_path / "m.ubj")
    label, scores = load("xgboost", tmp_path / "m.ubj").predict({"x": x.astype("f4")})
    np.testing.assert_array_equal(label, model.predict(x))
    np.testing.assert_array_equal(scores, model.predict_proba(x))


def test_classes_of_an_earlier_version(tmp_path: Path) -> None:
    booster = xgb.train({"objective": "multi:softprob", "num_class": 3, "nthread": 1}, xgb.DMatrix(*IRIS), 3)
    about = {"_estimator_type": "classifier", "n_classes_": 3, "_le": {"classes_": ["a", "b", "c"]}}
    booster.set_attr(scikit_learn=json.dumps(about))
    booster.save_model(tmp_path / "m.json")
    label, scores = load("xgboost", tmp_path / "m.json").signature.outputs
    assert label.classes == scores.classes == ("a", "b", "c")


def test_feature_names_become_columns(tmp_path: Path) -> None:
    names = ["sepal length (cm)", "b", "c", "é"]
    x, y = IRIS
    data = lgb.Dataset(x, y, feature_name=["sepal_length", "b", "c", "é"])
    lgb.train({"objective": "regression", "verbosity": -1}, data, 3).save_model(tmp_path / "l.txt")
    xgb.train({}, xgb.DMatrix(x, y, feature_names=names), 3).save_model(tmp_path / "x.json")
    engine = load("xgboost", tmp_path / "x.json")
    assert engine.signature.inputs[0].columns == tuple(names)
    assert load("lightgbm", tmp_path / "l.txt").signature.inputs[0].columns == ("sepal_length", "b", "c", "é")
    shuffled = TensorSpec(name="x", datatype="FP32", shape=(-1, 4), columns=tuple(reversed(names)))
    with pytest.raises(BadPackage, match="order"):
        load(
            "xgboost",
            tmp_path / "x.json",
            signature=Signature(inputs=(shuffled,), outputs=engine.signature.outputs),
        )


def test_a_signature_of_another_width_is_refused(tmp_path: Path) -> None:
    path = lightgbm(CANCER, "binary", tmp_path / "m.txt")
    good = load("lightgbm", path).signature
    wide = TensorSpec(name="x", datatype="FP64", shape=(-1, 31))
    with pytest.raises(BadPackage, match=r"\[-1, 31\]"):
        load("lightgbm", path, signature=Signature(inputs=(wide,), outputs=good.outputs))
    with pytest.raises(InvalidArgument, match="no setting"):
        load("lightgbm", path, settings={"num_threads": 1})


@pytest.mark.parametrize("part", [0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.999])
@pytest.mark.parametrize("kind", ["json", "ubj", "txt"])
def test_cut_files(tmp_path: Path, part: float, kind: str) -> None:
    path = tmp_path / f"m.{kind}"
    engine = "lightgbm" if kind == "txt" else "xgboost"
    lightgbm(CANCER, "binary", path) if kind == "txt" else xgboost(CANCER, "binary:logistic", path)
    data = path.read_bytes()
    end = data.index(b"end of parameters") - 5 if part == 0.999 and kind == "txt" else int(len(data) * part)
    path.write_bytes(data[:end])
    with pytest.raises(BadPackage):
        load(engine, path)


@pytest.mark.parametrize("engine", ["xgboost", "lightgbm"])
@pytest.mark.parametrize(
    "data",
    [b"garbage", b"{}", b"{}" * 20, b'{"learner": {}}      ', b"tree\nversion=v4\n\n", b"binf" * 9, b"\xff" * 99],
)
def test_garbage(tmp_path: Path, engine: str, data: bytes) -> None:
    (tmp_path / "m").write_bytes(data)
    with pytest.raises(BadPackage):
        load(engine, tmp_path / "m")
    with pytest.raises(BadPackage, match="folder"):
        load(engine, tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\nleft_child=", b"\nleft_child=9"),
        (b"\nsplit_feature=", b"\nsplit_feature=99"),
        (b"Tree=1", b"Tree=7"),
        (b"tree_sizes=", b"tree_sizes=9"),
        (b"max_feature_idx=29", b"max_feature_idx=39"),
        (b"num_leaves=7", b"num_leaves=x"),
    ],
)
def test_lightgbm_files_that_would_crash_it(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = lightgbm(CANCER, "binary", tmp_path / "m.txt")
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    with pytest.raises(BadPackage, match="not a whole LightGBM model"):
        load("lightgbm", path)
