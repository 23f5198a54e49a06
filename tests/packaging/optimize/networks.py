"""Networks of a few kilobytes that the recipes work on, and rows for them."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def network(path, *, seed=0, shift=0.0, features=16, classes=4, free=False, nan=False, layers=("MatMul", "MatMul")):
    """Two dense layers and a softmax. `shift` moves the weights as a second training would."""
    random = np.random.default_rng(seed)
    weights = [random.standard_normal(shape).astype("f4") for shape in ((features, 64), (64, classes))]
    weights = [(each + shift * random.standard_normal(each.shape)).astype("f4") for each in weights]
    if nan:
        weights[1][0, 0] = np.nan
    nodes = [
        helper.make_node(layers[0], ["x", "w1"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node(layers[1], ["r", "w2"], ["z"], name="second"),
        helper.make_node("Softmax", ["z"], ["p"], name="softmax", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "m" if free else features])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(each, name) for each, name in zip(weights, ("w1", "w2"), strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def rows(path, count=400, seed=1, features=16):
    np.savez(path, x=np.random.default_rng(seed).standard_normal((count, features)).astype("f4"))
    return path
