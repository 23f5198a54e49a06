"""Graphs of ours give what scikit-learn gives: trees at thresholds, with missing values, in ties; votes; centres."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from argosy.engines import load as load_engine
from argosy.packaging import bounds
from argosy.packaging.onnx_graph import to_onnx
from argosy.packaging.probes import beside
from argosy.spec.signature import Signature, TensorSpec

X = np.round(np.random.default_rng(0).normal(size=(300, 3)), 1)
"""Few values, so that trees tie."""
GAPS = np.where(np.random.default_rng(1).random(X.shape) < 0.3, np.nan, X)
CLASSES = np.array(["a", "b", "c"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)]


SCORES = (
    TensorSpec(name="label", datatype="BYTES", shape=(-1,)),
    TensorSpec(name="probabilities", datatype="FP64", shape=(-1, 3)),
)


def answers(model: Any, outputs: tuple[TensorSpec, ...], rows: np.ndarray, folder: Path) -> list[np.ndarray]:
    """Those of the graph of a model."""
    spec = TensorSpec(name="x", datatype="FP64", shape=(-1, rows.shape[1]))
    signature = Signature(inputs=(spec,), outputs=outputs)
    (folder / "m.onnx").write_bytes(to_onnx(model, signature, "FP64"))
    return load_engine("onnx", folder / "m.onnx", signature=signature).predict({"x": rows})


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(10, max_depth=3, random_state=0),
        ExtraTreesClassifier(6, bootstrap=True, random_state=0),
        pytest.param(HistGradientBoostingClassifier(max_iter=10, random_state=0), marks=pytest.mark.slow),
        GradientBoostingClassifier(n_estimators=10, random_state=0),
        RandomForestRegressor(10, random_state=0),
        DecisionTreeRegressor(max_depth=4, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_answers_are_equal_at_and_beside_thresholds(model, tmp_path):
    label = hasattr(model, "predict_proba")
    rows = X if isinstance(model, GradientBoostingClassifier) else GAPS
    model.fit(rows, CLASSES if label else X[:, 0])
    edges = np.concatenate([beside(value) for _, value in bounds.thresholds(model) if np.isfinite(value)])
    asked = np.concatenate([rows, np.random.default_rng(2).choice(edges, (2000, 3))])
    outputs = SCORES if label else (TensorSpec(name="prediction", datatype="FP64", shape=(-1,)),)
    found = answers(model, outputs, asked, tmp_path)
    if label:
        assert [text.decode() for text in found[0]] == model.predict(asked).tolist()
        np.testing.assert_allclose(found[1], model.predict_proba(asked), rtol=1e-13, atol=0)
    else:
        np.testing.assert_allclose(found[0], model.predict(asked), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("weights", [None, [2, 1, 0.5]])
@pytest.mark.parametrize("voting", ["soft", "hard"])
def test_members_vote_as_in_scikit_learn(voting, weights, tmp_path):
    """Members that are trees tie often: the first class wins."""
    members = [(str(place), DecisionTreeClassifier(max_depth=2, random_state=place)) for place in range(2)]
    model = VotingClassifier([*members, ("last", LogisticRegression())], voting=voting, weights=weights)
    model.fit(X, CLASSES)
    rows = np.random.default_rng(3).choice(X.ravel(), (3000, 3))
    found = answers(model, SCORES if voting == "soft" else SCORES[:1], rows, tmp_path)
    assert [text.decode() for text in found[0]] == model.predict(rows).tolist()
    if voting == "soft":
        np.testing.assert_allclose(found[1], model.predict_proba(rows), rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", [KMeans, MiniBatchKMeans])
def test_the_nearest_centre_is_found_for_large_numbers_too(kind, tmp_path):
    model = kind(5, n_init=1, random_state=0).fit(X)
    random = np.random.default_rng(4)
    rows = random.normal(size=(3000, 3)) * 10.0 ** random.integers(-9, 40, (3000, 3))
    (found,) = answers(model, (TensorSpec(name="label", datatype="INT32", shape=(-1,)),), rows, tmp_path)
    assert found.tolist() == model.predict(rows).tolist()
