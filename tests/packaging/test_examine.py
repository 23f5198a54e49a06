from pathlib import Path

import joblib
import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from argosy.engines import load
from argosy.packaging import examine
from argosy.packaging.mlmodel import example
from argosy.packaging.profile import Profile
from argosy.protocol import tensorfile
from argosy.spec.errors import BadPackage, InvalidArgument
from argosy.spec.package import Tolerance
from argosy.spec.signature import Domain


def task(engine, weights, into, sample="", **settings):
    return examine.Task(
        engine=engine,
        weights=str(weights),
        settings=settings,
        sample=str(sample),
        tolerance=Tolerance(),
        into=str(into),
    )


def test_a_long_sample_is_thinned_but_keeps_its_ends(trees, tmp_path, monkeypatch):
    monkeypatch.setattr(examine, "MAX_ROWS", 50)
    x = np.random.default_rng(0).normal(size=(400, 3))
    np.save(tmp_path / "x.npy", x)
    found = examine.examine(task("lightgbm", trees, tmp_path, tmp_path / "x.npy"))
    assert (found.sample_rows, found.golden_rows) == (50, 16)
    inputs = tensorfile.read(tmp_path / examine.GOLDEN_IN)[0].array
    assert (inputs[0] == x[0]).all()
    assert (inputs[-1] == x[-1]).all()
    assert b'"rows":50' in (tmp_path / examine.PROFILE).read_bytes()
    assert Profile.__struct_fields__ == ("rows", "inputs", "outputs")


def test_columns_without_names_in_the_model_get_those_of_the_sample(digits_onnx, digits, tmp_path):
    frame = pd.DataFrame(digits[0][:20], columns=[f"p{i}" for i in range(64)])
    frame.to_parquet(tmp_path / "x.parquet")
    found = examine.examine(task("onnx", digits_onnx, tmp_path, tmp_path / "x.parquet"))
    assert found.signature.inputs[0].columns[:2] == ("p0", "p1")
    frame.rename(columns={"p3": "other"}).drop(columns="p5").to_parquet(tmp_path / "y.parquet")
    with pytest.raises(InvalidArgument, match=r"63 columns; input 'X' takes 64"):
        examine.examine(task("onnx", digits_onnx, tmp_path, tmp_path / "y.parquet"))


def test_a_network_that_amplifies_rounding_is_still_batched(tmp_path):
    import magika

    model = Path(magika.__file__).parent / "models" / "standard_v3_3" / "model.onnx"
    found = examine.examine(task("onnx", model, tmp_path))
    assert found.signature.batched
    assert found.golden_rows == 16


@pytest.mark.parametrize(
    "text",
    [
        '{"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, "x"], [2.5, "y"]]}}',
        '{"columns": ["a", "b"], "data": [[1.5, "x"], [2.5, "y"]]}',
        '{"dataframe_records": [{"a": 1.5, "b": "x"}, {"a": 2.5, "b": "y"}]}',
    ],
)
def test_input_examples_of_mlflow_in_their_layouts(text, tmp_path):
    assert example(tmp_path) is None
    (tmp_path / "input_example.json").write_text(text)
    table = example(tmp_path)
    assert table.arrays["a"].tolist() == [1.5, 2.5]
    assert table.arrays["b"].tolist() == ["x", "y"]


def test_arrays_as_input_examples_and_broken_ones(tmp_path):
    (tmp_path / "serving_input_example.json").write_text('{"inputs": [[1, 2], [3, 4]]}')
    assert example(tmp_path).arrays[""].shape == (2, 2)
    (tmp_path / "serving_input_example.json").write_text('{"inputs": [[1], [2, 3]]}')
    with pytest.raises(BadPackage, match=r"serving_input_example.json"):
        example(tmp_path)


@pytest.mark.parametrize("body", ['frame["city"].str.upper()', 'frame["city"].map(lambda city: city.upper())'])
def test_a_class_is_asked_whether_a_category_may_be_missing(tmp_path, body):
    """pandas' own method takes a missing text; that of `str` does not."""
    (tmp_path / "m").mkdir()
    source = tmp_path / "m" / "model.py"
    source.write_text(
        "import pandas as pd\n\nclass Model:\n    def load(self, path): ...\n"
        f'    def predict(self, frame: pd.DataFrame):\n        return {{"upper": {body}.fillna("?").to_numpy()}}\n'
    )
    sample = tmp_path / "x.csv"
    sample.write_text("age,city\n1.5,Bern\n2.5,Basel\n")
    asked = msgspec.structs.replace(task("python", source.parent, tmp_path, sample), settings={"class": "model:Model"})
    found = examine.examine(msgspec.structs.replace(asked, trusted=True))
    assert [spec.nullable for spec in found.signature.inputs] == [True, ".str." in body]


def written(kind: str, folder: Path) -> Path:
    """A model of two numbers, as an export that takes any, or as a class that fails at gaps."""
    if kind == "onnx":
        import onnx

        ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 2]) for name in "xy"]
        node = onnx.helper.make_node("Add", ["x", "x"], ["y"])
        graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:])
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
        (folder / "m.onnx").write_bytes(model.SerializeToString())
        return folder / "m.onnx"
    if kind == "torch":
        import torch

        rows = {0: torch.export.Dim("n")}
        layer = torch.nn.ReLU()
        torch.export.save(torch.export.export(layer, (torch.zeros(2, 2),), dynamic_shapes=(rows,)), folder / "m.pt2")
        return folder / "m.pt2"
    (folder / "m").mkdir()
    (folder / "m" / "model.py").write_text(
        "import numpy as np\n\nclass Model:\n    def load(self, path): ...\n    def predict(self, inputs):\n"
        "        if np.isnan(inputs['x']).any(): raise ValueError('gaps')\n        return {'y': inputs['x'] * 2}\n"
    )
    return folder / "m"


@pytest.mark.parametrize("kind", ["onnx", pytest.param("torch", marks=pytest.mark.torch), "python"])
def test_a_missing_number_is_refused_unless_the_sample_has_one(tmp_path, kind):
    path = written(kind, tmp_path)
    settings = {"class": "model:Model"} if kind == "python" else {}
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(9, 2)).astype("f4"), columns=["a", "b"])
    frame.to_parquet(tmp_path / "x.parquet")
    asked = msgspec.structs.replace(task(kind, path, tmp_path, tmp_path / "x.parquet", **settings), trusted=True)
    signature = examine.examine(asked).signature
    assert signature.inputs[0].domain == Domain(gaps=(False,))
    engine = load(kind, path, signature=signature, settings=settings, trusted=True)
    rows = np.ones((3, 2), np.float32)
    assert len(engine.predict({signature.inputs[0].name: rows})[0]) == 3
    rows[2, 1] = np.nan
    with pytest.raises(InvalidArgument, match=r"row 2, column 'b': a value is missing, and the model takes none"):
        engine.predict({signature.inputs[0].name: rows})
    if kind != "python":
        frame.loc[4, "a"] = np.nan
        frame.to_parquet(tmp_path / "x.parquet")
        found = examine.examine(asked).signature.inputs[0]
        assert (found.nullable, found.domain) == (True, None)
        engine = load(kind, path, signature=examine.examine(asked).signature)
        assert np.isnan(engine.predict({found.name: rows})[0][2]).any()


class Ratio(TransformerMixin, BaseEstimator):
    """A step of somebody's own, which takes its columns by name."""

    def fit(self, x, y=None):
        return self

    def transform(self, frame):
        return (frame["income"] / frame["age"]).to_numpy().reshape(-1, 1)


def test_a_step_of_ones_own_gets_the_data_frame_that_it_was_trained_on(tmp_path):
    frame = pd.DataFrame({"age": [20, 40, 50, 30], "income": [10.0, 80.0, 25.0, 90.0]})
    model = make_pipeline(Ratio(), LinearRegression()).fit(frame, [1, 2, 3, 4])
    joblib.dump(model, tmp_path / "m.joblib")
    frame.to_parquet(tmp_path / "x.parquet")
    asked = msgspec.structs.replace(
        task("sklearn", tmp_path / "m.joblib", tmp_path, tmp_path / "x.parquet"), trusted=True
    )
    found = examine.examine(asked).signature
    assert [(spec.name, spec.datatype, spec.shape) for spec in found.inputs] == [
        ("age", "INT64", (-1,)),
        ("income", "FP64", (-1,)),
    ]
    given, answers = (tensorfile.read(tmp_path / name) for name in (examine.GOLDEN_IN, examine.GOLDEN_OUT))
    rows = pd.DataFrame({tensor.name: tensor.array for tensor in given})
    np.testing.assert_allclose(answers[0].array, model.predict(rows))


def test_what_no_form_of_the_sample_mends_is_told_as_it_was_first(tmp_path):
    model = make_pipeline(Ratio(), LinearRegression()).fit(pd.DataFrame({"age": [1, 2], "income": [3, 4]}), [1, 2])
    joblib.dump(model, tmp_path / "m.joblib")
    pd.DataFrame({"age": [1, 2], "pay": [3, 4]}).to_csv(tmp_path / "x.csv", index=False)
    asked = msgspec.structs.replace(task("sklearn", tmp_path / "m.joblib", tmp_path, tmp_path / "x.csv"), trusted=True)
    with pytest.raises(InvalidArgument, match=r"the model does not accept the sample: .*indices"):
        examine.examine(asked)
