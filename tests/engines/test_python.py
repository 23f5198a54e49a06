from pathlib import Path

import numpy as np
import pytest

from argosy.engines import load
from argosy.spec.errors import BadPackage, Internal, InvalidArgument
from argosy.spec.signature import Signature, TensorSpec

X = TensorSpec(name="x", datatype="FP32", shape=(-1, 2))
ROWS = {"x": np.ones((3, 2), "f4")}


def folder(path: Path, body: str, **others: str) -> Path:
    """A folder with model.py holding class Model whose predict has this body."""
    path.mkdir(exist_ok=True)
    lines = "\n".join("        " + line for line in body.splitlines())
    (path / "model.py").write_text(
        f"import numpy as np\nclass Model:\n    def load(self, path):\n        self.path = path\n"
        f"    def predict(self, inputs):\n        x = inputs['x']\n{lines}\n"
    )
    for name, text in others.items():
        (path / f"{name}.py").write_text(text)
    return path


def engine(path: Path, *outputs: TensorSpec, cls: str = "model:Model"):
    return load(
        "python", path, signature=Signature(inputs=(X,), outputs=outputs), settings={"class": cls}, trusted=True
    )


def test_a_dict_or_one_array(tmp_path: Path) -> None:
    y = TensorSpec(name="y", datatype="FP32", shape=(-1,))
    for body in ("return {'y': x.sum(1)}", "return x.sum(1)"):
        assert engine(folder(tmp_path / body[7], body), y).predict(ROWS)[0].tolist() == [2, 2, 2]


def test_strings_become_bytes(tmp_path: Path) -> None:
    y = TensorSpec(name="y", datatype="BYTES", shape=(-1,))
    (out,) = engine(folder(tmp_path / "m", "return np.array(['é', 'b', ''])"), y).predict(ROWS)
    assert out.tolist() == ["é".encode(), b"b", b""]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return {'z': x[:, 0], 'y': x[:, 0]}", "'z' that the signature does not have"),
        ("return {}", "no output 'y'"),
        ("return {'y': [1, 2, 3]}", "is a list"),
        ("return None", "returned a NoneType"),
        ("return x[:2, 0]", "2 rows for 3 rows"),
        ("return x", r"shape \[3, 2\]"),
        ("return x[:, 0].astype('f8')", "dtype float64"),
        ("return np.array(['a', 'b', 'c'])", "dtype <U1"),
        ("raise KeyError('boom')", "raised KeyError: 'boom'"),
    ],
)
def test_what_predict_gets_wrong(tmp_path: Path, body: str, message: str) -> None:
    model = engine(folder(tmp_path / "m", body), TensorSpec(name="y", datatype="FP32", shape=(-1,)))
    with pytest.raises(Internal, match=message):
        model.predict(ROWS)


def test_two_models_do_not_meet(tmp_path: Path) -> None:
    import sys

    y = TensorSpec(name="y", datatype="FP32", shape=(-1,))
    before = set(sys.modules)
    models = []
    for number in (1, 2):
        path = folder(tmp_path / str(number), "return x[:, 0] * factor + extra", helper=f"VALUE = {number}\n")
        (path / "other.py").write_text(f"TEN = {number * 10}\n")
        source = (path / "model.py").read_text()
        (path / "model.py").write_text(f"from helper import VALUE as factor\nfrom .other import TEN as extra\n{source}")
        models.append(engine(path, y))
    assert [model.predict(ROWS)[0][0] for model in models] == [11, 22]
    assert not {name for name in set(sys.modules) - before if name in ("helper", "other", "model")}
    assert not list(tmp_path.rglob("__pycache__"))
    for model in models:
        model.close()
    assert not set(sys.modules) - before


def test_outputs_are_found_from_a_sample(tmp_path: Path) -> None:
    path = folder(tmp_path / "m", "return {'a': x.sum(1), 'b': np.array([str(v) for v in x[:, 0]])}")
    signature = Signature(inputs=(X,), outputs=())
    settings = {"class": "model:Model"}
    found = load("python", path, signature=signature, settings=settings, sample=ROWS, trusted=True).signature
    assert [(spec.name, spec.datatype, spec.shape) for spec in found.outputs] == [
        ("a", "FP32", (-1,)),
        ("b", "BYTES", (-1,)),
    ]
    assert found.batched


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    path = folder(tmp_path / "m", "return x", broken="import nothing_of_the_kind\n", leaves="raise SystemExit(3)\n")
    y = TensorSpec(name="y", datatype="FP32", shape=(-1, 2))
    for cls, message in (
        ("model:Gone", "no class 'Gone'"),
        ("gone:Model", "gone"),
        ("broken:Model", "nothing_of_the_kind"),
        ("leaves:Model", "SystemExit"),
    ):
        with pytest.raises(BadPackage, match=message):
            engine(path, y, cls=cls)
    for cls in ("model", "", "../x:Model", "a b:Model"):
        with pytest.raises(InvalidArgument, match="module:Class"):
            engine(path, y, cls=cls)
    with pytest.raises(BadPackage, match="no folder"):
        engine(path / "model.py", y)
    with pytest.raises(InvalidArgument, match="--sample"):
        load("python", path, settings={"class": "model:Model"}, trusted=True)


def test_truncated_source(tmp_path: Path) -> None:
    path = folder(tmp_path / "m", "return {'y': x.sum(1)}")
    data = (path / "model.py").read_text()
    for part in (0.0, 0.1, 0.5, 0.93):
        (path / "model.py").write_text(data[: int(len(data) * part)])
        with pytest.raises(BadPackage):
            engine(path, TensorSpec(name="y", datatype="FP32", shape=(-1,)))


DECLARED = {
    "rows": """
    def predict(self, rows: list[dict]) -> list[dict]:
        return [{"text": row["city"] + "!", "twice": row["age"] * 2} for row in rows]
""",
    "frame": """
    def predict(self, frame: "pd.DataFrame"):
        return frame.assign(text=frame.city + "!", twice=frame.age * 2)[["text", "twice"]]
""",
    "names": """
    def predict(self, age, city):
        assert all(type(each) is str for each in city)
        return {"text": np.array([each + "!" for each in city]), "twice": age * 2}
""",
}


@pytest.mark.parametrize("form", DECLARED)
@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_predict_gets_what_it_declares(tmp_path: Path, form: str, future: str) -> None:
    source = f"{future}import numpy as np\nimport pandas as pd\n\nclass Model:\n    def load(self, path): ...\n"
    (tmp_path / "model.py").write_text(source + DECLARED[form])
    inputs = (
        TensorSpec(name="age", datatype="FP64", shape=(-1,)),
        TensorSpec(name="city", datatype="BYTES", shape=(-1,)),
    )
    given = {"age": np.array([1.0, 2.5]), "city": np.array(["é".encode(), b"b"], object)}
    model = load(
        "python",
        tmp_path,
        signature=Signature(inputs=inputs, outputs=()),
        settings={"class": "model:Model"},
        sample=given,
        trusted=True,
    )
    assert [(spec.name, spec.datatype) for spec in model.signature.outputs] == [("text", "BYTES"), ("twice", "FP64")]
    text, twice = model.predict(given)
    assert (text.tolist(), twice.tolist()) == (["é!".encode(), b"b!"], [2, 5])


def test_columns_of_one_matrix_by_name(tmp_path: Path) -> None:
    body = "class Model:\n    def load(self, path): ...\n    def predict(self, a, b):\n        return a - b\n"
    (tmp_path / "model.py").write_text(body)
    x = TensorSpec(name="x", datatype="FP64", shape=(-1, 2), columns=("b", "a"))
    y = TensorSpec(name="y", datatype="FP64", shape=(-1,))
    model = load(
        "python",
        tmp_path,
        signature=Signature(inputs=(x,), outputs=(y,)),
        settings={"class": "model:Model"},
        trusted=True,
    )
    assert model.predict({"x": np.array([[1.0, 5.0]])})[0].tolist() == [4]
