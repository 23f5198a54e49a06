from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.mixture import GaussianMixture
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KernelDensity, KNeighborsClassifier, LocalOutlierFactor, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, OneClassSVM

from argosy.engines import load
from argosy.spec.errors import BadPackage, InvalidArgument, Untrusted
from argosy.spec.signature import Signature, TensorSpec

X, Y = load_iris(return_X_y=True)


def dump(path: Path, model: object) -> Path:
    joblib.dump(model, path)
    return path


def names(engine) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(spec.name, spec.datatype, spec.shape) for spec in engine.signature.outputs]


def test_a_classifier(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(X, Y)
    engine = load("sklearn", dump(tmp_path / "m", model))
    assert names(engine) == [("label", "INT64", (-1,)), ("probabilities", "FP64", (-1, 3))]
    label, probabilities = engine.predict({"x": X})
    np.testing.assert_array_equal(label, model.predict(X))
    np.testing.assert_array_equal(probabilities, model.predict_proba(X))


@pytest.mark.parametrize("names", [np.array([3, 5, 9]), np.array(["a", "b", "ü"])])
def test_classes_of_probabilities(tmp_path: Path, names: np.ndarray) -> None:
    engine = load("sklearn", dump(tmp_path / "m", LogisticRegression(max_iter=500).fit(X, names[Y])))
    label, probabilities = engine.signature.outputs
    assert (label.classes, probabilities.classes) == ((), tuple(map(str, names)))


def test_string_labels_and_no_probabilities(tmp_path: Path) -> None:
    model = RidgeClassifier().fit(X, np.array(["a", "b", "ü"])[Y])
    engine = load("sklearn", dump(tmp_path / "m", model))
    assert names(engine) == [("label", "BYTES", (-1,))]
    assert set(engine.predict({"x": X})[0].tolist()) == {b"a", b"b", "ü".encode()}


@pytest.mark.parametrize(
    ("model", "output"),
    [
        (LinearRegression(), ("prediction", "FP64", (-1,))),
        (KMeans(3, n_init=1, random_state=0), ("label", "INT32", (-1,))),
        (StandardScaler(), ("transformed", "FP64", (-1, 4))),
    ],
)
def test_other_estimators(tmp_path: Path, model, output: tuple[str, str, tuple[int, ...]]) -> None:
    path = tmp_path / "m.skops"
    skops.io.dump(model.fit(X, Y), path)
    engine = load("sklearn", path)
    assert names(engine) == [output]
    assert engine.predict({"x": X})[0].shape[0] == len(X)


def test_columns_of_one_tensor(tmp_path: Path) -> None:
    frame, target = load_diabetes(return_X_y=True, as_frame=True)
    model = LinearRegression().fit(frame, target)
    engine = load("sklearn", dump(tmp_path / "m", model))
    assert engine.signature.inputs[0].columns == tuple(frame.columns)
    np.testing.assert_array_equal(engine.predict({"x": frame.to_numpy()})[0], model.predict(frame))


def test_names_are_kept_for_what_selects_by_name(tmp_path: Path) -> None:
    frame, target = load_diabetes(return_X_y=True, as_frame=True)
    chosen = ColumnTransformer([("some", "passthrough", ["bmi", "bp"])])
    for model, kept in (
        (make_pipeline(StandardScaler(), LinearRegression()), False),
        (make_pipeline(chosen, Own()), True),
    ):
        model.fit(frame, target)
        want = model.predict(frame)
        engine = load("sklearn", dump(tmp_path / "m", model), trusted=kept)
        assert engine._frame == kept
        np.testing.assert_array_equal(engine.predict({"x": frame.to_numpy()})[0], want)


def test_columns_in_another_order(tmp_path: Path) -> None:
    frame, target = load_diabetes(return_X_y=True, as_frame=True)
    path = dump(tmp_path / "m", LinearRegression().fit(frame, target))
    back = TensorSpec(name="x", datatype="FP64", shape=(-1, 10), columns=tuple(reversed(frame.columns)))
    with pytest.raises(InvalidArgument, match="order"):
        load("sklearn", path, signature=Signature(inputs=(back,), outputs=()))


def mixed() -> tuple[object, pd.DataFrame, dict[str, np.ndarray], Signature]:
    frame = pd.DataFrame(
        {"age": [1.0, np.nan, 3.0, 4.0], "n": [1, 2, 3, 4], "city": pd.Series(["a", "b", None, "a"], dtype=object)}
    )
    columns = ColumnTransformer(
        [
            ("number", SimpleImputer(), ["age", "n"]),
            ("text", make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), ["city"]),
        ]
    )
    frame["city"] = frame["city"].fillna(np.nan)
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(frame, [0, 1, 0, 1])
    tensors = {
        "age": frame["age"].to_numpy(),
        "n": frame[["n"]].to_numpy(),
        "city": np.array([b"a", b"b", b"", b"a"], dtype=object),
    }
    inputs = (
        TensorSpec(name="age", datatype="FP64", shape=(-1,), nullable=True),
        TensorSpec(name="n", datatype="INT64", shape=(-1, 1)),
        TensorSpec(name="city", datatype="BYTES", shape=(-1,), nullable=True),
    )
    return model, frame, tensors, Signature(inputs=inputs, outputs=())


def test_a_frame_of_several_inputs(tmp_path: Path) -> None:
    model, frame, tensors, signature = mixed()
    path = dump(tmp_path / "m", model)
    with pytest.raises(InvalidArgument, match="--sample"):
        load("sklearn", path)
    engine = load("sklearn", path, signature=signature, sample=tensors)
    assert names(engine) == [("label", "INT64", (-1,)), ("probabilities", "FP64", (-1, 2))]
    np.testing.assert_array_equal(engine.predict(tensors)[1], model.predict_proba(frame))
    with pytest.raises(InvalidArgument, match="not UTF-8"):
        engine.predict({**tensors, "city": np.array([b"\xff"] * 4, dtype=object)})


def test_text(tmp_path: Path) -> None:
    texts = ["good fine", "bad awful", "fine good nice", "awful poor"]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=500)).fit(texts, [1, 0, 1, 0])
    tensor = {"text": np.array([text.encode() for text in texts], dtype=object)}
    signature = Signature(inputs=(TensorSpec(name="text", datatype="BYTES", shape=(-1,)),), outputs=())
    engine = load("sklearn", dump(tmp_path / "m", model), signature=signature, sample=tensor)
    np.testing.assert_array_equal(engine.predict(tensor)[1], model.predict_proba(texts))


def test_worker_pools_are_switched_off(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), RandomForestClassifier(5, n_jobs=-1, random_state=0)).fit(X, Y)
    engine = load("sklearn", dump(tmp_path / "m", model), threads=1)
    assert engine._estimator[-1].n_jobs == 1
    np.testing.assert_array_equal(engine.predict({"x": X})[1], model.predict_proba(X))


def test_values_the_estimator_refuses(tmp_path: Path) -> None:
    engine = load("sklearn", dump(tmp_path / "m", LogisticRegression(max_iter=500).fit(X, Y)))
    for value in (np.nan, np.inf):
        with pytest.raises(InvalidArgument, match="refused the input"):
            engine.predict({"x": np.full((1, 4), value)})


@pytest.mark.parametrize(
    "settings", [{}, {"trusted_pickle": True}, {"trusted_types": "tests.engines.test_sklearn.Own"}]
)
def test_settings_of_the_package_trust_nothing(tmp_path: Path, settings: dict[str, bool | str]) -> None:
    path = dump(tmp_path / "m", Own().fit(X, Y))
    with pytest.raises(Untrusted, match=r"tests\.engines\.test_sklearn\.Own.*--trust"):
        load("sklearn", path, settings=settings)
    assert load("sklearn", path, trusted=True).predict({"x": X})[0].shape == (len(X),)


class Own(LinearRegression):
    """A type skops does not vouch for."""


def test_skops_types_need_trust(tmp_path: Path) -> None:
    path = tmp_path / "m.skops"
    skops.io.dump(Own().fit(X, Y), path)
    (name,) = skops.io.get_untrusted_types(file=path)
    for settings in ({}, {"trusted_types": name}, {"trusted_types": f"a,{name}"}):
        with pytest.raises(Untrusted, match="Own"):
            load("sklearn", path, settings=settings)
    load("sklearn", path, trusted=True)


@pytest.mark.parametrize("kind", ["joblib", "gz", "skops"])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
def test_cut_files(tmp_path: Path, kind: str, part: float) -> None:
    path = tmp_path / "m"
    model = LogisticRegression(max_iter=500).fit(X, Y)
    skops.io.dump(model, path) if kind == "skops" else joblib.dump(model, path, compress=3 if kind == "gz" else 0)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(BadPackage):
        load("sklearn", path)


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(BadPackage, match="has no method of predict, transform"):
        load("sklearn", dump(tmp_path / "m", {"a": 1}))
    for value, at in (({"scaler": 1, "model": LinearRegression().fit(X, Y)}, "'model'"), ((0, KMeans(2).fit(X)), "1")):
        with pytest.raises(BadPackage, match=rf"joblib.load\('m'\)\[{at}\]"):
            load("sklearn", dump(tmp_path / "m", value))
    with pytest.raises(BadPackage, match="folder"):
        load("sklearn", tmp_path)
    (tmp_path / "g").write_bytes(b"garbage")
    with pytest.raises(BadPackage):
        load("sklearn", tmp_path / "g")


@pytest.mark.parametrize(
    ("model", "methods"),
    [
        (KMeans(3, n_init=1, random_state=0), {"distances": "transform"}),
        (SVC(), {"decision_function": "decision_function"}),
        (make_pipeline(StandardScaler(), SVC()), {"decision_function": "decision_function"}),
        (
            GaussianMixture(2, random_state=0),
            {"probabilities": "predict_proba", "score_samples": "score_samples"},
        ),
        *(
            (model, {name: name for name in ("decision_function", "score_samples")})
            for model in (
                IsolationForest(n_estimators=5, random_state=0),
                OneClassSVM(),
                LocalOutlierFactor(novelty=True),
            )
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_outputs_on_request(tmp_path: Path, model, methods: dict[str, str]) -> None:
    engine = load("sklearn", dump(tmp_path / "m", model.fit(X, Y)))
    assert {spec.name for spec in engine.signature.on_request} == {*methods}
    assert all(spec.optional for spec in engine.signature.on_request)
    for name, method in methods.items():
        (answer,) = engine.answer({"x": X}, [name])
        np.testing.assert_array_equal(answer, getattr(model, method)(X))
    always = engine.signature.outputs[0].name
    found = engine.answer({"x": X}, [*methods, always])
    np.testing.assert_array_equal(found[-1], model.predict(X))
    with pytest.raises(InvalidArgument, match="'transform'; the model gives"):
        engine.answer({"x": X}, ["transform"])


def test_probabilities_of_several_targets(tmp_path: Path) -> None:
    model = MultiOutputClassifier(KNeighborsClassifier()).fit(X, np.stack([Y, Y > 0], axis=1))
    engine = load("sklearn", dump(tmp_path / "m", model))
    assert [spec.name for spec in engine.signature.on_request] == ["probabilities_0", "probabilities_1"]
    found = engine.more({"x": X}, ["probabilities_1", "probabilities_0"])
    for answer, wanted in zip(found, model.predict_proba(X)[::-1], strict=True):
        np.testing.assert_array_equal(answer, wanted)


def test_what_depends_on_the_rows_beside_is_not_on_request(tmp_path: Path) -> None:
    path = dump(tmp_path / "m", Centred(LogisticRegression(max_iter=500).fit(X, Y)))
    engine = load(
        "sklearn",
        path,
        signature=Signature(inputs=(TensorSpec(name="x", datatype="FP64", shape=(-1, 4)),), outputs=()),
        trusted=True,
    )
    assert [spec.name for spec in engine.signature.on_request] == ["decision_function"]


class Centred:
    """A classifier whose `transform` subtracts the mean of the rows it is given."""

    _estimator_type = "classifier"

    def __init__(self, model) -> None:
        self.model = model

    def predict(self, x):
        return self.model.predict(x)

    def decision_function(self, x):
        return self.model.decision_function(x)

    def transform(self, x):
        return x - x.mean(axis=0)


def test_density_and_neighbours(tmp_path: Path) -> None:
    density = KernelDensity().fit(X)
    engine = load("sklearn", dump(tmp_path / "d", density))
    np.testing.assert_array_equal(engine.predict({"x": X})[0], density.score_samples(X))
    neighbours = NearestNeighbors(n_neighbors=3).fit(X)
    engine = load("sklearn", dump(tmp_path / "n", neighbours))
    assert names(engine) == [("distances", "FP64", (-1, 3)), ("indices", "INT64", (-1, 3))]
    for answer, wanted in zip(engine.predict({"x": X}), neighbours.kneighbors(X), strict=True):
        np.testing.assert_array_equal(answer, wanted)
