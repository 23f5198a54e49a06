import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest

from argosy.packaging.load import load
from argosy.packaging.options import PushOptions
from argosy.packaging.package import open_package, stored
from argosy.packaging.push import push, staging, verify
from argosy.spec.errors import (
    ArgosyError,
    BadPackage,
    GoldenMismatch,
    InvalidArgument,
    NotFound,
    PayloadTooLarge,
    Untrusted,
)
from tests.packaging.conftest import Call, pickled


class Pusher:
    """Pushes into one store, and opens what came of it."""

    def __init__(self, store):
        self.store = store
        self.lines: list[str] = []

    def __call__(self, source, name="m", **options):
        return push(source, name=name, store=self.store, options=PushOptions(**options), report=self.lines.append)

    def loaded(self, version):
        return load(stored(self.store, version.digest), threads=1)


@pytest.fixture
def pusher(store):
    return Pusher(store)


@pytest.mark.slow
def test_a_scikit_learn_pipeline_becomes_onnx(pusher, digits_joblib, digits_sample, digits, digits_model):
    version = pusher(digits_joblib, "digits", sample=digits_sample)
    manifest = version.manifest
    assert (version.ref, manifest.engine, manifest.conversion.converted) == ("digits:1", "onnx", True)
    assert "agrees with the original on " in manifest.conversion.reason
    assert manifest.scan.verdict == "clean"
    assert manifest.source.digest == f"sha256:{hashlib.sha256(digits_joblib.read_bytes()).hexdigest()}"
    model = pusher.loaded(version)
    answer = model.predict(digits[0])
    assert (answer["label"] == digits_model.predict(digits[0])).all()
    assert model.package.profile().rows == 600
    assert any("scan: clean" in line for line in pusher.lines)
    assert pusher.lines[-1] == "storing"
    assert verify(pusher.store, "digits:1").golden_rows == 16

    script = (
        "import sys, pathlib; from argosy.packaging.push import push; from argosy.packaging.options import PushOptions;"
        "from argosy.store import open_store; from argosy.spec.settings import Home, Settings;"
        "source, sample, home = map(pathlib.Path, sys.argv[1:]);"
        "store = open_store(Home(home), Settings());"
        "options = PushOptions(sample=sample);"
        "print(push(source, name='digits', store=store, options=options, report=lambda _: None).digest)"
    )
    command = [sys.executable, "-c", script, str(digits_joblib), str(digits_sample), str(pusher.store.home.root)]
    other = subprocess.run(
        command, env=os.environ | {"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == version.digest
    assert [v.number for v in pusher.store.registry.versions("digits")] == [1]


@pytest.mark.slow
def test_columns_of_several_kinds_become_one_input_each(pusher, people_joblib, people_sample, people):
    version = pusher(people_joblib, sample=people_sample)
    signature = version.manifest.signature
    assert [(spec.name, spec.shape) for spec in signature.inputs] == [
        ("age", (-1,)),
        ("visits", (-1,)),
        ("city", (-1,)),
    ]
    assert version.manifest.conversion.converted, version.manifest.conversion.reason
    labels = pusher.loaded(version).predict(people)["label"]
    assert (labels == np.where(people["city"] == "Rome", "yes", "no")).mean() > 0.99


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:self.within_class")
def test_what_cannot_be_converted_stays_native_and_says_why(pusher, digits, tmp_path):
    from sklearn.neighbors import NearestCentroid

    model = NearestCentroid().fit(digits[0][:300], digits[1][:300])
    joblib.dump(model, tmp_path / "near.joblib")
    np.save(tmp_path / "x.npy", digits[0][:300])
    version = pusher(tmp_path / "near.joblib", sample=tmp_path / "x.npy", license="MIT", description="small")
    assert version.engine == "sklearn"
    assert "skl2onnx cannot convert NearestCentroid" in version.manifest.conversion.reason
    assert version.manifest.requirements[0].startswith("scikit-learn==")
    assert (version.manifest.license, version.manifest.description) == ("MIT", "small")
    answer = pusher.loaded(version).predict(digits[0][:50])
    label = answer["label"] if isinstance(answer, dict) else answer
    assert (label == model.predict(digits[0][:50])).all()


@pytest.mark.slow
def test_lightgbm_with_gaps_and_named_columns(pusher, trees, tmp_path):
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(40, 3)), columns=["c", "a", "b"])
    frame.loc[3, "b"] = np.nan
    frame.to_csv(tmp_path / "x.csv", index=False)
    version = pusher(trees, sample=tmp_path / "x.csv")
    assert (version.engine, version.manifest.requirements[0].partition(">")[0]) == ("onnx", "onnxruntime")
    assert "sooner than lightgbm does, and the ONNX model agrees" in version.manifest.conversion.reason
    assert version.manifest.signature.inputs[0].columns == ("a", "b", "c")
    package = open_package(pusher.store.unpacked(version.digest))
    assert np.isnan(package.golden_inputs()[0].array).any()
    assert package.profile().inputs[1].numbers.missing == 1
    frame["target"] = 1
    frame.to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(InvalidArgument, match=r"does not know the column 'target'.*has 40 rows of the columns"):
        pusher(trees, sample=tmp_path / "x.csv")


def test_an_onnx_file_needs_no_sample(pusher, digits_onnx):
    version = pusher(digits_onnx)
    assert (version.engine, version.manifest.golden_rows) == ("onnx", 16)
    assert version.manifest.scan.verdict == "data-only"
    assert open_package(pusher.store.unpacked(version.digest)).profile() is None


def test_a_folder_with_an_onnx_file_and_its_external_data(pusher, digits_onnx, tmp_path):
    import onnx

    folder = tmp_path / "net"
    folder.mkdir()
    model = onnx.load(digits_onnx)
    weights = np.eye(64, dtype="f4")
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "extra"))
    model.graph.node.insert(0, onnx.helper.make_node("MatMul", ["X", "extra"], ["x_extra"]))
    model.graph.node[1].input[0] = "x_extra"
    onnx.save(model, folder / "net.onnx", save_as_external_data=True, location="net.bin", size_threshold=1024)
    version = pusher(folder)
    assert version.manifest.weights == "weights/model/net.onnx"
    assert "weights/model/net.bin" in pusher.store.layout.files(version.digest)
    assert verify(pusher.store, version.ref).max_difference < 1e-6
    (tmp_path / "alone").mkdir()
    alone = (folder / "net.onnx").rename(tmp_path / "alone" / "net.onnx")
    with pytest.raises(BadPackage, match="put it beside the model"):
        pusher(alone)


def test_a_python_class_with_its_files(pusher, scale_folder, tmp_path):
    np.save(tmp_path / "x.npy", np.arange(6.0).reshape(3, 2))
    (scale_folder / "__pycache__").mkdir()
    (scale_folder / "__pycache__" / "old.pyc").write_bytes(b"x")
    version = pusher(scale_folder, sample=tmp_path / "x.npy")
    manifest = version.manifest
    assert (manifest.engine, manifest.scan.verdict, manifest.requirements) == ("python", "code", ("numpy>=1",))
    assert np.asarray(pusher.loaded(version).predict([[1, 2]])).tolist() == [[2.5, 5.0]]
    assert not any("__pycache__" in path for path in pusher.store.layout.files(version.digest))


MLMODEL = """
flavors:
  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl, predict_fn: predict}
  sklearn: {pickled_model: model.pkl, serialization_format: cloudpickle}
signature:
  inputs: '[{"type": "double", "name": "a", "required": true}, {"type": "double", "name": "b", "required": true}]'
metadata: {license: MIT}
"""


@pytest.mark.slow
def test_an_mlflow_folder_with_its_signature_and_example(pusher, tmp_path):
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.5], "b": [0.0, 1.0, 0.5, 2.0]})
    (tmp_path / "ml").mkdir()
    (tmp_path / "ml" / "MLmodel").write_text(MLMODEL)
    pickled(LinearRegression().fit(frame, frame["a"] * 2), tmp_path / "ml" / "model.pkl")
    frame.to_json(tmp_path / "ml" / "input_example.json", orient="split", index=False)
    version = pusher(tmp_path / "ml")
    assert (version.manifest.scan.verdict, version.manifest.license) == ("clean", "MIT")
    assert [spec.name for spec in version.manifest.signature.inputs] == ["a", "b"]
    assert version.manifest.golden_rows == 4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_folder_that_mlflow_itself_saved(pusher, tmp_path):
    import mlflow
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.5], "b": [0.0, 1.0, 0.5, 2.0]})
    model = LinearRegression().fit(frame, frame["a"] * 2)
    signature = mlflow.models.infer_signature(frame, model.predict(frame))
    mlflow.sklearn.save_model(model, tmp_path / "ml", signature=signature, input_example=frame, pip_requirements=[])
    version = pusher(tmp_path / "ml")
    assert [spec.name for spec in version.manifest.signature.inputs] == ["a", "b"]
    assert version.manifest.golden_rows == 4
    got = pusher.loaded(version).predict(frame)
    np.testing.assert_allclose(got, frame["a"] * 2, atol=1e-6)


def test_objections_need_trust(pusher, tmp_path):
    evil = pickled(Call(os._exit, 3), tmp_path / "evil.pkl")
    with pytest.raises(Untrusted, match=r"posix._exit.*--trust"):
        pusher(evil)
    with pytest.raises(BadPackage, match="exit status 3"):
        pusher(evil, trust=True)
    with pytest.raises(NotFound):
        pusher.store.registry.versions("m")


@pytest.mark.slow
def test_a_hanging_pickle_with_trust_is_stopped(pusher, tmp_path):
    with pytest.raises(BadPackage, match="did not finish within 5 s"):
        pusher(pickled(Call(time.sleep, 900), tmp_path / "slow.pkl"), trust=True, seconds=5)
    assert list((pusher.store.home.root / "staging").iterdir()) == []


def test_a_model_that_is_not_deterministic_is_refused(pusher, tmp_path):
    (tmp_path / "dice.py").write_text(
        "import random\nclass Dice:\n    def load(self, path): pass\n"
        "    def predict(self, inputs): return {'y': inputs['x'] * random.random()}\n"
    )
    np.save(tmp_path / "x.npy", np.ones((4, 1)))
    with pytest.raises(BadPackage, match=r"not deterministic.*output 'y', row 0"):
        pusher(tmp_path / "dice.py", sample=tmp_path / "x.npy")


def test_rows_that_depend_on_each_other_are_not_merged(pusher, tmp_path):
    (tmp_path / "mean.py").write_text(
        "class Mean:\n    def load(self, path): pass\n"
        "    def predict(self, inputs): return {'y': inputs['x'] - inputs['x'].mean()}\n"
    )
    np.save(tmp_path / "x.npy", np.arange(8.0).reshape(4, 2))
    assert not pusher(tmp_path / "mean.py", sample=tmp_path / "x.npy").manifest.signature.batched


def test_a_sample_that_does_not_fit(pusher, digits_onnx, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 5), "f4"))
    with pytest.raises(InvalidArgument, match=r"shape \[3, 5\]; the model takes \[-1, 64\]"):
        pusher(digits_onnx, sample=tmp_path / "x.npy")
    with pytest.raises(NotFound, match="no sample"):
        pusher(digits_onnx, sample=tmp_path / "none.npy")


def test_links_and_giants_are_refused(pusher, digits_onnx, scale_folder, tmp_path):
    (tmp_path / "link.onnx").symlink_to(digits_onnx)
    with pytest.raises(BadPackage, match="symbolic link"):
        pusher(tmp_path / "link.onnx")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "model.py").write_bytes((scale_folder / "model.py").read_bytes())
    (tmp_path / "code" / "secrets").symlink_to("/etc/passwd")
    with pytest.raises(BadPackage, match="symbolic link"):
        pusher(tmp_path / "code")
    with pytest.raises(PayloadTooLarge):
        pusher(digits_onnx, max_bytes=10)
    with pytest.raises(InvalidArgument, match="model name 'Bad Name'"):
        pusher(digits_onnx, "Bad Name")
    with pytest.raises(InvalidArgument, match="no engine 'tensorflow'"):
        pusher(digits_onnx, engine="tensorflow")


def test_errors_name_the_file_as_the_user_calls_it(pusher, tmp_path):
    path = tmp_path / "credit risk.json"
    path.write_text('{"learner": {"x": 1}, "version": [1, 2, 3]}')
    with pytest.raises(BadPackage, match=r"^XGBoost cannot load credit risk\.json: it gives no reason"):
        pusher(path)


def test_a_truncated_model_leaves_nothing(pusher, trees, tmp_path):
    data = trees.read_bytes()
    (tmp_path / "cut.txt").write_bytes(data[: len(data) // 2])
    with pytest.raises(ArgosyError, match="cut off"):
        pusher(tmp_path / "cut.txt")
    assert pusher.store.registry.models() == []


def test_an_altered_golden_file_is_found_by_the_replay(pusher, digits_onnx, tmp_path):
    version = pusher(digits_onnx)
    folder = tmp_path / "copy"
    import shutil

    shutil.copytree(pusher.store.unpacked(version.digest), folder)
    path = folder / "golden" / "outputs.oip"
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-2] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(GoldenMismatch, match="output 'probabilities', row 15"):
        load(open_package(folder))
    blob = pusher.store.layout.blobs.path(pusher.store.layout.files(version.digest)["golden/outputs.oip"].digest)
    blob.chmod(0o644)
    blob.write_bytes(data)
    with pytest.raises(BadPackage, match=r"golden/outputs\.oip"):
        verify(pusher.store, version.ref)


def test_staging_sweeps_what_a_killed_push_left(tmp_path: Path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / "staging" / f"{dead.pid}-abc"
    left.mkdir(parents=True)
    with staging(tmp_path) as place:
        assert place.is_dir()
        assert not left.exists()
    assert not place.exists()
