"""Small ONNX models, made in the test that needs them."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def linear(path, features=3, weight=1.0):
    """`y = x @ W`, W of one column with every entry `weight`: FP32 [-1, features] → FP32 [-1, 1]."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(np.full((features, 1), weight, "f4"), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path
