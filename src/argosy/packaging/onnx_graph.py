"""Finishing touches on a graph that skl2onnx made, so that its inputs and outputs are those of the signature."""

from collections.abc import Sequence
from typing import Any, Literal

from argosy.spec.signature import Signature, TensorSpec

Layout = Literal["as is", "columns", "split"]
"""How the converter was given the inputs: as in the signature; each [-1] as [-1, 1]; one matrix as its columns."""

_TYPES = {"FP32": "FLOAT", "INT64": "INT64", "INT32": "INT32", "BYTES": "STRING", "BOOL": "BOOL"}
_FOUND = {"label": ("label", "output_label"), "probabilities": ("probabilities", "output_probability")}


def finish(model: Any, wanted: Signature, layout: Layout) -> bytes:
    """The model with the signature's inputs and outputs, as bytes. Raises ValueError where an output is not there."""
    graph: Any = model.graph
    if layout == "columns":
        _inputs_from_columns(graph, wanted.inputs)
    elif layout == "split":
        _inputs_from_matrix(graph, wanted.inputs[0])
    chosen = [_output(graph, spec, place) for place, spec in enumerate(wanted.outputs)]
    raw = _rename_outputs(graph, [value.name for value in chosen])
    del graph.output[:]
    for value, name, spec in zip(chosen, raw, wanted.outputs, strict=True):
        _append_output(graph, value, name, spec)
    return model.SerializeToString(deterministic=True)


def _inputs_from_columns(graph: Any, specs: Sequence[TensorSpec]) -> None:
    """Each input [-1] of the signature gains the axis that the converter's input [-1, 1] has."""
    from onnx import TensorProto, helper

    _rename_inputs(graph, [spec.name for spec in specs])
    del graph.input[:]
    graph.initializer.append(helper.make_tensor("argosy_axis_1", TensorProto.INT64, [1], [1]))
    for place, spec in enumerate(specs):
        graph.input.append(_value(spec))
        inner = _inner(spec.name)
        node = (
            helper.make_node("Unsqueeze", [spec.name, "argosy_axis_1"], [inner])
            if len(spec.shape) == 1
            else helper.make_node("Identity", [spec.name], [inner])
        )
        graph.node.insert(place, node)


def _inputs_from_matrix(graph: Any, spec: TensorSpec) -> None:
    """The one input [-1, n] is cut into the columns that the converter knows by name."""
    from onnx import TensorProto, helper

    _rename_inputs(graph, spec.columns)
    del graph.input[:]
    graph.input.append(_value(spec))
    parts = [1] * len(spec.columns)
    graph.initializer.append(helper.make_tensor("argosy_parts", TensorProto.INT64, [len(parts)], parts))
    inner = [_inner(name) for name in spec.columns]
    graph.node.insert(0, helper.make_node("Split", [spec.name, "argosy_parts"], inner, axis=1))


def _inner(name: str) -> str:
    return f"argosy_in_{name}"


def _rename_inputs(graph: Any, names: Sequence[str]) -> None:
    known = set(names)
    if unknown := [value.name for value in graph.input if value.name not in known]:
        raise ValueError(f"the converter made an input {unknown[0]} of its own")
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in known:
                node.input[place] = _inner(name)


def _output(graph: Any, spec: TensorSpec, place: int) -> Any:
    """The converter's output for one of ours: by name for classifiers, by place for the rest."""
    names = _FOUND.get(spec.name, ())
    for value in graph.output:
        if value.name in names:
            return value
    if names and spec.name != "label":
        raise ValueError(f"the converter made no output {spec.name}")
    return graph.output[place]


def _rename_outputs(graph: Any, names: Sequence[str]) -> list[str]:
    """Give the tensors behind the outputs other names, wherever they occur, so that ours are free."""
    renamed = {name: f"argosy_out_{name}" for name in names}
    for node in graph.node:
        for values in (node.input, node.output):
            for place, name in enumerate(values):
                values[place] = renamed.get(name, name)
    return [renamed[name] for name in names]


def _append_output(graph: Any, value: Any, raw: str, spec: TensorSpec) -> None:
    """Cast and reshape the converter's tensor to the signature's datatype and axes, where it differs."""
    from onnx import TensorProto, helper

    kind = getattr(TensorProto, _TYPES[spec.datatype])
    found = value.type.tensor_type
    if found.elem_type != kind:
        if TensorProto.STRING in (found.elem_type, kind):
            raise ValueError(f"the converter's output {spec.name} is of another kind")
        graph.node.append(helper.make_node("Cast", [raw], [f"{raw}_cast"], to=kind))
        raw = f"{raw}_cast"
    if len(found.shape.dim) != len(spec.shape):
        shape = f"argosy_shape_{spec.name}"
        graph.initializer.append(helper.make_tensor(shape, TensorProto.INT64, [len(spec.shape)], list(spec.shape)))
        graph.node.append(helper.make_node("Reshape", [raw, shape], [spec.name]))
    else:
        graph.node.append(helper.make_node("Identity", [raw], [spec.name]))
    graph.output.append(_value(spec))


def _value(spec: TensorSpec) -> Any:
    from onnx import TensorProto, helper

    shape: list[Any] = [None if axis < 0 else axis for axis in spec.shape]
    return helper.make_tensor_value_info(spec.name, getattr(TensorProto, _TYPES[spec.datatype]), shape)
