"""`--code`: a pickle and the code of its classes, pushed together and loaded elsewhere."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from argosy.packaging import code
from argosy.packaging.model_process import load_in_process
from argosy.packaging.options import PushOptions
from argosy.packaging.package import stored
from argosy.packaging.push import push
from argosy.spec.errors import BadPackage, InvalidArgument, NotFound, Untrusted
from argosy.store.store import Store

STEPS = """
from sklearn.base import BaseEstimator, TransformerMixin

class Doubler(TransformerMixin, BaseEstimator):
    def fit(self, x, y=None):
        self.n_features_in_ = x.shape[1]
        return self

    def transform(self, x):
        from ownlib import helper
        return helper.twice(x)
"""
TRAIN = """
import sys, joblib, numpy
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from ownlib.steps import Doubler
x = numpy.arange(20.0).reshape(10, 2)
joblib.dump(make_pipeline(Doubler(), LinearRegression()).fit(x, x[:, 0] * 3), sys.argv[1])
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `src/ownlib`, the same as a wheel, and a model that needs it."""
    place = tmp_path_factory.mktemp("own")
    library = place / "src" / "ownlib"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("")
    (library / "steps.py").write_text(STEPS)
    (library / "helper.py").write_text("def twice(x):\n    return x * 2\n")
    environ = os.environ | {"PYTHONPATH": str(place / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", TRAIN, str(place / "m.joblib")], check=True, env=environ)
    with zipfile.ZipFile(place / "ownlib-1.0-py3-none-any.whl", "w") as wheel:
        for file in library.iterdir():
            wheel.write(file, f"ownlib/{file.name}")
    return place


@pytest.mark.slow
@pytest.mark.parametrize("source", ["src", "ownlib-1.0-py3-none-any.whl"])
def test_code_travels_with_the_model(store: Store, made: Path, source: str) -> None:
    options = PushOptions(code=made / source)
    version = push(made / "m.joblib", name="m", store=store, options=options, report=lambda _: None)
    assert version.manifest.scan.verdict == "code"
    loaded = load_in_process(stored(store, version.digest), threads=1)
    try:
        x = np.arange(20.0).reshape(10, 2)
        np.testing.assert_allclose(loaded.predict(x), x[:, 0] * 3, atol=1e-9)
    finally:
        loaded.close()
    assert "ownlib" not in sys.modules


@pytest.mark.slow
def test_code_beyond_it_needs_trust(store: Store, made: Path, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("x = 1\n")
    for given in (None, tmp_path / "other.py"):
        options = PushOptions(code=given)
        with pytest.raises(Untrusted, match=r"ownlib\.steps\.Doubler.*--code"):
            push(made / "m.joblib", name="m", store=store, options=options, report=lambda _: None)


def test_what_is_no_code(tmp_path: Path) -> None:
    weights = tmp_path / "weights" / "model.joblib"
    weights.parent.mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "broken.whl").write_bytes(b"PK")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidArgument, match="pickled model"):
        code.copy(tmp_path / "empty", "onnx", weights, 1000)
    with pytest.raises(NotFound):
        code.copy(tmp_path / "none", "joblib", weights, 1000)
    with pytest.raises(BadPackage, match="no code"):
        code.copy(tmp_path / "notes.txt", "joblib", weights, 1000)
    with pytest.raises(InvalidArgument, match="no Python files"):
        code.copy(tmp_path / "empty", "joblib", weights, 1000)
    with pytest.raises(BadPackage, match="broken wheel"):
        code.copy(tmp_path / "broken.whl", "joblib", weights, 1000)
