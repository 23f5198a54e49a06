import collections
import functools
import operator
import os
import pickle
import subprocess

import joblib
import numpy as np
import pytest

from argosy.packaging.scan import scan
from argosy.spec.errors import BadPackage
from tests.packaging.conftest import Call, pickled


def names(path, kind="joblib"):
    return scan(path, kind).scan.objections


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_real_estimators_are_clean(digits_joblib, people_joblib, forest, tmp_path):
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier

    x, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
    assert scan(digits_joblib, "joblib").scan.verdict == "clean"
    assert names(people_joblib) == ()
    models = [HistGradientBoostingClassifier(max_iter=2), KNeighborsClassifier(), MLPClassifier((3,), max_iter=1)]
    for number, model in enumerate([forest, *models]):
        if number:
            model.fit(x, y)
        joblib.dump(model, tmp_path / "m", compress=number % 3)
        assert names(tmp_path / "m") == ()


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("true",)),
        (eval, ("1+1",)),
        (exec, ("pass",)),
        (getattr, ("", "x")),
        (subprocess.Popen, ("true",)),
        (operator.attrgetter, ("x",)),
        (functools.partial, (print,)),
        (np.load, ("x",)),
        (np.memmap, ("x",)),
        (__import__, ("os",)),
        (open, ("x",)),
        (pickle.loads, (b"x",)),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_dangerous_calls_are_objected_to(function, arguments, protocol, tmp_path):
    path = pickled(Call(function, *arguments), tmp_path / "m", protocol)
    assert scan(path, "pickle").scan.verdict == "objected"


def test_calls_hidden_in_other_objects_are_found(tmp_path):
    inner = {"a": [collections.OrderedDict(b=Call(os.system, "true"))]}
    assert any("system" in name for name in names(pickled(inner, tmp_path / "m")))
    nested = Call(list, [Call(eval, "1")])
    assert "builtins.eval" in names(pickled(nested, tmp_path / "m"))


def test_calls_behind_and_inside_of_raw_arrays_are_found(tmp_path):
    joblib.dump([np.arange(1000.0), Call(os.system, "true")], tmp_path / "m")
    assert any("system" in name for name in names(tmp_path / "m"))
    objects = np.array([Call(eval, "1"), None], dtype=object)
    joblib.dump({"x": objects}, tmp_path / "m", compress=3)
    assert "builtins.eval" in names(tmp_path / "m")


def test_broken_and_truncated_pickles_are_bad(digits_joblib, tmp_path):
    data = digits_joblib.read_bytes()
    for part in (data[:-200], data[:60], b"\x80\x04garbage.", data[:300] + b"\0\0\0" + data[300:]):
        (tmp_path / "m").write_bytes(part)
        with pytest.raises(BadPackage):
            scan(tmp_path / "m", "joblib")


def test_extension_codes_are_refused(tmp_path):
    (tmp_path / "m").write_bytes(b"\x80\x02\x82\x01.")
    assert "extension codes" in names(tmp_path / "m")[0]


def test_skops_lists_what_it_would_have_to_trust(digits_model, tmp_path):
    import skops.io

    skops.io.dump(digits_model, tmp_path / "m.skops")
    assert scan(tmp_path / "m.skops", "skops").scan.verdict == "clean"
    skops.io.dump({"f": os.system}, tmp_path / "bad.skops")
    assert any("system" in name for name in names(tmp_path / "bad.skops", "skops"))
    (tmp_path / "cut.skops").write_bytes((tmp_path / "m.skops").read_bytes()[:200])
    with pytest.raises(BadPackage, match="broken skops"):
        scan(tmp_path / "cut.skops", "skops")


def test_mlflow_folders_are_scanned_file_by_file(tmp_path):
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {loader_module: mlflow.sklearn, model_path: m.pkl}}")
    pickled({"a": 1}, tmp_path / "m.pkl")
    assert names(tmp_path, "mlflow") == ()
    pickled(Call(os.system, "true"), tmp_path / "m.pkl")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "x.py").write_text("")
    assert {"code code/x.py"} < set(names(tmp_path, "mlflow"))
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {loader_module: evil.loader}}")
    assert "loader_module evil.loader" in names(tmp_path, "mlflow")


def test_formats_without_code_are_data_only(digits_onnx):
    assert scan(digits_onnx, "onnx").scan.verdict == "data-only"
