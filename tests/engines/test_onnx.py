from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from argosy.engines import load
from argosy.spec.errors import BadPackage, Internal, InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from tests.engines.graphs import FLOAT, identity, model, save


@pytest.mark.parametrize(
    ("kind", "datatype"),
    [
        (TensorProto.BOOL, "BOOL"),
        (TensorProto.UINT8, "UINT8"),
        (TensorProto.INT16, "INT16"),
        (TensorProto.UINT64, "UINT64"),
        (TensorProto.INT64, "INT64"),
        (TensorProto.FLOAT16, "FP16"),
        (TensorProto.FLOAT, "FP32"),
        (TensorProto.DOUBLE, "FP64"),
        (TensorProto.BFLOAT16, "BF16"),
    ],
)
def test_datatypes(tmp_path: Path, kind: int, datatype: str) -> None:
    engine = load("onnx", save(tmp_path / "m.onnx", identity(kind)), threads=1)
    assert [spec.datatype for spec in engine.signature.inputs] == [datatype]
    from argosy.spec.tensor import NUMPY

    x = np.array([[0, 1], [1, 0], [1, 1]]).astype(NUMPY[datatype])
    (y,) = engine.predict({"x": x})
    assert y.dtype == x.dtype
    assert y.tolist() == x.tolist()
    assert engine.signature.batched


def test_strings(tmp_path: Path) -> None:
    engine = load("onnx", save(tmp_path / "m.onnx", identity(TensorProto.STRING)))
    x = np.array([[b"a", "é\u4e2d".encode()], [b"", b"b'a'"]], dtype=object)
    (y,) = engine.predict({"x": x})
    assert y.tolist() == x.tolist()
    for bad, message in ((b"\xff", "element 1: not UTF-8"), (b"a\0b", "zero byte")):
        with pytest.raises(InvalidArgument, match=message):
            engine.predict({"x": np.array([[b"", bad]], dtype=object)})


def test_non_finite_values_pass(tmp_path: Path) -> None:
    engine = load("onnx", save(tmp_path / "m.onnx", identity()))
    x = np.array([[np.nan, np.inf], [-np.inf, 0]], "f4")
    np.testing.assert_array_equal(engine.predict({"x": x})[0], x)


def test_a_fixed_first_axis_is_no_batch(tmp_path: Path) -> None:
    engine = load("onnx", save(tmp_path / "m.onnx", identity(shape=(1, 2))))
    assert not engine.signature.batched
    assert engine.signature.inputs[0].shape == (1, 2)


def test_a_first_axis_that_mixes_rows_is_no_batch(tmp_path: Path) -> None:
    node = helper.make_node("Softmax", ["x"], ["y"], axis=0)
    path = save(tmp_path / "m.onnx", model([node], [("x", FLOAT, ("n", 2))], [("y", FLOAT, ("n", 2))]))
    assert not load("onnx", path).signature.batched


def test_an_output_without_shape(tmp_path: Path) -> None:
    # Reshape by a runtime tensor: nobody can infer the number of axes.
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    proto = model([node], [("x", FLOAT, (2, 3)), ("s", TensorProto.INT64, (1,))], [("y", FLOAT, None)])
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    path = save(tmp_path / "m.onnx", proto)
    x = np.zeros((2, 3), "f4")
    assert load("onnx", path, sample={"x": x, "s": np.array([6])}).signature.outputs[0].shape == (-1,)


def test_what_onnxruntime_finds_while_it_runs(tmp_path: Path) -> None:
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    proto = model([node], [("x", FLOAT, (2, 3)), ("s", TensorProto.INT64, (2,))], [("y", FLOAT, ("a", "b"))])
    engine = load("onnx", save(tmp_path / "m.onnx", proto))
    assert engine.predict({"x": np.zeros((2, 3), "f4"), "s": np.array([3, 2])})[0].shape == (3, 2)
    with pytest.raises(Internal, match="cannot be reshaped"):
        engine.predict({"x": np.zeros((2, 3), "f4"), "s": np.array([4, 2])})


def test_an_input_without_shape_is_refused(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx",
        model([helper.make_node("Identity", ["x"], ["y"])], [("x", FLOAT, None)], [("y", FLOAT, None)]),
    )
    with pytest.raises(BadPackage, match="declares no shape"):
        load("onnx", path)


def test_maps_are_refused(tmp_path: Path, digits_onnx_zipmap: Path) -> None:
    with pytest.raises(BadPackage, match="zipmap"):
        load("onnx", digits_onnx_zipmap)


def test_parity_and_threads(digits_onnx: Path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    engine = load("onnx", digits_onnx, threads=2)
    x = digits[0].astype("f4")
    session = onnxruntime.InferenceSession(str(digits_onnx))
    want = session.run(None, {"X": x})
    for got, expected in zip(engine.predict({"X": x}), want, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda at: engine.predict({"X": x[at : at + 7]})[1], range(0, 1400, 7)))
    np.testing.assert_allclose(np.concatenate(parts), want[1][:1400], atol=1e-5)


def test_what_does_not_fit(digits_onnx: Path) -> None:
    engine = load("onnx", digits_onnx)
    for bad in (np.zeros((1, 64)), np.zeros((1, 63), "f4"), np.zeros((64,), "f4")):
        with pytest.raises(InvalidArgument, match="refused"):
            engine.predict({"X": bad})
    with pytest.raises(InvalidArgument, match="takes 1 inputs; 0"):
        engine.predict({})


def test_no_rows(digits_onnx: Path) -> None:
    label, probabilities = load("onnx", digits_onnx).predict({"X": np.zeros((0, 64), "f4")})
    assert label.shape == (0,)
    assert probabilities.shape == (0, 10)


def test_the_signature_must_be_the_models(digits_onnx: Path) -> None:
    good = load("onnx", digits_onnx).signature
    chosen = Signature(inputs=good.inputs, outputs=good.outputs[1:])
    assert len(load("onnx", digits_onnx, signature=chosen).predict({"X": np.zeros((1, 64), "f4")})) == 1
    for spec in (
        TensorSpec(name="Y", datatype="FP32", shape=(-1, 64)),
        TensorSpec(name="X", datatype="FP64", shape=(-1, 64)),
        TensorSpec(name="X", datatype="FP32", shape=(-1, 65)),
    ):
        with pytest.raises(BadPackage, match="signature"):
            load("onnx", digits_onnx, signature=Signature(inputs=(spec,), outputs=good.outputs))


def test_settings_are_refused(digits_onnx: Path) -> None:
    with pytest.raises(InvalidArgument, match="no setting 'optimise'"):
        load("onnx", digits_onnx, settings={"optimise": True})


def test_the_reason_of_onnxruntime(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx",
        model([helper.make_node("Nonsense", ["x"], ["y"])], [("x", FLOAT, [1])], [("y", FLOAT, [1])]),
    )
    with pytest.raises(BadPackage, match=r"cannot load m\.onnx: .*Nonsense"):
        load("onnx", path)
