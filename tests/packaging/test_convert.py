import errno
from pathlib import Path

import joblib
import msgspec
import numpy as np
import pandas as pd
import pytest

from argosy.engines import load as load_engine
from argosy.packaging import convert, examine
from argosy.packaging.convert import onnx_signature
from argosy.packaging.profile import Profile
from argosy.profiles.layout import layout, reference_counts
from argosy.profiles.recorder import Recorder
from argosy.protocol import tensorfile
from argosy.spec.errors import StorageFull
from argosy.spec.package import Tolerance
from argosy.spec.signature import Signature, TensorSpec
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
    assert [spec.datatype for spec in signature.outputs] == ["INT64", "FP32"]

    answers = tensorfile.read(tmp_path / examine.PREDICTIONS)
    label = answers[0].array.copy()
    label[[3, 77]] = (label[[3, 77]] + 1) % 10
    tensorfile.write(tmp_path / examine.PREDICTIONS, [Tensor("label", "INT64", label), answers[1]])
    verdict, signature = convert.convert(task)
    assert not verdict.converted
    assert "differs on 2 of 600 rows: output 'label', row 3" in verdict.reason


def test_the_profile_is_that_of_the_numbers_the_converted_model_sees(tmp_path):
    """0.1 as FP64 is less than 0.1 as FP32: it must fall into the same bin as the rows that will be asked."""
    from sklearn.linear_model import LinearRegression

    x = np.round(np.random.default_rng(0).random((400, 2)), 1)
    joblib.dump(LinearRegression().fit(x, x[:, 0]), tmp_path / "m.joblib")
    pd.DataFrame(x, columns=["a", "b"]).to_csv(tmp_path / "x.csv", index=False)
    (tmp_path / "into").mkdir()
    verdict, signature = convert.convert(examined(tmp_path / "m.joblib", tmp_path / "into", tmp_path / "x.csv"))
    assert verdict.converted
    found = msgspec.json.decode((tmp_path / "into" / examine.PROFILE).read_bytes(), type=Profile)
    where = layout(found, signature)
    recorder = Recorder(where, "1")
    recorder.add(0, {"x": x.astype("f4")}, {"prediction": x[:, 0].astype("f4")})
    (came,) = recorder.take(60)
    expected = reference_counts(where, found)
    assert where.columns[0].datatype == "FP32"
    assert came.counts[where.slice(0)] == tuple(expected[where.slice(0)].tolist())


def test_a_full_disk_is_no_verdict_on_the_model(digits_joblib, digits_sample, tmp_path, monkeypatch):
    task = examined(digits_joblib, tmp_path, digits_sample)

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(StorageFull):
        convert.convert(task)


def test_a_tree_without_a_sample_is_compared_on_many_made_up_rows(digits, tmp_path):
    from sklearn.tree import DecisionTreeClassifier

    joblib.dump(DecisionTreeClassifier(max_depth=5, random_state=0).fit(*digits), tmp_path / "f.joblib")
    verdict, _ = convert.convert(examined(tmp_path / "f.joblib", tmp_path))
    assert verdict.converted
    assert "784 rows" in verdict.reason


@pytest.mark.parametrize("kind", ["regressor", "two targets", "transformer", "clusterer", "strings"])
def test_outputs_keep_names_and_axes(kind, tmp_path):
    from sklearn.cluster import KMeans
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.preprocessing import StandardScaler

    x = np.random.default_rng(0).normal(size=(80, 3))
    models = {
        "regressor": lambda: LinearRegression().fit(x, x[:, 0]),
        "two targets": lambda: LinearRegression().fit(x, x[:, :2]),
        "transformer": lambda: StandardScaler().fit(x),
        "clusterer": lambda: KMeans(2, n_init=1, random_state=0).fit(x),
        "strings": lambda: LogisticRegression().fit(x, np.where(x[:, 0] > 0, "up", "down")),
    }
    joblib.dump(models[kind](), tmp_path / "m.joblib")
    task = examined(tmp_path / "m.joblib", tmp_path)
    verdict, signature = convert.convert(task)
    assert verdict.converted, verdict.reason
    engine = load_engine("onnx", tmp_path / convert.MODEL, signature=signature)
    native = {spec.name: (spec.shape, spec.datatype.replace("FP64", "FP32")) for spec in task.signature.outputs}
    assert {spec.name: (spec.shape, spec.datatype) for spec in engine.signature.outputs} == native


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


def test_types_onnx_and_scikit_learn_do_not_share():
    spec = TensorSpec(name="x", datatype="UINT8", shape=(-1, 2))
    assert onnx_signature(Signature(inputs=(spec,), outputs=())) is None
