"""Trees as ONNX give the numbers of scikit-learn: at thresholds, with missing values, in ties."""

import numpy as np
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeRegressor

from argosy.engines import load as load_engine
from argosy.packaging import bounds
from argosy.packaging.onnx_graph import to_onnx
from argosy.packaging.probes import beside
from argosy.spec.signature import Signature, TensorSpec

X = np.round(np.random.default_rng(0).normal(size=(300, 3)), 1)
"""Few values, so that trees tie."""
GAPS = np.where(np.random.default_rng(1).random(X.shape) < 0.3, np.nan, X)
CLASSES = np.array(["a", "b", "c"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)]


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(10, max_depth=3, random_state=0),
        ExtraTreesClassifier(6, bootstrap=True, random_state=0),
        HistGradientBoostingClassifier(max_iter=10, random_state=0),
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
    outputs = [TensorSpec(name="prediction", datatype="FP64", shape=(-1,))]
    if label:
        outputs = [
            TensorSpec(name="label", datatype="BYTES", shape=(-1,)),
            TensorSpec(name="probabilities", datatype="FP64", shape=(-1, 3)),
        ]
    spec = TensorSpec(name="x", datatype="FP64", shape=(-1, 3))
    signature = Signature(inputs=(spec,), outputs=tuple(outputs))
    (tmp_path / "m.onnx").write_bytes(to_onnx(model, signature, "FP64"))
    found = load_engine("onnx", tmp_path / "m.onnx", signature=signature).predict({"x": asked})
    if label:
        assert [text.decode() for text in found[0]] == model.predict(asked).tolist()
        np.testing.assert_allclose(found[1], model.predict_proba(asked), rtol=1e-13, atol=0)
    else:
        np.testing.assert_allclose(found[0], model.predict(asked), rtol=1e-13, atol=1e-14)
