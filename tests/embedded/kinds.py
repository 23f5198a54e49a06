"""Models of trees of every kind, each with rows that try it and what its library answers for them."""

import json
import warnings
from typing import NamedTuple

import numpy as np

from argosy.embedded import trees
from argosy.embedded.code import Port
from argosy.engines.trees import lightgbm, xgboost
from argosy.engines.trees import sklearn as trees_of_sklearn

ROWS = 10_000


class Tried(NamedTuple):
    """A form, rows of float32, and the library's labels (None: it gives none) and scores."""

    form: object
    rows: np.ndarray
    labels: np.ndarray | None
    scores: np.ndarray


def data(name):
    from sklearn import datasets

    return getattr(datasets, f"load_{name}")(return_X_y=True)


def holed(x, share=0.05):
    x = x.copy()
    x[np.random.default_rng(1).random(x.shape) < share] = np.nan
    return x


def categorical():
    """Diabetes with two columns of categories, 3 and 11, and missing values."""
    x, y = data("diabetes")
    random = np.random.default_rng(3)
    codes = random.integers(0, 12, (len(x), 2)) * 3
    x = np.column_stack([x[:, :3], codes[:, 0], x[:, 3:], codes[:, 1]])
    return holed(x, 0.03), y + codes[:, 0] * 20 - codes[:, 1] % 5 * 30


def adversarial(form, x, count, *, gaps=True, infinite=True, categories=(), codes=()):
    """Rows on thresholds and beside them, with zeros of both signs, NaN and infinities."""
    random = np.random.default_rng(0)
    rows = np.asarray(x, np.float32)[random.integers(0, len(x), count)].copy()
    splits = np.flatnonzero((form.feature >= 0) & ~np.isin(np.arange(len(form.feature)), list(form.sets)))
    for _ in range(1 + form.width // 8):
        picked = random.choice(splits, count)
        with np.errstate(over="ignore"):
            value = form.threshold[picked].astype(np.float32)
            beside = [np.nextafter(value, np.float32(way)) for way in (-np.inf, np.inf)]
        step = random.integers(0, 4, count)
        rows[np.arange(count), form.feature[picked]] = np.choose(step, [*beside, value, value])
    special = [0.0, -0.0, 1e-36, -1e-36, 1e-35, -1e-35, 3e38, -3e38]
    special += ([np.nan] * 3 if gaps else []) + ([np.inf, -np.inf] if infinite else [])
    numeric = [column for column in range(form.width) if column not in categories]
    for row in range(count // 2):
        rows[row, random.choice(numeric)] = random.choice(special)
    for column in categories:
        some = random.integers(0, count, count // 5)
        rows[some, column] = random.choice(codes, len(some))
    if not infinite:
        rows = np.where(np.isinf(rows), np.float32(3e38), rows)
    return rows


def of_sklearn(name, dataset, count, gaps=True, **more):
    """A forest takes missing values, and no infinities; classical boosting takes neither."""
    import sklearn.ensemble
    import sklearn.tree

    histogram = name.startswith("Hist")
    x, y = dataset if isinstance(dataset, tuple) else data(dataset)
    x = holed(x) if histogram and "categorical_features" not in more else x
    model = getattr(sklearn.ensemble, name, None) or getattr(sklearn.tree, name)
    model = model(random_state=0, **more).fit(x, y)
    form = trees_of_sklearn.read(model)
    columns = more.get("categorical_features", ())
    unknown = [-1, -0.5, 1, 2.5, 36, 1000, 3.3e9, np.nan, 3]
    rows = adversarial(form, np.nan_to_num(x), count, gaps=gaps, infinite=histogram, categories=columns, codes=unknown)
    with np.errstate(all="ignore"):  # scikit-learn sums its input to find what is not finite
        if hasattr(model, "classes_"):
            return Tried(form, rows, model.predict(rows), model.predict_proba(rows))
        return Tried(form, rows, None, model.predict(rows.astype(float) if histogram else rows))


def of_lightgbm(dataset, count, **parameters):
    import lightgbm as lgb

    x, y = dataset if isinstance(dataset, tuple) else data(dataset)
    columns = parameters.pop("columns", [])
    group = [100] * 17 + [97] if parameters["objective"] == "lambdarank" else None
    train = lgb.Dataset(x, y, params={"verbose": -1}, group=group, categorical_feature=columns or "auto")
    booster = lgb.train({"verbose": -1, "num_leaves": 15, "min_data_in_leaf": 5, **parameters}, train, 10)
    form = lightgbm.read(booster.model_to_string())
    unknown = [-1, -0.5, -0.99, 1, 2.5, 36, 1000, 3.3e9, np.nan, np.inf, -np.inf, 3]
    rows = adversarial(form, x, count, categories=columns, codes=unknown)
    return Tried(form, rows, None, booster.predict(rows.astype(float)))


def of_xgboost(dataset, count, labelled=False, types=None, **parameters):
    import xgboost as xgb

    x, y = dataset if isinstance(dataset, tuple) else data(dataset)
    train = xgb.DMatrix(x, y, feature_types=types, enable_categorical=bool(types))
    if parameters["objective"].startswith("rank"):
        train.set_group([100] * 17 + [97])
    booster = xgb.train({"max_depth": 5, "nthread": 1, **parameters}, train, 10)
    form = xgboost.read(json.loads(bytes(booster.save_raw("json"))), labelled=labelled)
    columns = [place for place, kind in enumerate(types or ()) if kind == "c"]
    rows = adversarial(form, x, count, infinite=False, categories=columns, codes=[1, 2.5, 36, 1000, np.nan, 3])
    found = booster.inplace_predict(rows)
    if not labelled:
        return Tried(form, rows, None, found)
    if found.ndim == 1:
        return Tried(form, rows, found > 0.5, np.stack([1 - found, found], axis=1))
    return Tried(form, rows, found.argmax(axis=1), found)


def of_estimator(library, kind, dataset, count, **more):
    """The estimators that LightGBM and XGBoost have for scikit-learn."""
    import importlib

    x, y = data(dataset)
    quiet = {"verbose": -1, "n_jobs": 1} if library == "lightgbm" else {"n_jobs": 1}
    model = getattr(importlib.import_module(library), kind)(n_estimators=10, **quiet, **more).fit(x, y)
    form = trees_of_sklearn.read(model)
    rows = adversarial(form, x, count, infinite=library == "lightgbm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if hasattr(model, "classes_"):
            return Tried(form, rows, model.predict(rows), model.predict_proba(rows))
        return Tried(form, rows, None, model.predict(rows))


def ranks():
    x, y = data("digits")
    return x, y % 4


def two():
    x, y = data("diabetes")
    return x, np.stack([y, 2 * y], axis=1)


KINDS = {
    "forest": lambda n: of_sklearn("RandomForestClassifier", "digits", n, n_estimators=20, max_depth=8),
    "extra trees": lambda n: of_sklearn("ExtraTreesClassifier", "breast_cancer", n, n_estimators=20),
    "tree": lambda n: of_sklearn("DecisionTreeClassifier", "breast_cancer", n),
    "forest regressor": lambda n: of_sklearn("RandomForestRegressor", "diabetes", n, n_estimators=10),
    "forest of two outputs": lambda n: of_sklearn("RandomForestRegressor", two(), n, n_estimators=5),
    "boosting, two classes": lambda n: of_sklearn(
        "GradientBoostingClassifier", "breast_cancer", n, gaps=False, n_estimators=10
    ),
    "boosting, exponential": lambda n: of_sklearn(
        "GradientBoostingClassifier", "breast_cancer", n, gaps=False, n_estimators=10, loss="exponential"
    ),
    "boosting, ten classes": lambda n: of_sklearn(
        "GradientBoostingClassifier", "digits", n, gaps=False, n_estimators=3
    ),
    "boosting regressor": lambda n: of_sklearn("GradientBoostingRegressor", "diabetes", n, gaps=False, n_estimators=20),
    "histograms, two classes": lambda n: of_sklearn("HistGradientBoostingClassifier", "breast_cancer", n, max_iter=10),
    "histograms, ten classes": lambda n: of_sklearn("HistGradientBoostingClassifier", "digits", n, max_iter=3),
    "histograms, Poisson": lambda n: of_sklearn(
        "HistGradientBoostingRegressor", "diabetes", n, max_iter=20, loss="poisson"
    ),
    "histograms, categories": lambda n: of_sklearn(
        "HistGradientBoostingRegressor", categorical(), n, max_iter=20, categorical_features=[3, 11]
    ),
    "lightgbm": lambda n: of_lightgbm("diabetes", n, objective="regression"),
    "lightgbm, square root": lambda n: of_lightgbm("diabetes", n, objective="regression", reg_sqrt=True),
    "lightgbm, Poisson": lambda n: of_lightgbm("diabetes", n, objective="poisson"),
    "lightgbm, two classes": lambda n: of_lightgbm("breast_cancer", n, objective="binary", sigmoid=0.7),
    "lightgbm, ten classes": lambda n: of_lightgbm("digits", n, objective="multiclass", num_class=10),
    "lightgbm, one against all": lambda n: of_lightgbm("digits", n, objective="multiclassova", num_class=10),
    "lightgbm, categories": lambda n: of_lightgbm(categorical(), n, objective="regression", columns=[3, 11]),
    "lightgbm, 0 is missing": lambda n: of_lightgbm("digits", n, objective="regression", zero_as_missing=True),
    "lightgbm, none is missing": lambda n: of_lightgbm(categorical(), n, objective="regression", use_missing=False),
    "lightgbm, forest": lambda n: of_lightgbm(
        "breast_cancer", n, objective="binary", boosting="rf", bagging_freq=1, bagging_fraction=0.6
    ),
    "lightgbm, ranking": lambda n: of_lightgbm(ranks(), n, objective="lambdarank"),
    "xgboost": lambda n: of_xgboost("diabetes", n, objective="reg:squarederror"),
    "xgboost, Poisson": lambda n: of_xgboost("diabetes", n, objective="count:poisson"),
    "xgboost, two classes": lambda n: of_xgboost("breast_cancer", n, objective="binary:logistic", labelled=True),
    "xgboost, ten classes": lambda n: of_xgboost("digits", n, objective="multi:softprob", num_class=10, labelled=True),
    "xgboost, two targets": lambda n: of_xgboost(two(), n, objective="reg:squarederror"),
    "xgboost, dart": lambda n: of_xgboost("diabetes", n, objective="reg:squarederror", booster="dart", rate_drop=0.3),
    "xgboost, ranking": lambda n: of_xgboost(ranks(), n, objective="rank:ndcg"),
    "lightgbm, LGBMClassifier": lambda n: of_estimator("lightgbm", "LGBMClassifier", "digits", n),
    "lightgbm, LGBMClassifier, two classes": lambda n: of_estimator("lightgbm", "LGBMClassifier", "breast_cancer", n),
    "lightgbm, LGBMRegressor": lambda n: of_estimator("lightgbm", "LGBMRegressor", "diabetes", n),
    "xgboost, XGBClassifier": lambda n: of_estimator("xgboost", "XGBClassifier", "digits", n),
    "xgboost, XGBClassifier, two classes": lambda n: of_estimator("xgboost", "XGBClassifier", "breast_cancer", n),
    "xgboost, XGBRegressor": lambda n: of_estimator("xgboost", "XGBRegressor", "diabetes", n),
    "xgboost, categories": lambda n: of_xgboost(
        categorical(), n, objective="reg:squarederror", types=["q"] * 3 + ["c"] + ["q"] * 7 + ["c"]
    ),
}


def code_of(form):
    """Its C, with a label where it gives one."""
    label = Port(name="label", tensors=("label",), size=1, kind="int32_t")
    scores = Port(name="scores", tensors=("scores",), size=form.scores)
    outputs = (label, scores) if form.scoring.labels else (scores,)
    return trees.code(form, "model", "model:1", (Port(name="x", tensors=("x",), size=form.width),), outputs)
