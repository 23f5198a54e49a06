"""Small ONNX graphs for tests."""

from pathlib import Path
from typing import Any

from onnx import ModelProto, TensorProto, helper

FLOAT = TensorProto.FLOAT


def save(path: Path, model: ModelProto | bytes) -> Path:
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def model(nodes: Any, inputs: Any, outputs: Any, initializers: Any = (), domains: tuple[str, ...] = ()) -> ModelProto:
    """`inputs` and `outputs` are (name, type, shape)."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        list(initializers),
    )
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def identity(kind: int = FLOAT, shape: Any = ("n", 2), out: Any = None) -> ModelProto:
    node = helper.make_node("Identity", ["x"], ["y"])
    return model([node], [("x", kind, shape)], [("y", kind, out if out is not None else shape)])


def weighted(**external: str) -> ModelProto:
    """y = x + w, where w [2] keeps its data outside when `external` entries are given."""
    weight = helper.make_tensor("w", FLOAT, [2], [1.0, 2.0])
    if external:
        weight.ClearField("float_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in external.items():
            weight.external_data.add(key=key, value=value)
    return model(
        [helper.make_node("Add", ["x", "w"], ["y"])], [("x", FLOAT, ("n", 2))], [("y", FLOAT, ("n", 2))], [weight]
    )
