"""scikit-learn → an ONNX graph whose inputs and outputs have the names, datatypes and axes of the signature."""

import functools
import warnings
from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec

from argosy.engines.trees import onnx as trees
from argosy.engines.trees import sklearn
from argosy.packaging import onnx_double
from argosy.spec.signature import Signature, TensorSpec

MAX_SPLIT = 512
"""Columns that one matrix is cut into, at most."""

Precision = Literal["FP64", "FP32"]
"""What the graph calculates in. In FP32, FP64 inputs are rounded first and FP32 outputs widened."""


def to_onnx(estimator: Any, wanted: Signature, precision: Precision) -> bytes:
    """The ONNX file, which says of the trees of its last step what C needs."""
    categories = getattr(estimator, "_preprocessor", None) is not None  # of histogram boosting
    if categories and len(wanted.inputs) == 1 and sklearn.recognise(estimator):
        return trees.model(sklearn.read(estimator), wanted)
    model = _converted(estimator, wanted, precision)
    last = estimator.steps[-1][1] if getattr(estimator, "steps", ()) else estimator
    if sklearn.recognise(last):
        trees.tell(model, sklearn.read(last), {})
    return model.SerializeToString(deterministic=True)


def _converted(estimator: Any, wanted: Signature, precision: Precision) -> Any:
    """The model of ONNX. A pipeline that asks for its columns by name gets them cut out of the one input."""
    inner = [_inside(spec, precision) for spec in wanted.inputs]
    if len(inner) > 1 or len(inner[0].shape) == 1:
        return _finished(_run_converter(estimator, inner), wanted, inner, "columns")
    spec = inner[0]
    try:
        return _finished(_run_converter(estimator, inner), wanted, inner, "as is")
    except Exception:
        if not 0 < len(spec.columns) <= MAX_SPLIT:
            raise
    columns = [TensorSpec(name=name, datatype=spec.datatype, shape=(-1,)) for name in spec.columns]
    return _finished(_run_converter(estimator, columns), wanted, inner, "split")


def _inside(spec: TensorSpec, precision: Precision) -> TensorSpec:
    datatype = precision if spec.datatype == "FP64" else spec.datatype
    return msgspec.structs.replace(spec, datatype=datatype)


def _run_converter(estimator: Any, inputs: Sequence[TensorSpec]) -> Any:
    import skl2onnx
    from skl2onnx.common import data_types as types
    from sklearn import base

    onnx_double.register()

    kinds: dict[str, Any] = {
        "FP32": types.FloatTensorType,
        "FP64": types.DoubleTensorType,
        "INT64": types.Int64TensorType,
        "INT32": types.Int32TensorType,
        "BYTES": types.StringTensorType,
        "BOOL": types.BooleanTensorType,
    }
    initial = [(s.name, kinds[s.datatype]([None, *(s.shape[1:] or (1,))])) for s in inputs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make = functools.partial(cast("Any", skl2onnx).convert_sklearn, estimator, name="argosy", initial_types=initial)
        if not cast("Any", base).is_classifier(estimator):
            return make()
        try:
            return make(options={"zipmap": False})
        except NameError:  # what skl2onnx raises for an option that a converter does not have
            return make()


Layout = Literal["as is", "columns", "split"]
"""How skl2onnx was given the inputs: as in the signature; each [-1] as [-1, 1]; one matrix as its columns."""

_TYPES = {"FP32": "FLOAT", "FP64": "DOUBLE", "INT64": "INT64", "INT32": "INT32", "BYTES": "STRING", "BOOL": "BOOL"}
_FOUND = {"label": ("label", "output_label"), "probabilities": ("probabilities", "output_probability")}


def _finished(model: Any, wanted: Signature, inner: Sequence[TensorSpec], layout: Layout) -> Any:
    graph: Any = model.graph
    if layout == "columns":
        _inputs_from_columns(graph, wanted.inputs)
    elif layout == "split":
        _inputs_from_matrix(graph, wanted.inputs[0])
    _round_inputs(graph, wanted.inputs, inner)
    chosen = [_output(graph, spec, place) for place, spec in enumerate(wanted.outputs)]
    raw = _rename_outputs(graph, [value.name for value in chosen], [spec.name for spec in wanted.outputs])
    del graph.output[:]
    for value, name, spec in zip(chosen, raw, wanted.outputs, strict=True):
        _append_output(graph, value, name, spec)
    return model


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


def _round_inputs(graph: Any, specs: Sequence[TensorSpec], inner: Sequence[TensorSpec]) -> None:
    """Cast each input whose datatype inside the graph is another than in the signature."""
    from onnx import TensorProto, helper

    other = {spec.name: one.datatype for spec, one in zip(specs, inner, strict=True) if spec.datatype != one.datatype}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in other:
                node.input[place] = f"argosy_cast_{name}"
    for value in list(graph.input):
        if value.name in other:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for name, datatype in other.items():
        to = getattr(TensorProto, _TYPES[datatype])
        graph.node.insert(0, helper.make_node("Cast", [name], [f"argosy_cast_{name}"], to=to))


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
    names = _FOUND.get(spec.name, ())
    for value in graph.output:
        if value.name in names:
            return value
    if names and spec.name != "label":
        raise ValueError(f"the converter made no output {spec.name}")
    return graph.output[place]


def _rename_outputs(graph: Any, names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Give the tensors behind the outputs other names, wherever they occur, so that ours are free."""
    renamed = {name: f"argosy_out_{name}" for name in (*names, *wanted)}
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
