"""Networks as C: each operator answers what onnxruntime answers, and what has no C is refused by its name."""

import warnings
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.client.local import locate
from argosy.embedded import verify
from argosy.embedded.export import Options, export
from argosy.embedded.nets import generate
from argosy.embedded.nets.generate import Lifetime, plan
from argosy.spec.errors import GoldenMismatch, InvalidArgument, Unsupported
from argosy.spec.signature import Signature
from tests import programs
from tests.embedded.nets.kit import TensorProto, expected, image_net, node, random, write

ROWS = random(20, 3, 4, 5) * 6

OPERATORS = {
    "transpose": ([node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1])], {}),
    "mean": ([node("ReduceMean", ["x"], ["y"], axes=[2], keepdims=0)], {}),
    "sum": ([node("ReduceSum", ["x", "axes"], ["y"])], {"axes": np.array([1, 3])}),
    "most": ([node("ReduceMax", ["x"], ["y"], axes=[1, 2, 3])], {}),
    "norm": ([node("ReduceL2", ["x"], ["y"], axes=[1])], {}),
    "concat": (
        [node("Relu", ["x"], ["a"]), node("Neg", ["x"], ["b"]), node("Concat", ["a", "b", "x"], ["y"], axis=1)],
        {},
    ),
    "pad": ([node("Pad", ["x", "p", "v"], ["y"])], {"p": np.array([0, 0, 1, 2, 0, 1, 0, 3]), "v": np.float32(1.5)}),
    "gather": ([node("Gather", ["x", "i"], ["y"], axis=2)], {"i": np.array([0, 3, 1])}),
    "slice": (
        [node("Slice", ["x", "from", "to", "axes", "steps"], ["y"])],
        {"from": np.array([-1, 1]), "to": np.array([-9, 3]), "axes": np.array([3, 1]), "steps": np.array([-2, 1])},
    ),
    "split": (
        [node("Split", ["x", "parts"], ["a", "b"], axis=2), node("Concat", ["b", "a"], ["y"], axis=2)],
        {"parts": np.array([1, 3])},
    ),
    "spread": (
        [
            node("Mul", ["x", "w"], ["a"]),
            node("Add", ["a", "u"], ["b"]),
            node("Sub", ["b", "s"], ["c"]),
            node("Div", ["c", "s"], ["y"]),
        ],
        {"w": random(3, 1, 1), "u": random(4, 1), "s": np.float32(0.7)},
    ),
    "activations": (
        [
            node(kind, ["x" if at == 0 else f"t{at}"], [f"t{at + 1}" if at < 9 else "y"])
            for at, kind in enumerate(
                ("LeakyRelu", "Tanh", "Sigmoid", "Erf", "Elu", "Selu", "Softplus", "HardSigmoid", "Softsign", "Exp")
            )
        ],
        {},
    ),
    "roots": (
        [
            node("Abs", ["x"], ["a"]),
            node("Sqrt", ["a"], ["b"]),
            node("Log", ["b"], ["c"]),
            node("Pow", ["a", "q"], ["d"]),
            node("Add", ["c", "d"], ["e"]),
            node("HardSwish", ["e"], ["y"]),
        ],
        {"q": np.float32(0.37)},
    ),
    "softmax": ([node("Softmax", ["x"], ["a"], axis=1), node("LogSoftmax", ["a"], ["y"], axis=2)], {}),
    "attention": (
        [
            node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]),
            node("MatMul", ["x", "t"], ["a"]),
            node("Softmax", ["a"], ["b"]),
            node("MatMul", ["b", "x"], ["y"]),
        ],
        {},
    ),
    "dense": ([node("MatMul", ["x", "w"], ["a"]), node("Add", ["a", "b"], ["y"])], {"w": random(5, 7), "b": random(7)}),
    "layer": ([node("LayerNormalization", ["x", "w", "b"], ["y"], axis=-1)], {"w": random(5) + 1, "b": random(5)}),
    "bounds": (
        [node("Neg", ["x"], ["n"]), node("Max", ["x", "n", "s"], ["a"]), node("Min", ["a", "h"], ["y"])],
        {"s": np.float32(0.2), "h": np.float32(0.9)},
    ),
    "choice": (
        [node("Less", ["x", "z"], ["l"]), node("Neg", ["x"], ["n"]), node("Where", ["l", "n", "z"], ["y"])],
        {"z": np.float32(0)},
    ),
    "slopes": ([node("PRelu", ["x", "s"], ["y"])], {"s": random(3, 1, 1)}),
    "shapes": (
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["n"]),
            node("Unsqueeze", ["n", "axis"], ["m"]),
            node("Concat", ["m", "rest"], ["to"], axis=0),
            node("Reshape", ["x", "to"], ["r"]),
            node("Tanh", ["r"], ["y"]),
        ],
        {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1])},
    ),
    "window": (
        [
            node("Reshape", ["x", "to"], ["r"]),
            node("Conv", ["r", "w", "b"], ["c"], pads=[2, 1], strides=[2], dilations=[2]),
            node("MaxPool", ["c"], ["y"], kernel_shape=[3], auto_pad="SAME_UPPER", strides=[2]),
        ],
        {"to": np.array([1, 3, 20]), "w": random(6, 3, 3), "b": random(6)},
    ),
}


def written(path, monkeypatch, name="net"):
    """The C of a file, beside its package: what a generator needs of one."""
    monkeypatch.setattr(generate, "vectors", lambda *_: None)
    monkeypatch.setattr(verify, "difference", lambda *_: 0.0)
    manifest = SimpleNamespace(engine="onnx", signature=Signature(inputs=(), outputs=()))
    found = generate.net(SimpleNamespace(manifest=manifest, weights=Path(path)), name, "net:1")
    assert found is not None
    return found[0]


def test_each_operator_answers_as_onnxruntime(tmp_path, monkeypatch, compiled):
    nodes, constants, outputs = [], {}, []
    for name, (parts, values) in OPERATORS.items():
        renamed = {
            each: each if each == "x" else f"{name}_{each}" for part in parts for each in (*part.input, *part.output)
        }
        for part in parts:
            part.input[:] = [renamed[each] for each in part.input]
            part.output[:] = [renamed[each] for each in part.output]
        nodes += parts
        constants |= {f"{name}_{each}": value for each, value in values.items()}
        outputs.append(f"{name}_y")
    path = write(tmp_path / "all.onnx", nodes, [3, 4, 5], outputs, constants)
    code = written(path, monkeypatch)
    found, refused = compiled(code).ask(ROWS.reshape(20, -1))
    assert refused == []
    wanted = expected(path, ROWS)
    for port, got in zip(code.outputs, found, strict=True):
        np.testing.assert_allclose(got, wanted[port.tensor], atol=1e-5, rtol=1e-5, err_msg=port.tensor)


def test_a_convolutional_network_in_one_buffer(tmp_path, monkeypatch, compiled):
    path = image_net(tmp_path / "image.onnx")
    code = written(path, monkeypatch)
    rows = random(10, 3, 16, 16) * 3
    found, _ = compiled(code).ask(rows.reshape(10, -1))
    np.testing.assert_allclose(found[0], expected(path, rows)["y"], atol=1e-5)
    assert code.estimate.ram == (8 + 16) * 8 * 8 * 4, "no more than the largest two layers beside each other"


@pytest.mark.parametrize("per_channel", [False, True])
def test_eight_bit_layers_stay_eight_bit(tmp_path, monkeypatch, compiled, per_channel):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    rows = random(10, 3, 16, 16) * 3

    class Rows(CalibrationDataReader):
        def __init__(self):
            self.left = iter([{"x": row[None]} for row in rows])

        def get_next(self):
            return next(self.left, None)

    path = image_net(tmp_path / "image.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_static(
            path,
            tmp_path / "q.onnx",
            Rows(),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=QuantType.QInt8 if per_channel else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    code = written(tmp_path / "q.onnx", monkeypatch)
    assert code.source.count("net_qconv((net_bytes") == 3
    assert "net_conv(" not in code.source
    found, _ = compiled(code).ask(rows.reshape(10, -1))
    step = 1 / 255
    np.testing.assert_allclose(found[0], expected(tmp_path / "q.onnx", rows)["y"], atol=1.01 * step)


@pytest.fixture(scope="module")
def pipelines(digits):
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    x, y = digits
    texts = np.array([f"digit {number}" for number in y])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "mlp": make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=10, random_state=0)).fit(x, y),
            "texts": make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=50)).fit(x, texts),
            "two": make_pipeline(StandardScaler(), LogisticRegression(max_iter=50)).fit(x, (y > 4).astype(int)),
            "number": make_pipeline(
                StandardScaler(), MLPRegressor(hidden_layer_sizes=(8,), max_iter=10, random_state=0)
            ).fit(x, y),
        }


@pytest.fixture(scope="module")
def packaged(pipelines, tmp_path_factory):
    import joblib

    def make(which):
        path = tmp_path_factory.mktemp(which) / "model.joblib"
        joblib.dump(pipelines[which], path)
        return stack.enter_context(closing(Located(path))).package

    with ExitStack() as stack:
        yield cache(make)


class Located:
    """The package of a model file, until it is closed."""

    def __init__(self, path):
        self.found = locate(path)
        self.package = self.found.open()

    def close(self):
        self.found.release()


@pytest.mark.slow
@pytest.mark.parametrize("which", ["mlp", "texts", "two", "number"])
def test_a_pipeline_of_scikit_learn_is_whole_in_c(packaged, which):
    programs.need("gcc")
    found = export(packaged(which), "model", "model:1", Options())
    assert found.report.largest_difference <= 1e-5
    assert found.report.golden_rows == 16
    assert ("'digit 3'" in found.files["model.h"].decode()) == (which == "texts")


@pytest.mark.slow
def test_magika_is_written_in_c(tmp_path, monkeypatch, compiled):
    magika = pytest.importorskip("magika", reason="needs magika: pip install magika")
    path = Path(magika.__file__).parent / "models/standard_v3_3/model.onnx"
    code = written(path, monkeypatch, "magika")
    assert code.inputs[0].kind == "int32_t"
    assert code.estimate.flash == pytest.approx(3_142_000, rel=0.05)


def test_what_has_no_c_is_refused_by_its_name(tmp_path, monkeypatch):
    path = write(tmp_path / "a.onnx", [node("Sin", ["x"], ["a"]), node("Cos", ["a"], ["y"])], [4], ["y"], {})
    with pytest.raises(Unsupported, match=r"net:1 cannot be written in C: there is no C for its operators Cos, Sin"):
        written(path, monkeypatch)
    free = write(tmp_path / "b.onnx", [node("Relu", ["x"], ["y"])], ["M", 4], ["y"], {})
    with pytest.raises(InvalidArgument, match=r"input 'x' has the shape \[-1, -1, 4\]: C needs"):
        written(free, monkeypatch)
    cube = write(
        tmp_path / "c.onnx", [node("Conv", ["x", "w"], ["y"])], [2, 4, 4, 4], ["y"], {"w": random(2, 2, 2, 2, 2)}
    )
    with pytest.raises(InvalidArgument, match=r"Conv over \(1, 2, 4, 4, 4\) cannot become C"):
        written(cube, monkeypatch)
    eight = write(
        tmp_path / "d.onnx",
        [node("QuantizeLinear", ["x", "s", "z"], ["y"])],
        [4],
        ["y"],
        {"s": np.float32(0.1), "z": np.int8(0)},
        kind=TensorProto.INT8,
    )
    with pytest.raises(Unsupported, match="'y' is int8: C takes float"):
        written(eight, monkeypatch)


@pytest.mark.slow
def test_a_golden_example_that_the_c_does_not_answer_refuses_the_export(packaged, monkeypatch):
    programs.need("gcc")
    monkeypatch.setitem(generate.EMIT, "Relu", lambda writer, op: writer.line("(void)0;"))
    with pytest.raises(GoldenMismatch, match="the C of model:1"):
        export(packaged("mlp"), "model", "model:1", Options())


@pytest.mark.slow
def test_a_model_that_was_not_converted_says_why(digits, tmp_path):
    import joblib
    from sklearn.linear_model import LinearRegression

    joblib.dump(LinearRegression().fit(*digits), tmp_path / "model.joblib")
    with closing(Located(tmp_path / "model.joblib")) as located, pytest.raises(Unsupported, match="give --sample"):
        export(located.package, "model", "model:1", Options())


@given(
    st.lists(
        st.tuples(st.integers(1, 400), st.integers(0, 20), st.integers(0, 20)).map(
            lambda one: (one[0], min(one[1:]), max(one[1:]))
        ),
        max_size=20,
    )
)
def test_tensors_that_live_at_once_share_no_byte(spans):
    lifetimes = [Lifetime(str(at), *span) for at, span in enumerate(spans)]
    offsets, size = plan(lifetimes)
    assert size <= sum(-(-each.size // 4) * 4 for each in lifetimes)
    for each in lifetimes:
        assert offsets[each.name] % 4 == 0
        assert offsets[each.name] + each.size <= size
        for other in lifetimes:
            if other is not each and other.first <= each.last and each.first <= other.last:
                a, b = offsets[each.name], offsets[other.name]
                assert a + each.size <= b or b + other.size <= a
