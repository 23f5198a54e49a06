"""Models trained once for all tests of this folder, the files they are saved in, and a store."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest

from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.store.store import Store

Data = tuple[np.ndarray, np.ndarray]

PYTHON_MODEL = """
import json
import numpy as np


class Scale:
    def load(self, path):
        self.factor = json.loads((path / "factor.json").read_text())["factor"]

    def predict(self, inputs):
        return {"scaled": inputs["x"] * self.factor}
"""


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def digits() -> Data:
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


@pytest.fixture(scope="session")
def digits_model(digits: Data) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=50, tol=1e-1)).fit(*digits)


@pytest.fixture(scope="session")
def forest(digits: Data) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(5, max_depth=6, random_state=0).fit(*digits)


@pytest.fixture(scope="session")
def digits_joblib(place: Path, digits_model: Any) -> Path:
    joblib.dump(digits_model, place / "digits.joblib")
    return place / "digits.joblib"


@pytest.fixture(scope="session")
def digits_sample(place: Path, digits: Data) -> Path:
    np.save(place / "digits.npy", digits[0][:600])
    return place / "digits.npy"


@pytest.fixture(scope="session")
def digits_onnx(place: Path, digits_model: Any, digits: Data) -> Path:
    from skl2onnx import to_onnx

    path = place / "digits.onnx"
    model = to_onnx(digits_model, digits[0][:1].astype("f4"), options={"zipmap": False}, name="digits")
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def people() -> pd.DataFrame:
    """Numbers with gaps, integers, and strings with gaps."""
    random = np.random.default_rng(3)
    age = random.normal(40, 10, 300)
    age[::17] = np.nan
    city = random.choice(["Oslo", "Rome", "Lima"], 300).astype(object)
    return pd.DataFrame({"age": age, "visits": random.integers(0, 9, 300), "city": city})


@pytest.fixture(scope="session")
def people_joblib(place: Path, people: pd.DataFrame) -> Path:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer(
        [("n", numbers, ["age", "visits"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["city"])]
    )
    target = np.where(people["city"] == "Rome", "yes", "no")
    joblib.dump(make_pipeline(columns, LogisticRegression()).fit(people, target), place / "people.joblib")
    return place / "people.joblib"


@pytest.fixture(scope="session")
def people_sample(place: Path, people: pd.DataFrame) -> Path:
    people.to_parquet(place / "people.parquet")
    return place / "people.parquet"


@pytest.fixture(scope="session")
def trees(place: Path) -> Path:
    """A LightGBM model of three features with gaps, as text."""
    import lightgbm

    random = np.random.default_rng(5)
    x = random.normal(size=(400, 3))
    x[::7, 1] = np.nan
    target = (np.nan_to_num(x).sum(axis=1) > 0).astype(int)
    data = lightgbm.Dataset(x, target, feature_name=["a", "b", "c"])
    booster = lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 5)
    booster.save_model(str(place / "trees.txt"))
    return place / "trees.txt"


@pytest.fixture(scope="session")
def scale_folder(place: Path) -> Path:
    folder = place / "scale"
    folder.mkdir()
    (folder / "model.py").write_text(PYTHON_MODEL)
    (folder / "factor.json").write_text('{"factor": 2.5}')
    (folder / "requirements.txt").write_text("numpy>=1  # arrays\n")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(Home(tmp_path / "home"), Settings())
    yield store
    store.close()


class Call:
    """Pickles as a call of a function: what an attacker writes."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def pickled(value: Any, path: Path, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path
