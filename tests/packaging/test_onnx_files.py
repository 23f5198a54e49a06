"""ONNX files as converters write them: with ZipMap, with data beside them, with scalars. Pushed, loaded, asked."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from argosy.packaging.load import LoadedModel, load
from argosy.packaging.options import PushOptions
from argosy.packaging.package import stored
from argosy.packaging.push import push
from argosy.spec.errors import BadPackage
from argosy.store.store import Store
from tests.engines.graphs import FLOAT, model, save


def pushed(store: Store, source: Path, **options: Any) -> LoadedModel:
    version = push(source, name="m", store=store, options=PushOptions(**options), report=lambda _: None)
    return load(stored(store, version.digest), threads=1)


@pytest.mark.parametrize("names", [np.array(["a", "ü", "c"]), np.array([3, 5, 9])])
def test_zipmap_is_cut(store: Store, tmp_path: Path, names: np.ndarray) -> None:
    from skl2onnx import to_onnx

    x, y = load_iris(return_X_y=True)
    original = LogisticRegression(max_iter=200).fit(x, names[y])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = save(tmp_path / "m.onnx", to_onnx(original, x[:1].astype("f4")).SerializeToString())
    loaded = pushed(store, path)
    label, scores = loaded.signature.outputs
    assert (label.name, scores.name, scores.shape) == ("output_label", "output_probability", (-1, 3))
    assert (label.semantic, scores.classes) == ("label", tuple(map(str, original.classes_)))
    answer = loaded.predict(x)
    want = original.predict(x)
    got = answer["output_label"]
    assert (got == want).all()
    np.testing.assert_allclose(answer["output_probability"], original.predict_proba(x), atol=1e-5)
    loaded.close()


def test_sequences_say_what_to_do(store: Store, tmp_path: Path) -> None:
    node = helper.make_node("SplitToSequence", ["x"], ["y"], axis=1)
    graph = model([node], [("x", FLOAT, ("n", 2))], [])
    graph.graph.output.append(helper.make_tensor_sequence_value_info("y", FLOAT, None))
    with pytest.raises(BadPackage, match="ConcatFromSequence"):
        pushed(store, save(tmp_path / "m.onnx", graph))


def test_external_data_beside_the_file(store: Store, tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.arange(600, dtype="f4").reshape(2, 300), "w")
    bias = numpy_helper.from_array(np.ones(300, "f4"), "b")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "b"], ["y"])]
    graph = model(nodes, [("x", FLOAT, ("n", 2))], [("y", FLOAT, ("n", 300))], [weight, bias])
    folder = tmp_path / "exported"
    folder.mkdir()
    (folder / "notes.txt").write_text("not part of the model")
    onnx.save_model(
        graph, folder / "m.onnx", save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=100
    )
    loaded = pushed(store, folder / "m.onnx")
    inside = loaded.package.weights.parent
    assert sorted(file.name for file in inside.iterdir()) == ["b", "m.onnx", "w"]
    x = np.array([[1, 2]], "f4")
    np.testing.assert_allclose(loaded.predict(x), x @ np.arange(600, dtype="f4").reshape(2, 300) + 1)
    loaded.close()
    (folder / "w").unlink()
    with pytest.raises(BadPackage, match="put it beside the model"):
        pushed(store, folder / "m.onnx")


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.FLOAT, TensorProto.STRING, TensorProto.BOOL])
def test_scalars(store: Store, tmp_path: Path, kind: int) -> None:
    """A model with a state and a scalar beside it, as of speech."""
    nodes = [helper.make_node("Add", ["x", "state"], ["next"]), helper.make_node("Identity", ["rate"], ["same"])]
    inputs = [("x", FLOAT, (1, "t")), ("state", FLOAT, (1, "t")), ("rate", kind, ())]
    path = save(tmp_path / "m.onnx", model(nodes, inputs, [("next", FLOAT, (1, "t")), ("same", kind, ())]))
    rate = {TensorProto.STRING: "ab", TensorProto.BOOL: True}.get(kind, 16000)
    feeds = {"x": np.ones((1, 3), "f4"), "state": np.ones((1, 3), "f4"), "rate": rate}
    loaded = pushed(store, path)
    answer = loaded.predict(feeds)
    assert (answer["next"] == 2).all()
    assert (answer["same"].shape, answer["same"][()]) == ((), rate)
    assert loaded.predict({**feeds, "rate": np.array([[rate]])})["same"][()] == rate
    loaded.close()
    if kind == TensorProto.INT64:
        sample = tmp_path / "rows.npz"
        np.savez(sample, x=feeds["x"], state=feeds["state"], rate=np.array(16000))
        assert pushed(store, path, sample=sample).package.manifest.golden_rows == 1
