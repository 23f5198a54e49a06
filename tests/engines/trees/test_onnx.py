"""Trees as ONNX answer as their library does, with categories and missing values."""

import numpy as np
import onnxruntime
import pytest

from argosy.engines.trees import graph, onnx
from argosy.engines.trees.form import evaluate
from argosy.spec.errors import Unsupported
from argosy.spec.signature import Signature, TensorSpec
from tests.embedded.kinds import KINDS

SAME = (
    *("histograms, categories", "histograms, two classes", "boosting, ten classes"),
    *("lightgbm, categories", "lightgbm, 0 is missing", "lightgbm, none is missing", "lightgbm, square root"),
    *("xgboost, categories", "xgboost, two classes", "xgboost, two targets"),
)


def signature_of(form):
    kind = "FP32" if form.summed == "FP32" else "FP64"
    label = TensorSpec(name="label", datatype="INT64", shape=(-1,))
    scores = TensorSpec(name="scores", datatype=kind, shape=(-1, form.scores))
    inputs = (TensorSpec(name="x", datatype=kind, shape=(-1, form.width)),)
    return Signature(inputs=inputs, outputs=(label, scores) if form.scoring.labels else (scores,))


@pytest.mark.parametrize("name", [SAME[0], *(pytest.param(name, marks=pytest.mark.slow) for name in SAME[1:])])
def test_onnx_answers_as_the_library_does(name):
    tried = KINDS[name](500)
    signature = signature_of(tried.form)
    session = onnxruntime.InferenceSession(onnx.model(tried.form, signature))
    rows = tried.rows.astype(np.float32 if signature.inputs[0].datatype == "FP32" else np.float64)
    found = session.run(None, {"x": rows})
    close = {"rtol": 1e-5, "atol": 1e-6} if tried.form.summed == "FP32" else {"rtol": 1e-12, "atol": 1e-15}
    assert np.allclose(found[-1], tried.scores.reshape(found[-1].shape), **close)
    if tried.labels is not None:
        assert np.array_equal(found[0], tried.labels)


def test_what_it_has_no_nodes_for_is_left_to_the_library():
    form = KINDS["forest"](10).form
    with pytest.raises(Unsupported, match="leaves of several values"):
        onnx.model(form, signature_of(form))


@pytest.mark.parametrize(
    "name", [SAME[3], *(pytest.param(name, marks=pytest.mark.slow) for name in (SAME[0], *SAME[4:]))]
)
def test_it_is_read_back(name, tmp_path):
    tried = KINDS[name](500)
    (tmp_path / "m.onnx").write_bytes(onnx.model(tried.form, signature_of(tried.form)))
    form, found = graph.read(tmp_path / "m.onnx")
    assert found == {}
    for one, other in zip(evaluate(form, tried.rows), evaluate(tried.form, tried.rows), strict=True):
        assert np.array_equal(one, other)
