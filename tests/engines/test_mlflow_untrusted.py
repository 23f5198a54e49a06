"""Honest MLflow folders answer without trust as MLflow lets them answer; hostile ones run nothing, at scan or load."""

import io
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml

from argosy.engines import load
from argosy.engines.mlflow_file import read
from argosy.packaging.scan import scan
from argosy.spec.errors import ArgosyError, BadPackage, Untrusted
from tests.engines import graphs

NOISE = ("Any type hint is inferred", "An input example was not provided", "Add type hints", "Saving scikit-learn")
pytestmark = [
    *(pytest.mark.filterwarnings(f"ignore:.*{text}") for text in NOISE),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
FRAME = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=["a", "b", "c"])
LABELS = (FRAME["a"] + FRAME["b"] > 0).astype(int).to_numpy()


def save(flavour: str, into: Path) -> Path:
    """A folder as MLflow writes it."""
    import lightgbm
    import mlflow.lightgbm
    import mlflow.sklearn
    import mlflow.xgboost
    import xgboost
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    logistic = LogisticRegression().fit(FRAME, LABELS)
    options: dict[str, Any] = {"signature": infer_signature(FRAME, LABELS), "pip_requirements": []}
    few = {"n_estimators": 3, "n_jobs": 1}
    quiet = {"objective": "binary", "verbosity": -1, "num_threads": 1}
    trees = {"objective": "binary:logistic", "nthread": 1}
    made = {
        "sklearn": lambda: mlflow.sklearn.save_model(logistic, into, serialization_format="cloudpickle", **options),
        "sklearn-pickle": lambda: mlflow.sklearn.save_model(logistic, into, serialization_format="pickle", **options),
        "sklearn-proba": lambda: mlflow.sklearn.save_model(
            logistic, into, serialization_format="cloudpickle", pyfunc_predict_fn="predict_proba", **options
        ),
        "sklearn-skops": lambda: mlflow.sklearn.save_model(logistic, into, serialization_format="skops", **options),
        "xgboost": lambda: mlflow.xgboost.save_model(
            xgboost.train(trees, xgboost.DMatrix(FRAME, LABELS), 3), into, **options
        ),
        "xgboost-sklearn": lambda: mlflow.xgboost.save_model(
            xgboost.XGBClassifier(**few).fit(FRAME, LABELS), into, **options
        ),
        "lightgbm": lambda: mlflow.lightgbm.save_model(
            lightgbm.train(quiet, lightgbm.Dataset(FRAME, LABELS), 3), into, **options
        ),
        "lightgbm-sklearn": lambda: mlflow.lightgbm.save_model(
            lightgbm.LGBMClassifier(verbosity=-1, **few).fit(FRAME, LABELS), into, **options
        ),
    }
    made[flavour]()
    return into


HONEST = (
    *("sklearn", "sklearn-pickle", "sklearn-proba", "sklearn-skops"),
    *("xgboost", "xgboost-sklearn", "lightgbm", "lightgbm-sklearn"),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("sklearn-pickle", tmp_path_factory.mktemp("sound") / "m")


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "m"))


@pytest.mark.parametrize("flavour", HONEST)
def test_honest_folders_answer_as_mlflow_lets_them(flavour: str, tmp_path: Path) -> None:
    import mlflow.pyfunc

    saved = save(flavour, tmp_path / "m")
    assert scan(saved, "mlflow").scan.verdict == "clean"
    feeds = {name: FRAME[name].to_numpy() for name in FRAME}
    (found,) = load("mlflow", saved).predict(feeds)
    want = mlflow.pyfunc.load_model(str(saved)).predict(FRAME)
    np.testing.assert_array_equal(found, np.asarray(want))
    (trusted,) = load("mlflow", saved, trusted=True).predict(feeds)
    np.testing.assert_array_equal(found, trusted)


def test_onnx(tmp_path: Path) -> None:
    model = tmp_path / "m"
    model.mkdir()
    graphs.save(model / "model.onnx", graphs.identity())
    conf = {"python_function": {"loader_module": "mlflow.onnx", "data": "model.onnx"}, "onnx": {"data": "model.onnx"}}
    entry = '[{"type":"tensor","tensor-spec":{"dtype":"float32","shape":[-1,2]}}]'
    (model / "MLmodel").write_text(yaml.safe_dump({"flavors": conf, "signature": {"inputs": entry}}))
    x = np.arange(4, dtype="f4").reshape(2, 2)
    engine = load("mlflow", model)
    np.testing.assert_array_equal(engine.predict({"x": x})[0], load("onnx", model / "model.onnx").predict({"x": x})[0])


class Touch:
    """Pickled, it makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def change(folder: Path, **sections: dict[str, Any]) -> None:
    """Alter sections of MLmodel's flavours; a key of None goes."""
    conf = yaml.safe_load((folder / "MLmodel").read_text())
    for name, changes in sections.items():
        section = conf["flavors"].setdefault(name, {})
        section.update(changes)
        for key in [key for key, value in section.items() if value is None]:
            del section[key]
    (folder / "MLmodel").write_text(yaml.safe_dump(conf))


def evil(folder: Path, marker: Path, name: str) -> None:
    """A module that makes the marker when it is imported, and can stand for a loader and a class."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n"
        "def _load_pyfunc(path):\n    return Evil()\n"
        "class Evil:\n    def predict(self, x):\n        return x\n    def load_model(self, path):\n        pass\n"
    )


def loader_of_its_own(folder: Path, marker: Path) -> None:
    evil(folder, marker, "code/evil.py")
    change(folder, python_function={"loader_module": "evil", "code": "code"})


def code_beside_a_known_loader(folder: Path, marker: Path) -> None:
    evil(folder, marker, "code/numpy.py")
    evil(folder, marker, "code/sklearn/__init__.py")
    change(folder, python_function={"code": "code"})


def code_of_the_flavour(folder: Path, marker: Path) -> None:
    evil(folder, marker, "lib/evil.py")
    change(folder, sklearn={"code": "lib"})


def code_in_a_list(folder: Path, marker: Path) -> None:
    evil(folder, marker, "lib/evil.py")
    change(folder, python_function={"code": ["lib"]})


def a_class_of_its_own(folder: Path, marker: Path) -> None:
    evil(folder, marker, "evil.py")
    change(folder, python_function={"loader_module": "mlflow.xgboost", "data": "model.pkl", "model_path": None})
    change(folder, xgboost={"data": "model.pkl", "model_class": "evil.Evil"})


def a_class_of_the_standard_library(folder: Path, marker: Path) -> None:
    change(folder, python_function={"loader_module": "mlflow.lightgbm", "data": "model.pkl", "model_path": None})
    change(folder, lightgbm={"data": "model.pkl", "model_class": "subprocess.Popen"})


def a_pickle(folder: Path, marker: Path) -> None:
    (folder / "model.pkl").write_bytes(pickle.dumps(Touch(marker)))


def an_old_pickle(folder: Path, marker: Path) -> None:
    (folder / "model.pkl").write_bytes(pickle.dumps(Touch(marker), protocol=0))


def a_compressed_pickle(folder: Path, marker: Path) -> None:
    joblib.dump(Touch(marker), folder / "model.pkl", compress=("gzip", 3))


def a_pickle_under_another_name(folder: Path, marker: Path) -> None:
    (folder / "notes.txt").write_bytes(pickle.dumps(Touch(marker)))
    change(folder, python_function={"model_path": "notes.txt"}, sklearn={"pickled_model": "notes.txt"})


def two_model_files(folder: Path, marker: Path) -> None:
    (folder / "other.bin").write_bytes(pickle.dumps(Touch(marker)))
    change(folder, python_function={"model_path": "other.bin"})


def a_second_mlmodel(folder: Path, marker: Path) -> None:
    (folder / "sub").mkdir()
    evil(folder, marker, "sub/evil.py")
    (folder / "sub" / "model.pkl").write_bytes(pickle.dumps(Touch(marker)))
    shutil.copy(folder / "MLmodel", folder / "sub" / "MLmodel")
    change(
        folder,
        python_function={"data": "sub/model.pkl", "model_path": "sub/model.pkl"},
        sklearn={"pickled_model": None},
    )


def a_skops_file_with_types_of_its_own(folder: Path, marker: Path) -> None:
    import skops.io

    skops.io.dump({"f": shutil.rmtree}, folder / "model.skops")
    named = {"pickled_model": "model.skops", "skops_trusted_types": ["shutil.rmtree"], "serialization_format": "skops"}
    change(folder, python_function={"model_path": "model.skops"}, sklearn=named)


def a_python_model(folder: Path, marker: Path) -> None:
    (folder / "python_model.pkl").write_bytes(pickle.dumps(Touch(marker)))
    conf = {"loader_module": "mlflow.pyfunc.model", "python_model": "python_model.pkl", "model_path": None}
    change(folder, python_function=conf)


def a_model_from_code(folder: Path, marker: Path) -> None:
    evil(folder, marker, "model.txt")
    change(folder, python_function={"loader_module": "mlflow.pyfunc.model", "model_code_path": "model.txt"})


def a_method_of_its_own(folder: Path, marker: Path) -> None:
    change(folder, python_function={"predict_fn": "__class__"})


def a_flavour_that_reads_further_files(folder: Path, marker: Path) -> None:
    change(folder, python_function={"loader_module": "mlflow.pytorch", "data": "data"}, pytorch={"model_data": "data"})


def a_key_nobody_knows(folder: Path, marker: Path) -> None:
    change(folder, sklearn={"hook": "evil:run"})


def a_config(folder: Path, marker: Path) -> None:
    change(folder, python_function={"config": {"a": "file"}})


def session_options(folder: Path, marker: Path) -> None:
    change(folder, python_function={"loader_module": "mlflow.onnx", "data": "model.pkl", "model_path": None})
    change(folder, sklearn={"pickled_model": None}, onnx={"data": "model.pkl"})
    change(folder, onnx={"onnx_session_options": {"extra_session_config": {"session.x": "1"}}})


HOSTILE = (
    loader_of_its_own,
    code_beside_a_known_loader,
    code_of_the_flavour,
    code_in_a_list,
    a_class_of_its_own,
    a_class_of_the_standard_library,
    a_pickle,
    an_old_pickle,
    a_compressed_pickle,
    a_pickle_under_another_name,
    two_model_files,
    a_second_mlmodel,
    a_skops_file_with_types_of_its_own,
    a_python_model,
    a_model_from_code,
    a_method_of_its_own,
    a_flavour_that_reads_further_files,
    a_key_nobody_knows,
    a_config,
    session_options,
)


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_folders_run_nothing(attack: Any, folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    attack(folder, marker)
    assert scan(folder, "mlflow").scan.verdict == "objected"
    for settings in ({}, {"trusted_pickle": True}):
        with pytest.raises((Untrusted, BadPackage)):
            load("mlflow", folder, settings=settings)
    assert not marker.exists()


@pytest.mark.parametrize("path", ["../m.pkl", "/etc/passwd", "a/../../m.pkl", "a\\..\\m.pkl", "link.pkl", "sub/m.pkl"])
@pytest.mark.parametrize("key", ["model_path", "data", "code"])
def test_paths_that_lead_elsewhere_are_refused(key: str, path: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(1))
    (folder / "link.pkl").symlink_to(tmp_path / "m.pkl")
    (folder / "sub").symlink_to(tmp_path)
    change(folder, python_function={key: path})
    for trusted in (False, True):
        with pytest.raises(BadPackage):
            load("mlflow", folder, trusted=trusted)
    with pytest.raises(BadPackage):
        scan(folder, "mlflow")


@pytest.mark.parametrize("name", ["x.py", "x.pyc", "x.so", "x.pth", "lib/x.whl", "x.DLL"])
def test_code_in_the_folder_is_told(name: str, folder: Path) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    assert scan(folder, "mlflow").scan.objections == (f"code {name}",)


def _zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("evil.py"), "")  # whose time is not that of the import: it is part of an id
    return out.getvalue()


def _array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([{}], dtype=object), allow_pickle=True)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (_zipped(), "archive x"),
        (b"#!python\n" + _zipped(), "archive x"),
        (_array(), "pickled array x"),
        (b"\x7fELF" + bytes(100), "code x"),
        (pickle.dumps(Path.touch), "pathlib"),
        (b"\x80\x04broken", "broken pickle x"),
    ],
)
def test_files_are_told_by_their_content(data: bytes, said: str, folder: Path) -> None:
    (folder / "x").write_bytes(data)
    assert any(said in text for text in scan(folder, "mlflow").scan.objections)


def test_what_mlflow_writes_beside_the_model_is_no_objection(folder: Path) -> None:
    for name in ("conda.yaml", "python_env.yaml", "requirements.txt"):
        assert (folder / name).exists()
    (folder / "input_example.json").write_text("{}")
    assert scan(folder, "mlflow").scan.objections == ()
    assert read(folder).objections == ()


@pytest.mark.parametrize("side", ["inputs", "outputs", "params"])
@pytest.mark.parametrize("text", ["[" * 100_000, "[" + "{}," * 300_000 + "{}]", 7, "nonsense"])
def test_signatures_are_read_within_bounds(side: str, text: Any, folder: Path) -> None:
    conf = yaml.safe_load((folder / "MLmodel").read_text())
    conf["signature"][side] = text
    (folder / "MLmodel").write_text(yaml.safe_dump(conf))
    with pytest.raises(ArgosyError):
        load("mlflow", folder)
