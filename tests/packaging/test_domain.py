import joblib
import numpy as np
import pandas as pd

from argosy.engines import load as load_engine
from argosy.packaging.domain import FLOAT32, domain_of
from argosy.spec.signature import Domain, Signature, TensorSpec


def engine_of(model, tmp_path, signature=None, sample=None):
    joblib.dump(model, tmp_path / "m.joblib")
    return load_engine("sklearn", tmp_path / "m.joblib", signature=signature, sample=sample)


def test_each_column_is_asked_for_itself(tmp_path):
    """Gaps are filled in the first column only, and a tree rounds all to FP32."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    x = np.random.default_rng(0).normal(size=(50, 2))
    filled = ColumnTransformer([("a", SimpleImputer(), [0])], remainder="passthrough")
    engine = engine_of(make_pipeline(filled, GradientBoostingRegressor(n_estimators=3)).fit(x, x[:, 0]), tmp_path)
    found = domain_of(engine.predict, {"x": x[:1]}, engine.signature.inputs[0], ())
    assert found == Domain(gaps=(True, False), limits=(FLOAT32,))
    with np.errstate(over="ignore"):
        assert np.isfinite(np.float32(FLOAT32))
        assert np.isinf(np.float32(np.nextafter(FLOAT32, np.inf)))


def test_a_model_that_takes_all_has_no_domain(tmp_path):
    from sklearn.ensemble import HistGradientBoostingRegressor

    x = np.random.default_rng(0).normal(size=(50, 2))
    engine = engine_of(HistGradientBoostingRegressor(max_iter=3).fit(x, x[:, 0]), tmp_path)
    assert domain_of(engine.predict, {"x": x[:1]}, engine.signature.inputs[0], ()) is None


def test_a_strict_encoder_knows_its_categories(tmp_path):
    from sklearn.preprocessing import OneHotEncoder

    frame = pd.DataFrame({"city": ["Oslo", "Rome", "Lima"] * 5})
    spec = TensorSpec(name="city", datatype="BYTES", shape=(-1,))
    rows = {"city": np.array([b"Oslo"], dtype=object)}
    model = OneHotEncoder(sparse_output=False).fit(frame)
    engine = engine_of(model, tmp_path, Signature(inputs=(spec,), outputs=()), rows)
    found = domain_of(engine.predict, rows, spec, ("Rome", "Oslo", "Paris", "Lima"))
    assert found == Domain(gaps=(False,), categories=("Rome", "Oslo", "Lima"))
