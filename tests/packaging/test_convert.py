import errno
import re
from pathlib import Path

import joblib
import msgspec
import numpy as np
import pandas as pd
import pytest

from argosy.engines import load as load_engine
from argosy.packaging import convert, examine
from argosy.protocol import tensorfile
from argosy.spec.errors import StorageFull
from argosy.spec.package import Tolerance
from argosy.spec.tensor import Tensor


def examined(path: Path, into: Path, sample: Path | None = None) -> examine.Task:
    task = examine.Task(
        engine="sklearn",
        weights=str(path),
        settings={},
        sample=str(sample or ""),
        tolerance=Tolerance(),
        into=str(into),
    )
    found = examine.examine(task)
    return msgspec.structs.replace(task, signature=found.signature)


def test_agreement_on_every_row_is_needed(digits_joblib, digits_sample, tmp_path):
    task = examined(digits_joblib, tmp_path, digits_sample)
    verdict, signature = convert.convert(task)
    assert verdict.converted
    assert [spec.datatype for spec in signature.outputs] == ["INT64", "FP64"]

    answers = tensorfile.read(tmp_path / examine.PREDICTIONS)
    label = answers[0].array.copy()
    label[[3, 77]] = (label[[3, 77]] + 1) % 10
    tensorfile.write(tmp_path / examine.PREDICTIONS, [Tensor("label", "INT64", label), answers[1]])
    verdict, signature = convert.convert(task)
    assert not verdict.converted
    assert "the sample: the ONNX model differs on 2 of 600 rows" in verdict.reason


def test_a_full_disk_is_no_verdict_on_the_model(digits_joblib, digits_sample, tmp_path, monkeypatch):
    task = examined(digits_joblib, tmp_path, digits_sample)

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(StorageFull):
        convert.convert(task)


def test_a_tree_without_a_sample_is_compared_around_its_thresholds(digits, tmp_path):
    from sklearn.tree import DecisionTreeClassifier

    joblib.dump(DecisionTreeClassifier(max_depth=5, random_state=0).fit(*digits), tmp_path / "f.joblib")
    verdict, _ = convert.convert(examined(tmp_path / "f.joblib", tmp_path))
    assert verdict.converted, verdict.reason


def test_without_a_sample_nothing_is_converted_whose_inputs_nothing_bounds(digits, tmp_path):
    from sklearn.linear_model import LinearRegression

    joblib.dump(LinearRegression().fit(*digits), tmp_path / "f.joblib")
    verdict, _ = convert.convert(examined(tmp_path / "f.joblib", tmp_path))
    assert not verdict.converted
    assert verdict.reason == "no sample, and the model's own data does not bound its inputs: give --sample"


def test_the_reason_names_the_probe_with_column_and_value(tmp_path):
    from sklearn.svm import SVC

    x = np.random.default_rng(0).normal(size=(200, 2))
    joblib.dump(SVC().fit(x, x[:, 0] > 0), tmp_path / "m.joblib")
    np.save(tmp_path / "x.npy", x)
    verdict, _ = convert.convert(examined(tmp_path / "m.joblib", tmp_path, tmp_path / "x.npy"))
    assert not verdict.converted
    assert re.search(
        r"boundaries: the ONNX model differs on \d+ of 256 rows, the first with column 'x\[[01]\]' = ", verdict.reason
    )


@pytest.mark.parametrize("kind", ["regressor", "two targets", "transformer", "strings"])
def test_outputs_keep_names_and_axes(kind, tmp_path):
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.preprocessing import StandardScaler

    x = np.random.default_rng(0).normal(size=(80, 3))
    models = {
        "regressor": lambda: LinearRegression().fit(x, x[:, 0]),
        "two targets": lambda: LinearRegression().fit(x, x[:, :2]),
        "transformer": lambda: StandardScaler().fit(x),
        "strings": lambda: LogisticRegression().fit(x, np.where(x[:, 0] > 0, "up", "down")),
    }
    joblib.dump(models[kind](), tmp_path / "m.joblib")
    np.save(tmp_path / "x.npy", x)
    task = examined(tmp_path / "m.joblib", tmp_path, tmp_path / "x.npy")
    verdict, signature = convert.convert(task)
    assert verdict.converted, verdict.reason
    engine = load_engine("onnx", tmp_path / convert.MODEL, signature=signature)
    assert engine.signature.outputs == task.signature.outputs


def test_a_pipeline_that_names_its_columns_is_cut_out_of_one_matrix(tmp_path):
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=["a", "b", "c"])
    columns = ColumnTransformer([("s", StandardScaler(), ["c", "a"]), ("m", MinMaxScaler(), ["b"])])
    joblib.dump(make_pipeline(columns, LinearRegression()).fit(frame, frame["a"]), tmp_path / "m.joblib")
    frame.to_parquet(tmp_path / "x.parquet")
    verdict, signature = convert.convert(examined(tmp_path / "m.joblib", tmp_path, tmp_path / "x.parquet"))
    assert verdict.converted, verdict.reason
    assert signature.inputs[0].columns == ("a", "b", "c")
