"""scikit-learn → ONNX, accepted only where the converted model answers as the original did.

Numbers become FP32, strings and integers stay; inputs and outputs keep their names and axes, so that a caller sees the
same model either way.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
import numpy as np

from argosy.engines import Engine, unpickle
from argosy.engines import load as load_engine
from argosy.packaging import examine, golden, profile
from argosy.packaging.examine import Task
from argosy.protocol import tensorfile
from argosy.spec.errors import ArgosyError, StorageFull
from argosy.spec.package import Conversion, Tolerance
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import NUMPY, Tensor
from argosy.store.durable import storage

MODEL = "model.onnx"
MAX_SPLIT = 512


Outcome = tuple[Conversion, Signature | None]
"""What became of the model, and the signature that the converted one has."""


def convert(task: Task) -> Outcome:
    """Convert the estimator, and compare on the golden examples and on the whole sample that `examine` left in `into`,
    which gets the ONNX file. A model that cannot be converted is no error."""
    assert task.signature is not None, "examine comes first"
    signature = onnx_signature(task.signature)
    if signature is None:
        return _left("its signature has a type that ONNX and scikit-learn do not share")
    estimator = unpickle.load(Path(task.weights), trusted=task.trusted)
    path = Path(task.into) / MODEL
    try:
        with storage(path.parent):
            path.write_bytes(to_onnx(estimator, task.signature, signature))
        engine = load_engine("onnx", path, signature=signature, threads=1)
    except StorageFull:
        raise
    except ImportError as error:
        return _left(f"{error.name} is not installed")
    except Exception as error:
        text = " ".join(str(error).split(". It usually means")[0].split())[:200]
        return _left(f"skl2onnx cannot convert {type(estimator).__name__}: {text}")
    return _compared(engine, signature, task)


def _left(reason: str, gap: float | None = None) -> Outcome:
    return Conversion(source="sklearn", converted=False, reason=reason, max_abs_diff=gap), None


def onnx_signature(signature: Signature) -> Signature | None:
    """The signature after conversion: FP64 becomes FP32. None where a datatype has no place in such a graph."""
    allowed = {"FP32", "FP64", "INT64", "INT32", "BYTES", "BOOL"}
    if any(spec.datatype not in allowed for spec in (*signature.inputs, *signature.outputs)):
        return None
    inputs, outputs = (
        tuple(msgspec.structs.replace(spec, datatype=spec.datatype.replace("FP64", "FP32")) for spec in side)
        for side in (signature.inputs, signature.outputs)
    )
    return msgspec.structs.replace(signature, inputs=inputs, outputs=outputs)


def recast(tensors: Sequence[Tensor], specs: Sequence[TensorSpec]) -> list[Tensor]:
    """The same tensors in the datatypes of the specs (which are narrower, or the same)."""
    kinds = {spec.name: spec.datatype for spec in specs}
    with np.errstate(over="ignore"):
        return [Tensor(t.name, kinds[t.name], t.array.astype(NUMPY[kinds[t.name]], copy=False)) for t in tensors]


def to_onnx(estimator: Any, original: Signature, wanted: Signature) -> bytes:
    """The ONNX file. A pipeline that asks for its columns by name gets them cut out of the one input."""
    spec = wanted.inputs[0]
    if len(wanted.inputs) > 1 or len(spec.shape) == 1:
        return _finished(_run_converter(estimator, list(wanted.inputs)), wanted, "columns")
    try:
        return _finished(_run_converter(estimator, [spec]), wanted, "as is")
    except Exception:
        if not 0 < len(spec.columns) <= MAX_SPLIT:
            raise
    columns = [TensorSpec(name=name, datatype=spec.datatype, shape=(-1,)) for name in spec.columns]
    return _finished(_run_converter(estimator, columns), wanted, "split")


def _run_converter(estimator: Any, inputs: Sequence[TensorSpec]) -> Any:
    import skl2onnx
    from skl2onnx.common import data_types as types

    kinds: dict[str, Any] = {
        "FP32": types.FloatTensorType,
        "INT64": types.Int64TensorType,
        "INT32": types.Int32TensorType,
        "BYTES": types.StringTensorType,
        "BOOL": types.BooleanTensorType,
    }
    initial = [(s.name, kinds[s.datatype]([None, *(s.shape[1:] or (1,))])) for s in inputs]
    options = {"zipmap": False} if hasattr(estimator, "predict_proba") else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cast("Any", skl2onnx).convert_sklearn(estimator, name="argosy", initial_types=initial, options=options)


def _compared(engine: Engine, signature: Signature, task: Task) -> Outcome:
    """Compare the converted model with what the original answered: first the golden examples, then every row of the
    sample, whose profile becomes that of the converted model: 0.1 as FP64 is another number than as FP32."""
    into = Path(task.into)
    compared, largest = 0, 0.0
    for given, answers in ((examine.GOLDEN_IN, examine.GOLDEN_OUT), (examine.SAMPLE, examine.PREDICTIONS)):
        if not (into / given).exists():
            continue
        inputs = recast(tensorfile.read(into / given), signature.inputs)
        try:
            got = examine.predict_all(engine, inputs)
        except ArgosyError as error:
            return _left(f"the ONNX model fails where the original does not: {error.message}")
        rows, gap, first = _misfits(recast(tensorfile.read(into / answers), signature.outputs), got, task.tolerance)
        compared, largest = compared + len(inputs[0].array), max(largest, gap)
        if rows:
            return _left(f"the ONNX model differs on {rows} of {len(inputs[0].array)} rows: {first}", largest)
        if given == examine.SAMPLE and (into / examine.PROFILE).exists():
            found = profile.profile(inputs, got, signature.inputs, signature.outputs)
            with storage(into):
                (into / examine.PROFILE).write_bytes(profile.dump(found))
    reason = f"the ONNX model agrees with the original on {compared} rows (largest difference {largest:.2g})"
    return Conversion(source="sklearn", converted=True, reason=reason, max_abs_diff=largest), signature


def _misfits(want: Sequence[Tensor], got: Sequence[Tensor], tolerance: Tolerance) -> tuple[int, float, str]:
    bad_rows, largest, first = np.zeros(len(want[0].array), dtype=bool), 0.0, ""
    for one, other in zip(want, got, strict=True):
        bad, gap = golden.difference(one.array, other.array, one.datatype, tolerance)
        bad_rows |= bad.reshape(len(bad), -1).any(axis=1)
        largest = max(largest, gap)
        if bad.any() and not first:
            first = golden.first_misfit(one, other.array, bad, tolerance)
    return int(bad_rows.sum()), largest, first


Layout = Literal["as is", "columns", "split"]
"""How skl2onnx was given the inputs: as in the signature; each [-1] as [-1, 1]; one matrix as its columns."""

_TYPES = {"FP32": "FLOAT", "INT64": "INT64", "INT32": "INT32", "BYTES": "STRING", "BOOL": "BOOL"}
_FOUND = {"label": ("label", "output_label"), "probabilities": ("probabilities", "output_probability")}


def _finished(model: Any, wanted: Signature, layout: Layout) -> bytes:
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
