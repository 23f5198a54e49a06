"""What honest libraries write is loaded without trust, and answers as before."""

import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest
import skops.io
from skops.io.exceptions import UnsupportedTypeException

from argosy.engines import unpickle
from tests.engines import honest

WAYS: dict[str, Callable[[Any, Path], Any]] = {
    "joblib": joblib.dump,
    "joblib-xz": lambda model, path: joblib.dump(model, path, compress=("xz", 1)),
    "joblib-zlib": lambda model, path: joblib.dump(model, path, compress=3),
    **{
        f"pickle-{protocol}": lambda model, path, protocol=protocol: path.write_bytes(pickle.dumps(model, protocol))
        for protocol in range(2, 6)
    },
    "cloudpickle": lambda model, path: path.write_bytes(cloudpickle.dumps(model)),
    "skops": skops.io.dump,
}

WITH_TRUST = {
    "FunctionTransformer(lambda)": "a function of the user's",
    "Pipeline(memory=…)": "a folder of cached pickles",
    "RandomizedSearchCV with scipy.stats": "distributions, which call what they are told",
    "KNeighborsClassifier(metric=<function>)": "a function of the user's",
}
"""Honest models that need trust, and why."""


def models(step: int = 1) -> Iterator[honest.Fitted]:
    return chain(honest.estimators(step), honest.combinations(), honest.boosted())


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def answer(model: Any, rows: Any) -> Any:
    for name in ("predict", "transform"):
        if hasattr(model, name):
            try:
                found = getattr(model, name)(rows)
            except Exception:  # it fails on the original, too
                continue
            return found.toarray() if hasattr(found, "toarray") else np.asarray(found)
    return None


def agree(name: str, model: Any, path: Path, ways: list[str]) -> list[str]:
    """What went wrong with a model saved in these ways."""
    wrong, (_, original, rows) = [], model
    random = "random" in name.lower() or name.startswith(("BernoulliRBM", "DummyClassifier"))
    want = answer(original, rows)
    for way in ways:
        try:
            WAYS[way](original, path)
        except UnsupportedTypeException:
            assert name.startswith("Birch")
            continue
        try:
            if objections := unpickle.contents(path).objections:
                wrong.append(f"{name} {way}: {objections}")
                continue
            got = answer(unpickle.load(path), rows)
        except Exception as error:
            wrong.append(f"{name} {way}: {error}")
            continue
        if want is not None and not random and not same(got, want) and same(answer(original, rows), want):
            wrong.append(f"{name} {way}: another answer")
    return wrong


def same(got: Any, want: Any) -> bool:
    if want.dtype.kind in "fc":
        return bool(np.allclose(got, want, equal_nan=True))
    return bool(np.array_equal(got, want))


@pytest.mark.slow
def test_many_estimators_in_turn(tmp_path: Path) -> None:
    """Every eighth of scikit-learn, and all combinations and boosters, in two of the ways each."""
    ways, wrong, seen = list(WAYS), [], 0
    for number, model in enumerate(models(8)):
        seen += 1
        wrong += agree(model[0], model, tmp_path / "m", [ways[number % len(ways)], "skops" if number % 2 else "joblib"])
    assert seen > 55
    assert not wrong


@pytest.mark.slow
@pytest.mark.timeout(480)
def test_every_estimator_in_every_way(tmp_path: Path) -> None:
    every = list(models())
    assert len(every) > 240
    assert not [text for model in every for text in agree(model[0], model, tmp_path / "m", list(WAYS))]


def test_models_that_need_trust(tmp_path: Path) -> None:
    from scipy.stats import uniform
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import RandomizedSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    x, y = honest.numbers()
    search = RandomizedSearchCV(LogisticRegression(), {"C": uniform()}, n_iter=2, cv=2)
    found = [
        FunctionTransformer(lambda rows: rows),
        make_pipeline(StandardScaler(), LogisticRegression(), memory=str(tmp_path / "cache")),
        search.fit(x, y),
        KNeighborsClassifier(metric=lambda a, b: np.abs(a - b).sum()).fit(x, y),
    ]
    for model, name in zip(found, WITH_TRUST, strict=True):
        file = io.BytesIO(cloudpickle.dumps(model))
        (tmp_path / "m").write_bytes(file.getvalue())
        assert unpickle.contents(tmp_path / "m").objections, name
        assert type(unpickle.load(tmp_path / "m", trusted=True)) is type(model)
