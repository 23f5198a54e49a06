"""Every estimator of scikit-learn, XGBoost and LightGBM, fitted on little data: what honest libraries write."""

import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

Fitted = tuple[str, Any, Any]
"""A name, the fitted estimator, and rows it answers for."""

ROWS, WIDTH = 40, 4
TEXTS = ["good fine", "bad awful", "fine good nice", "awful poor"] * 10


def numbers() -> tuple[np.ndarray, np.ndarray]:
    """Positive numbers and two classes."""
    x = np.abs(np.random.default_rng(0).normal(1, 0.5, size=(ROWS, WIDTH)))
    return x, (x[:, 0] > np.median(x[:, 0])).astype(int)


def _fit(model: Any, *data: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(*data)


def estimators(step: int = 1) -> Iterator[Fitted]:
    """Each class of `all_estimators`, or every `step`th, made as scikit-learn's own tests make it, on data it takes."""
    from sklearn.utils import all_estimators
    from sklearn.utils._test_common.instance_generator import _construct_instances

    x, y = numbers()
    lists = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}] * (ROWS // 2)
    data = [
        ((x, y), x),
        ((x, np.stack([y, 1 - y], axis=1)), x),
        ((x[:, 0], y), x[:, 0]),
        ((x, x[:, :2]), x),
        ((lists,), lists),
        ((TEXTS,), TEXTS),
        ((x @ x.T,), x @ x.T),
        ((np.random.default_rng(1).normal(size=(4, 8, 8)),), np.zeros((4, 8, 8))),
        ((y,), y),
    ]
    for name, kind in all_estimators()[::step]:
        for number, made in enumerate(_instances(kind, _construct_instances)):
            fitted = _first(made, data)
            if fitted is not None:
                yield (f"{name}-{number}", *fitted)


def _instances(kind: Any, construct: Any) -> Iterator[Any]:
    from unittest import SkipTest

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield from construct(kind)
    except SkipTest:
        return


def _first(model: Any, data: Any) -> tuple[Any, Any] | None:
    for args, rows in data:
        try:
            return _fit(model, *args), rows
        except Exception:
            continue
    return None


def combinations() -> Iterator[Fitted]:
    """Pipelines, column transformers and searches as users write them, on arrays, frames and texts."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
    from sklearn.ensemble import RandomForestClassifier, StackingClassifier, VotingClassifier
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.feature_selection import SelectKBest, f_classif
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import FeatureUnion, make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

    x, y = numbers()
    frame = pd.DataFrame({"a": x[:, 0], "n": y, "c": pd.Series(list("pqr" * 20)[:ROWS], dtype=object)})
    typed = frame.assign(c=frame["c"].astype("category"), s=frame["c"].astype("string"))
    columns = ColumnTransformer(
        [
            ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["a", "n"]),
            ("c", OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
        ]
    )
    yield "columns", _fit(make_pipeline(columns, LogisticRegression()), frame, y), frame
    yield "columns-typed", _fit(make_pipeline(columns, LogisticRegression()), typed, y), typed
    yield "ordinal", _fit(OrdinalEncoder(), typed[["c", "s"]]), typed[["c", "s"]]
    yield "names", _fit(LogisticRegression(), frame[["a", "n"]], frame["c"]), frame[["a", "n"]]
    yield "pandas-out", _fit(StandardScaler().set_output(transform="pandas"), frame[["a", "n"]]), frame[["a", "n"]]
    text = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression())
    yield "text", _fit(text, TEXTS, y), TEXTS
    union = FeatureUnion([("a", CountVectorizer()), ("b", CountVectorizer(analyzer="char"))])
    yield "union", _fit(union, TEXTS), TEXTS
    grid = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [1, 2]}, cv=2)
    yield "grid", _fit(grid, x, y), x
    scored = GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2, scoring=["roc_auc", "f1"], refit="f1")
    yield "scored", _fit(scored, x, y), x
    random = RandomizedSearchCV(RandomForestClassifier(3), {"max_depth": [1, 2]}, n_iter=2, cv=2, random_state=0)
    yield "random", _fit(random, x, y), x
    calibrated = CalibratedClassifierCV(RandomForestClassifier(3), cv=2, method="isotonic")
    yield "calibrated", _fit(calibrated, x, y), x
    pair = [("a", LogisticRegression()), ("b", KNeighborsClassifier(metric="minkowski", algorithm="ball_tree"))]
    yield "stacking", _fit(StackingClassifier(pair, cv=2), x, y), x
    yield "voting", _fit(VotingClassifier(pair, voting="soft"), x, y), x
    yield "selected", _fit(make_pipeline(SelectKBest(f_classif, k=2), LogisticRegression()), x, y), x
    logs = FunctionTransformer(np.log1p, inverse_func=np.expm1)
    yield "log1p", _fit(make_pipeline(logs, LinearRegression()), x, y), x
    yield "target", _fit(TransformedTargetRegressor(LinearRegression(), func=np.log1p, inverse_func=np.expm1), x, y), x
    yield "state", _fit(RandomForestClassifier(3, random_state=np.random.RandomState(0)), x, y), x


def catboosted() -> Iterator[Fitted]:
    """The scikit-learn classes of CatBoost, whose pickles and files somebody has to vouch for."""
    import catboost

    x, y = numbers()
    quiet: dict[str, Any] = {"iterations": 3, "verbose": 0, "thread_count": 1, "allow_writing_files": False}
    for kind in (catboost.CatBoostClassifier, catboost.CatBoostRegressor, catboost.CatBoostRanker):
        groups = {"group_id": np.repeat(np.arange(4), ROWS // 4)} if "Rank" in kind.__name__ else {}
        yield kind.__name__, kind(**quiet).fit(x, y, **groups), x


def boosted() -> Iterator[Fitted]:
    """The scikit-learn classes and boosters of XGBoost and LightGBM."""
    import lightgbm
    import xgboost

    x, y = numbers()
    groups = np.full(4, ROWS // 4)
    frame = pd.DataFrame({"a": x[:, 0], "c": pd.Series(list("pqr" * 20)[:ROWS], dtype="category")})
    small = {"n_estimators": 3, "n_jobs": 1}
    for module in (xgboost, lightgbm):
        quiet: dict[str, Any] = {"verbosity": 0 if module is xgboost else -1}
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if not hasattr(kind, "fit") or name.startswith("Dask") or name in ("XGBModel", "LGBMModel"):
                continue
            model = kind(**small, **quiet)
            fitted = model.fit(x, y, group=groups) if "Rank" in name else _fit(model, x, y)
            yield name, fitted, x
    booster = lightgbm.train({"objective": "binary", "verbosity": -1}, lightgbm.Dataset(x, y), 3)
    yield "lightgbm-booster", booster, x
    yield "lightgbm-categories", _fit(lightgbm.LGBMClassifier(**small, verbosity=-1), frame, y), frame
    yield "xgboost-categories", _fit(xgboost.XGBClassifier(**small, enable_categorical=True), frame, y), frame
    stopped = xgboost.XGBClassifier(**small, early_stopping_rounds=2)
    yield "xgboost-stopped", stopped.fit(x, y, eval_set=[(x, y)], verbose=False), x
