"""A network of ONNX for one row: operators over tensors of fixed shapes, constants folded.

onnxruntime folds what does not depend on the input and joins what belongs together (its basic optimizations, which
keep the standard operators), then runs one row with every tensor as an output: so shapes and types are those that it
has, for every operator that it has.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from argosy.engines.base import require
from argosy.spec.errors import InvalidArgument
from argosy.spec.tensor import Array

NEED = "to write a network as C"


class Tensor(msgspec.Struct, kw_only=True):
    """`data` of a constant. `labels`: the texts that the numbers stand for; C has the numbers."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    data: Array | None = None
    labels: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Elements."""
        return int(np.prod(self.shape, dtype=np.int64))


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """A node; an input that is left out is ''."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def input(self, at: int) -> str:
        """The name of an input, '' where it is left out."""
        return self.inputs[at] if at < len(self.inputs) else ""

    def integer(self, name: str, default: int) -> int:
        """An attribute that is a whole number."""
        return self.attributes.get(name, default)


class Network(msgspec.Struct, kw_only=True):
    """Operators in an order in which they can run."""

    operators: list[Operator]
    tensors: dict[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int

    def constant(self, name: str) -> Array | None:
        """The value of a constant; None: it is computed, or left out."""
        return self.tensors[name].data if name in self.tensors else None


def read(path: Path) -> Network:
    """The network of a file whose first axis is the row. Raises InvalidArgument for what has no fixed shape."""
    onnx: Any = require("onnx", "onnx", NEED)
    model = onnx.load(path)
    for each in model.graph.input:
        _fix(each)
    del model.graph.value_info[:]
    for each in model.graph.output:
        each.type.tensor_type.ClearField("shape")
    with tempfile.TemporaryDirectory(prefix="argosy-net-") as folder:
        optimized = _optimize(model, Path(folder))
    values = _values(optimized)
    tensors = {name: Tensor(name=name, shape=value.shape, dtype=value.dtype) for name, value in values.items()}
    for each in optimized.graph.initializer:
        data = onnx.numpy_helper.to_array(each)
        tensors[each.name] = Tensor(name=each.name, shape=data.shape, dtype=data.dtype, data=data)
    operators = [
        Operator(
            kind=node.op_type,
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            attributes={each.name: _attribute(onnx, each) for each in node.attribute},
        )
        for node in optimized.graph.node
    ]
    constants = {each.name for each in optimized.graph.initializer}
    return Network(
        operators=operators,
        tensors=tensors,
        inputs=tuple(each.name for each in optimized.graph.input if each.name not in constants),
        outputs=tuple(each.name for each in optimized.graph.output),
        opset=next((each.version for each in optimized.opset_import if each.domain in ("", "ai.onnx")), 1),
    )


def _fix(given: Any) -> None:
    """One row: the first axis is 1 where it is free."""
    axes = given.type.tensor_type.shape.dim
    free = [place for place, axis in enumerate(axes) if not axis.dim_value]
    if not given.type.tensor_type.HasField("shape") or any(free_axis > 0 for free_axis in free):
        shape = [axis.dim_value or -1 for axis in axes]
        raise InvalidArgument(
            f"input '{given.name}' has the shape {shape}: C needs all axes after the first to have a fixed length; "
            "export the model with fixed shapes"
        )
    for place in free:
        axes[place].dim_value = 1


def _optimize(model: Any, folder: Path) -> Any:
    onnx: Any = require("onnx", "onnx", NEED)
    import onnxruntime as imported

    onnxruntime: Any = imported
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "basic.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "basic.onnx")


def _values(model: Any) -> dict[str, Array]:
    """Every computed tensor for a row of zeros."""
    onnx: Any = require("onnx", "onnx", NEED)
    import onnxruntime as imported

    onnxruntime: Any = imported
    whole = type(model)()
    whole.CopyFrom(model)
    known = {each.name for each in whole.graph.output}
    for node in model.graph.node:
        for name in node.output:
            if name and name not in known:
                whole.graph.output.append(onnx.ValueInfoProto(name=name))
                known.add(name)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed: dict[str, Array] = {}
    for each in session.get_inputs():
        if each.type == "tensor(string)":
            raise InvalidArgument(f"input '{each.name}' is text: C takes numbers")
        dtype = {"float": "float32", "double": "float64"}.get(each.type[7:-1], each.type[7:-1])
        fed[each.name] = np.zeros(each.shape, np.dtype(dtype))
    names = [each.name for each in session.get_outputs() if each.type.startswith("tensor")]
    if maps := [each.name for each in session.get_outputs() if not each.type.startswith("tensor")]:
        raise InvalidArgument(f"output '{maps[0]}' is no tensor: push the model again, or choose its tensors")
    return fed | dict(zip(names, session.run(names, fed), strict=True))


def _attribute(onnx: Any, given: Any) -> Any:
    value: Any = onnx.helper.get_attribute_value(given)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if given.type == given.STRINGS:
        return tuple(each.decode(errors="replace") for each in value)
    if given.type == given.TENSOR:
        return onnx.numpy_helper.to_array(value)
    return tuple(value) if given.type in (given.INTS, given.FLOATS) else value
