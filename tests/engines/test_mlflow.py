from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from argosy.engines import load
from argosy.engines.mlflow_file import read
from argosy.spec.errors import BadPackage, InvalidArgument, Unsupported, Untrusted

ADVICE = ("Any type hint is inferred", "An input example was not provided", "Add type hints to the")
pytestmark = [pytest.mark.filterwarnings(f"ignore:.*{text}:UserWarning") for text in ADVICE]
COLUMNS = '[{"type": "double", "name": "a", "required": true}, {"type": "string", "name": "b", "required": true}]'


def mlmodel(folder: Path, inputs: str | None, **pyfunc: object) -> Path:
    """A folder with an MLmodel that nothing can load, for the reader."""
    folder.mkdir(exist_ok=True)
    flavor = {"loader_module": "mlflow.sklearn", "model_path": "model.pkl", **pyfunc}
    conf = {"flavors": {"python_function": flavor}, "signature": {"inputs": inputs} if inputs else None}
    (folder / "MLmodel").write_text(yaml.safe_dump(conf))
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pyfunc that doubles column a and shouts column b, with a signature of columns."""
    import mlflow.pyfunc
    from mlflow.models import infer_signature

    path = tmp_path_factory.mktemp("mlflow") / "model"
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})

    class Model(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return pd.DataFrame({"twice": model_input["a"] * 2, "shout": model_input["b"].str.upper()})

    mlflow.pyfunc.save_model(
        path, python_model=Model(), signature=infer_signature(frame), pip_requirements=[], conda_env=None
    )
    return path


def test_columns(saved: Path) -> None:
    engine = load("mlflow", saved, trusted=True)
    assert [(spec.name, spec.datatype, spec.shape) for spec in engine.signature.inputs] == [
        ("a", "FP64", (-1,)),
        ("b", "BYTES", (-1,)),
    ]
    assert [(spec.name, spec.datatype) for spec in engine.signature.outputs] == [("twice", "FP64"), ("shout", "BYTES")]
    twice, shout = engine.predict({"a": np.array([1.5, np.nan]), "b": np.array([b"p", "é".encode()], dtype=object)})
    np.testing.assert_array_equal(twice, [3, np.nan])
    assert shout.tolist() == [b"P", "É".encode()]


def test_code_needs_trust_and_the_setting_of_before_is_none(saved: Path) -> None:
    for settings in ({}, {"trusted_pickle": True}):
        with pytest.raises(Untrusted, match="--trust"):
            load("mlflow", saved, settings=settings)


def test_native_lightgbm_needs_no_trust_and_takes_a_tensor(tmp_path: Path) -> None:
    import lightgbm as lgb
    import mlflow.lightgbm
    from mlflow.models import infer_signature
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    booster = lgb.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, lgb.Dataset(x, y), 3)
    mlflow.lightgbm.save_model(
        booster, tmp_path / "m", signature=infer_signature(x, booster.predict(x)), pip_requirements=[]
    )
    engine = load("mlflow", tmp_path / "m")
    assert engine.signature.inputs[0].shape == (-1, 30)
    np.testing.assert_array_equal(engine.predict({"x": x})[0], booster.predict(x))


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
def test_cut_mlmodel(saved: Path, tmp_path: Path, part: float) -> None:
    import shutil

    copy = Path(shutil.copytree(saved, tmp_path / "m"))
    data = (copy / "MLmodel").read_bytes()
    (copy / "MLmodel").write_bytes(data[: int(len(data) * part)])
    with pytest.raises((BadPackage, InvalidArgument)):
        load("mlflow", copy, trusted=True)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
def test_cut_pickle(saved: Path, tmp_path: Path, part: float) -> None:
    import shutil

    copy = Path(shutil.copytree(saved, tmp_path / "m"))
    (weights,) = copy.glob("*.pkl")
    weights.write_bytes(weights.read_bytes()[: int(weights.stat().st_size * part)])
    with pytest.raises(BadPackage, match="cannot load"):
        load("mlflow", copy, trusted=True)


def test_tensors_by_name(tmp_path: Path) -> None:
    entry = '{"type":"tensor","tensor-spec":{"dtype":"float32","shape":[-1,4]},"name":"%s"}'
    about = read(mlmodel(tmp_path / "m", f"[{entry % 'p'}, {entry % 'q'}]"))
    assert [(spec.name, spec.datatype, spec.shape) for spec in about.inputs or ()] == [
        ("p", "FP32", (-1, 4)),
        ("q", "FP32", (-1, 4)),
    ]
    assert not about.unnamed
    assert about.weights is not None


def test_columns_without_names(tmp_path: Path) -> None:
    (spec,) = read(mlmodel(tmp_path / "m", '[{"type": "double"}, {"type": "double"}]')).inputs or ()
    assert (spec.name, spec.shape) == ("x", (-1, 2))
    with pytest.raises(InvalidArgument, match="without names"):
        read(mlmodel(tmp_path / "m", '[{"type": "double"}, {"type": "long"}]'))


@pytest.mark.parametrize("inputs", ["[", "{}", "[]", "[1]", '[{"type": "tensor"}]'])
def test_broken_signatures(tmp_path: Path, inputs: str) -> None:
    with pytest.raises(BadPackage):
        read(mlmodel(tmp_path / "m", inputs))


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="'object'"):
        read(mlmodel(tmp_path / "m", '[{"type": "object", "name": "a"}]'))
    with pytest.raises(BadPackage, match="outside"):
        read(mlmodel(tmp_path / "m", COLUMNS, model_path="../secret.pkl"))
    with pytest.raises(BadPackage, match="no MLflow model"):
        read(tmp_path / "m" / "MLmodel")
    (tmp_path / "m" / "MLmodel").write_text("flavors: [1]")
    with pytest.raises(BadPackage, match="python_function"):
        read(tmp_path / "m")
