"""Models as people make them, one a line: a name, how it is made, which data it is fitted on.

Each walks through push, serve, load and batch beside its library, and those of `DEPLOYED` through a platform as well.
To add one, add a line; data are in `DATA`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from catboost import CatBoostClassifier, CatBoostRanker, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from xgboost import XGBClassifier, XGBRanker, XGBRegressor

Data = tuple[Any, Any]
"""Rows, and a target: classes, or numbers for names that end in `Regress…`."""


class Model(NamedTuple):
    """A line of the table. `file`: what it is saved as; of XGBoost, LightGBM and CatBoost their own formats as well."""

    name: str
    make: Callable[[], Any]
    data: str
    file: str = "m.joblib"

    def fitted(self, x: Any, y: Any) -> Any:
        """A new one, fitted on these data; rankers on groups of ten rows."""
        model = self.make()
        if type(model).__name__ == "CatBoostRanker":
            return model.fit(x, y, group_id=np.repeat(np.arange(len(x) // 10), 10))
        return model.fit(x, y, group=[10] * (len(x) // 10)) if "Ranker" in type(model).__name__ else model.fit(x, y)

    def save(self, fitted: Any, folder: Path) -> Path:
        """Write the file into the folder, as its library does."""
        path = folder / self.file
        if path.suffix == ".joblib":
            joblib.dump(fitted, path)
        else:
            (fitted.booster_ if path.suffix == ".txt" else fitted).save_model(str(path))
        return path


def plain() -> Data:
    """Six numbers a row; two classes that are not linear in them."""
    x = np.random.default_rng(0).normal(size=(400, 6))
    return x, (x[:, 0] + x[:, 1] ** 2 > 0.7).astype(int)


def amounts() -> Data:
    """The same rows, and a number."""
    x, y = plain()
    return x, 3 * x[:, 0] + x[:, 1] + y


def gaps() -> Data:
    """30 % of the values are missing."""
    x, y = plain()
    return np.where(np.random.default_rng(1).random(x.shape) < 0.3, np.nan, x), y


def stamps() -> Data:
    """Time stamps in seconds and milliseconds, ids, and a small number."""
    random = np.random.default_rng(2)
    seconds = 1.7e9 + random.integers(0, 10**7, 400)
    ids = 10**12 + random.integers(0, 10**6, 400)
    x = np.stack([seconds, seconds * 1000 + 7, ids, random.normal(size=400)], axis=1)
    return x, (x[:, 0] - 1.7e9) / 1e6 + x[:, 3]


def people() -> Data:
    """Numbers with gaps, integers, booleans, and strings with gaps."""
    random = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "age": np.where(random.random(400) < 0.2, np.nan, random.normal(40, 12, 400).round(1)),
            "visits": random.integers(0, 9, 400),
            "member": random.random(400) < 0.5,
            "city": random.choice(["Oslo", "Rome", "São Paulo"], 400),
            "job": pd.Series(random.choice(["cook", "nurse", None], 400), dtype=object),
        }
    )
    return frame, np.where((frame["visits"] > 4) | (frame["city"] == "Rome"), "yes", "no")


def orders() -> Data:
    """Numbers and categories of pandas with gaps: texts, and integers that are codes."""
    frame, y = people()
    code = pd.Categorical(np.random.default_rng(5).choice([11, 22, 33, -1], 400), categories=[11, 22, 33])
    city = frame["city"].replace("São Paulo", "Bergen").astype("category")  # XGBoost keeps ASCII alone
    typed = frame.assign(city=city, job=frame["job"].astype("category"), code=code)
    return typed.drop(columns="member"), (y == "yes").astype(int)


def visits() -> Data:
    """Numbers with gaps, and categories of CatBoost: texts, and integers that are codes. It takes no missing one."""
    frame, y = people()
    code = np.random.default_rng(5).choice([11, 22, 33], 400)
    return frame.assign(job=frame["job"].fillna(""), code=code).drop(columns="member"), y


def texts() -> Data:
    """One text a row."""
    random = np.random.default_rng(4)
    words = ["good", "fine", "bad", "awful", "plot", "actor"]
    lines = [" ".join(random.choice(words, 5)) for _ in range(200)]
    return pd.DataFrame({"text": lines}), np.array(["good" in line for line in lines]).astype(int)


DATA: dict[str, Callable[[], Data]] = {
    made.__name__: made for made in (plain, amounts, gaps, stamps, people, orders, visits, texts)
}


def table_of(encoder: Any, last: Any) -> Any:
    """What people write for a table of several kinds."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = [("n", numbers, ["age", "visits"]), ("c", encoder, ["city"])]
    return make_pipeline(ColumnTransformer(columns), last)


def two() -> list[tuple[str, Any]]:
    """Members of an ensemble."""
    return [("a", LogisticRegression()), ("b", RandomForestClassifier(5, random_state=0))]


CATS: dict[str, Any] = {"iterations": 5, "verbose": 0, "thread_count": 1, "allow_writing_files": False}
CODED = ["city", "job", "code"]

MODELS = (
    Model("logistic", lambda: make_pipeline(StandardScaler(), LogisticRegression()), "plain"),
    Model("linear", LinearRegression, "amounts"),
    Model("ridge classes", RidgeClassifier, "plain"),
    Model("linear svc", lambda: LinearSVC(random_state=0), "plain"),
    Model("svc", SVC, "plain"),
    Model("bayes", GaussianNB, "plain"),
    Model("neighbours", KNeighborsClassifier, "plain"),
    Model("network", lambda: MLPClassifier((8,), max_iter=300, random_state=0, tol=1e-2), "plain"),
    Model("kmeans", lambda: KMeans(4, n_init=1, random_state=0), "plain"),
    Model("forest", lambda: RandomForestClassifier(20, random_state=0), "plain"),
    Model("forest with gaps", lambda: RandomForestClassifier(20, random_state=0), "gaps"),
    Model("forest of numbers with gaps", lambda: RandomForestRegressor(20, random_state=0), "gaps"),
    Model("extra trees", lambda: ExtraTreesRegressor(20, random_state=0), "amounts"),
    Model("boosting", lambda: GradientBoostingClassifier(n_estimators=20, random_state=0), "plain"),
    Model("boosting of numbers", lambda: GradientBoostingRegressor(n_estimators=20, random_state=0), "amounts"),
    Model("adaboost", lambda: AdaBoostClassifier(n_estimators=5, random_state=0), "plain"),
    Model("histogram boosting with gaps", lambda: HistGradientBoostingClassifier(max_iter=20, random_state=0), "gaps"),
    Model("histogram boosting of stamps", lambda: HistGradientBoostingRegressor(max_iter=20, random_state=0), "stamps"),
    Model("scaled stamps", lambda: make_pipeline(StandardScaler(), LinearRegression()), "stamps"),
    Model(
        "scaled forest", lambda: make_pipeline(StandardScaler(), RandomForestClassifier(10, random_state=0)), "plain"
    ),
    Model("stacking", lambda: StackingClassifier(two(), cv=2), "plain"),
    Model("voting", lambda: VotingClassifier(two(), voting="soft"), "plain"),
    Model("people", lambda: table_of(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()), "people"),
    Model("people, strict", lambda: table_of(OneHotEncoder(), LogisticRegression()), "people"),
    Model("people in order", lambda: table_of(OrdinalEncoder(), RandomForestClassifier(5, random_state=0)), "people"),
    Model(
        "texts",
        lambda: make_pipeline(ColumnTransformer([("t", TfidfVectorizer(), "text")]), LogisticRegression()),
        "texts",
    ),
    Model("xgboost", lambda: XGBClassifier(n_estimators=5, max_depth=3), "gaps"),
    Model("xgboost of categories", lambda: XGBClassifier(n_estimators=5, enable_categorical=True), "orders"),
    Model("xgboost file", lambda: XGBClassifier(n_estimators=5, max_depth=3), "gaps", "m.ubj"),
    Model("xgboost file of stamps", lambda: XGBRegressor(n_estimators=5), "stamps", "m.ubj"),
    Model("xgboost file of ranks", lambda: XGBRanker(n_estimators=5), "gaps", "m.ubj"),
    Model(
        "xgboost file of categories", lambda: XGBClassifier(n_estimators=5, enable_categorical=True), "orders", "m.ubj"
    ),
    Model("lightgbm", lambda: LGBMClassifier(n_estimators=5, verbosity=-1), "gaps"),
    Model("lightgbm of categories", lambda: LGBMClassifier(n_estimators=5, verbosity=-1), "orders"),
    Model("lightgbm file", lambda: LGBMClassifier(n_estimators=5, verbosity=-1), "gaps", "m.txt"),
    Model("lightgbm file of stamps", lambda: LGBMRegressor(n_estimators=5, verbosity=-1), "stamps", "m.txt"),
    Model("lightgbm file of ranks", lambda: LGBMRanker(n_estimators=5, verbosity=-1), "gaps", "m.txt"),
    Model("lightgbm file of categories", lambda: LGBMClassifier(n_estimators=5, verbosity=-1), "orders", "m.txt"),
    Model("catboost", lambda: CatBoostClassifier(**CATS), "gaps"),
    Model("catboost file", lambda: CatBoostClassifier(**CATS), "gaps", "m.cbm"),
    Model("catboost file of stamps", lambda: CatBoostRegressor(**CATS), "stamps", "m.cbm"),
    Model("catboost file of ranks", lambda: CatBoostRanker(**CATS), "gaps", "m.cbm"),
    Model("catboost of categories", lambda: CatBoostClassifier(**CATS, cat_features=CODED), "visits"),
    Model("catboost file of categories", lambda: CatBoostClassifier(**CATS, cat_features=CODED), "visits", "m.cbm"),
)
DEPLOYED = ("people, strict", "kmeans", "xgboost file of categories", "lightgbm file", "catboost file of categories")
"""Those that are also deployed: one of each engine."""
