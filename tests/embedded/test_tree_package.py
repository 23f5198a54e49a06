"""Packages of every engine with trees become C, which answers the golden examples; others are refused by name."""

import sys

import joblib
import numpy as np
import pytest

from argosy.client.local import locate
from argosy.embedded import formats, tree_package
from argosy.embedded.export import generate
from argosy.packaging.load import load
from argosy.packaging.options import PushOptions
from argosy.spec.errors import Unsupported
from tests.embedded.kinds import ROWS, adversarial, data


@pytest.fixture
def pushed(tmp_path):
    """A package of a model that a function saves at a path."""
    located = []

    def push(name, save, **options):
        save(str(tmp_path / name))
        located.append(locate(tmp_path / name, PushOptions(**options)))
        return located[-1].open()

    yield push
    for each in located:
        each.release()


def towns():
    """Rows of a column of texts and one of numbers, for pandas."""
    import pandas as pd

    random = np.random.default_rng(0)
    names = random.choice(["Bern", "Köln", "Zürich"], 300)
    frame = pd.DataFrame({"town": pd.Categorical(names), "size": random.normal(size=300)})
    return frame, frame["size"] + (names == "Köln") * 3


def answers(made, compiled):
    found, refused = compiled(made.code).ask(made.vectors.inputs[0])
    assert not refused
    for got, want in zip(found, made.vectors.outputs, strict=True):
        assert np.allclose(got, want, rtol=1e-6)


def test_lightgbm_with_categories_is_served_without_it(pushed, compiled, monkeypatch):
    import lightgbm as lgb

    frame, y = towns()
    booster = lgb.train({"verbose": -1, "min_data_per_group": 1}, lgb.Dataset(frame, y), 5)
    package = pushed("model.txt", booster.save_model)
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    found = np.asarray(load(package).predict(frame))
    assert np.allclose(found, booster.predict(frame), rtol=1e-12)
    made = generate(package, "towns", "towns:1")
    assert "[0] takes 1 for 'K\\xf6ln'" in made.code.header
    answers(made, compiled)


@pytest.mark.slow
def test_xgboost_with_categories(pushed, compiled):
    import xgboost as xgb

    frame, y = towns()
    frame["town"] = frame["town"].cat.rename_categories({"Köln": "Koeln", "Zürich": "Zuerich"})
    booster = xgb.train({"nthread": 1}, xgb.DMatrix(frame, y, enable_categorical=True), 5)
    made = generate(pushed("model.ubj", booster.save_model), "towns", "towns:1")
    assert "[0] takes 2 for 'Zuerich'" in made.code.header
    answers(made, compiled)


def test_an_xgboost_classifier_gives_labels(pushed, compiled):
    import xgboost as xgb

    model = xgb.XGBClassifier(n_estimators=5, n_jobs=1).fit(*data("breast_cancer"))
    made = generate(pushed("model.json", model.save_model), "cancer", "cancer:1")
    assert [port.kind for port in made.code.outputs] == ["int32_t", "float"]
    answers(made, compiled)


@pytest.mark.slow
def test_histograms_with_categories_of_scikit_learn(pushed, compiled, tmp_path):
    from sklearn.ensemble import HistGradientBoostingRegressor

    frame, y = towns()
    model = HistGradientBoostingRegressor(max_iter=5, categorical_features="from_dtype").fit(frame, y)
    frame.head(50).to_csv(tmp_path / "sample.csv", index=False)
    package = pushed("model.joblib", lambda path: joblib.dump(model, path), sample=tmp_path / "sample.csv", trust=True)
    made = generate(package, "towns", "towns:1")
    assert "[0] takes 0 for 'Bern'" in made.code.header
    answers(made, compiled)


@pytest.mark.slow
def test_histograms_with_numbers_as_categories_are_served_by_onnxruntime(pushed, compiled, tmp_path):
    from sklearn.ensemble import HistGradientBoostingRegressor

    x, y = data("diabetes")
    x = np.column_stack([x[:, :3], np.arange(len(x)) % 7])
    model = HistGradientBoostingRegressor(max_iter=5, categorical_features=[3]).fit(x, y + 50 * x[:, 3])
    np.save(tmp_path / "sample.npy", x)
    package = pushed("model.joblib", lambda path: joblib.dump(model, path), trust=True, sample=tmp_path / "sample.npy")
    assert (package.manifest.engine, package.manifest.conversion.converted) == ("onnx", True)
    answers(generate(package, "m", "m:1"), compiled)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["model.json", "model.joblib"])
def test_boosters_are_served_and_exported_as_onnx(pushed, file):
    import xgboost as xgb

    x, y = data("breast_cancer")
    model = xgb.XGBClassifier(n_estimators=5, n_jobs=1).fit(x, y)
    package = pushed(file, model.save_model if file == "model.json" else lambda path: joblib.dump(model, path))
    assert (package.manifest.engine, package.manifest.conversion.converted) == ("onnx", True)
    assert "sooner than xgboost does" in package.manifest.conversion.reason
    found = load(package).predict(x)
    assert np.allclose(found["probabilities"], model.predict_proba(x), rtol=1e-5)
    assert list(formats.onnx(package, "cancer:1")) == ["model.onnx"]


@pytest.mark.slow
def test_labels_that_are_texts_are_numbers_in_c(pushed, compiled):
    from sklearn.tree import DecisionTreeClassifier

    x, y = data("iris")
    model = DecisionTreeClassifier(max_depth=2).fit(x, np.array(["setosa", "versicolor", "virginica"])[y])
    made = generate(pushed("model.joblib", lambda path: joblib.dump(model, path)), "iris", "iris:1")
    assert "2 stands for 'virginica'" in made.code.header
    answers(made, compiled)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scaler", "kind"),
    [
        ("StandardScaler", "RandomForestClassifier"),
        ("MinMaxScaler", "HistGradientBoostingClassifier"),
        ("MaxAbsScaler", "RandomForestClassifier"),
    ],
)
def test_a_scaler_is_folded_into_thresholds_and_changes_no_answer(pushed, compiled, scaler, kind):
    import sklearn.ensemble
    import sklearn.preprocessing
    from sklearn.pipeline import make_pipeline

    more = {"max_iter": 5} if kind.startswith("Hist") else {"n_estimators": 10, "max_depth": 6}
    x, y = data("breast_cancer")
    estimator = getattr(sklearn.ensemble, kind)(random_state=0, **more)
    model = make_pipeline(getattr(sklearn.preprocessing, scaler)(), estimator).fit(x, y)
    package = pushed("model.joblib", lambda path: joblib.dump(model, path))
    form, _ = tree_package.read(package)
    rows = adversarial(form, x, ROWS, gaps=False, infinite=False)
    rows = np.where(np.abs(rows) > 1e30, np.float32(0), rows)
    found, refused = compiled(generate(package, "model", "model:1").code).ask(rows)
    assert not refused
    wide = rows.astype(np.float64)
    assert np.array_equal(found[0][:, 0], model.predict(wide))
    assert np.allclose(found[1], model.predict_proba(wide), rtol=1e-6, atol=1e-7)


def test_a_step_that_has_no_c_is_named(pushed):
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(PCA(3), RandomForestClassifier(n_estimators=3)).fit(*data("iris"))
    package = pushed("model.joblib", lambda path: joblib.dump(model, path))
    with pytest.raises(Unsupported, match=r"the step PCA of the pipeline .* cannot be written in C"):
        generate(package, "iris", "iris:1")


@pytest.mark.slow
def test_linear_trees_are_refused(pushed):
    import lightgbm as lgb

    x, y = data("diabetes")
    booster = lgb.train({"verbose": -1, "linear_tree": True}, lgb.Dataset(x, y, params={"linear_tree": True}), 2)
    package = pushed("model.txt", booster.save_model)
    with pytest.raises(Unsupported, match="linear trees"):
        generate(package, "m", "m:1")


@pytest.mark.slow
def test_a_model_without_trees_is_refused(pushed):
    from sklearn.svm import SVC

    package = pushed("model.joblib", lambda path: joblib.dump(SVC().fit(*data("iris")), path), convert=False)
    with pytest.raises(
        Unsupported, match="a model of sklearn, neither trees nor a network; it was not converted to onnx: conversion"
    ):
        generate(package, "m", "m:1")
