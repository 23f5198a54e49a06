from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from argosy.packaging import examine
from argosy.packaging.mlmodel import example
from argosy.packaging.profile import Profile
from argosy.protocol import tensorfile
from argosy.spec.errors import BadPackage, InvalidArgument
from argosy.spec.package import Tolerance


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
