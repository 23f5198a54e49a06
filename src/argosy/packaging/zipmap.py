"""Cuts ZipMap out of ONNX classifiers: their probabilities become a tensor, and the names of their classes are kept.

Converters end a classifier with ZipMap, which gives each row as a map from class to probability: nothing that a
protocol of tensors can carry. The tensor is what goes into it.
"""

from pathlib import Path
from typing import Any

import msgspec

from argosy.engines import onnx_file
from argosy.engines.base import require
from argosy.spec.errors import BadPackage
from argosy.store.durable import storage

NODE = ("ai.onnx.ml", "ZipMap")
"""Domain and name of the operator."""
LABELS = ("classlabels_strings", "classlabels_int64s")
"""Its attributes with the classes, of which it has one."""


class CutTask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ONNX file `weights`, which was checked, and the folder `into` which it goes under its own name."""

    weights: str
    into: str


def cut(task: CutTask) -> dict[str, tuple[str, ...]]:
    """Write the model without ZipMap; answer the names of the classes by output. Raises BadPackage, MissingExtra."""
    onnx: Any = require("onnx", "onnx", "an ONNX classifier that ends with ZipMap")
    source = Path(task.weights)
    try:
        model = onnx.load_model(str(source), load_external_data=False)
    except Exception as error:
        raise BadPackage(f"{source.name} cannot be read by onnx: {error}") from None
    outputs = {value.name: value for value in model.graph.output}
    found: dict[str, tuple[str, ...]] = {}
    for node in model.graph.node:
        if (node.domain, node.op_type) == NODE and node.output and node.output[0] in outputs:
            found[node.output[0]] = _replaced(onnx, node, outputs[node.output[0]])
    noted = {one.key: one.value for one in model.metadata_props}
    noted[onnx_file.CLASSES] = msgspec.json.encode(found, order="sorted").decode()
    onnx.helper.set_model_props(model, noted)
    with storage(Path(task.into)):
        Path(task.into, source.name).write_bytes(model.SerializeToString(deterministic=True))
    return found


def _replaced(onnx: Any, node: Any, output: Any) -> tuple[str, ...]:
    """Turn the node into one that passes on its tensor; the output keeps its name."""
    given: dict[str, Any] = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    labels: list[Any] = [label for name in LABELS for label in given.get(name, ())]
    names = tuple(each.decode() if isinstance(each, bytes) else str(each) for each in labels)
    del node.attribute[:]
    node.op_type, node.domain = "Identity", ""
    kind = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, ["N", len(names)])
    output.type.CopyFrom(kind)
    return names
