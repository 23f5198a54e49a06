"""Networks of ONNX for tests, and what onnxruntime answers them."""

import numpy as np
import onnxruntime
import pytest

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'argosy[onnx]'")

helper, TensorProto = onnx.helper, onnx.TensorProto
node = helper.make_node


def random(*shape, seed=0):
    """Weights that are not large."""
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) * 0.3).astype(np.float32)


def write(path, nodes, shape, outputs, constants, opset=17, kind=TensorProto.FLOAT):
    """A model of one input `x`, whose first axis is free."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.save(model, path)
    return path


def image_net(path):
    """Convolutions of all kinds, normalization, pools, a dense layer, softmax: 10 classes of 3 x 16 x 16."""
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "w2", "b2"], ["c"], group=8, pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c", "scale", "shift", "mean", "variance"], ["d"]),
        node("Clip", ["d", "low", "high"], ["e"]),
        node("Conv", ["e", "w3"], ["f"]),
        node("MaxPool", ["f"], ["g"], kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", ["g"], ["h"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=0),
        node("GlobalAveragePool", ["h"], ["i"]),
        node("Flatten", ["i"], ["j"]),
        node("Gemm", ["j", "w4", "b4"], ["k"], transB=1),
        node("Softmax", ["k"], ["y"], axis=-1),
    ]
    constants = {
        "w1": random(8, 3, 3, 3),
        "b1": random(8),
        "w2": random(8, 1, 3, 3),
        "b2": random(8, seed=1),
        "scale": random(8, seed=2) + 1,
        "shift": random(8, seed=3),
        "mean": random(8, seed=4),
        "variance": np.abs(random(8, seed=5)) + 0.5,
        "low": np.float32(0),
        "high": np.float32(6),
        "w3": random(16, 8, 1, 1),
        "w4": random(10, 16),
        "b4": random(10),
    }
    return write(path, nodes, [3, 16, 16], ["y"], constants)


def expected(path, rows):
    """Outputs by name, one row after the other: networks for one row need not take more."""
    session = onnxruntime.InferenceSession(str(path))
    names = [each.name for each in session.get_outputs()]
    found = [session.run(names, {"x": row[None]}) for row in rows]
    return {name: np.concatenate([each[at].reshape(1, -1) for each in found]) for at, name in enumerate(names)}
