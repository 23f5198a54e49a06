"""scikit-learn → ONNX, accepted only where the converted model answers as the original did.

Numbers become FP32, strings and integers stay; inputs and outputs keep their names and axes, so that a caller sees the
same model either way.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from argosy.engines import load as load_engine
from argosy.engines import unpickle
from argosy.packaging import examine, golden, onnx_graph, profile
from argosy.protocol import tensorfile
from argosy.spec.errors import ArgosyError, StorageFull
from argosy.spec.package import Tolerance
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import NUMPY, Tensor
from argosy.store.durable import storage

MODEL = "model.onnx"
MAX_SPLIT = 512


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which estimator to convert; the folder `into` holds what `examine` found, and gets the ONNX file."""

    weights: str
    settings: dict[str, str | int | float | bool]
    signature: Signature
    tolerance: Tolerance
    into: str
    trusted: bool = False


class Conversion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether the converted model may take the place of the original, why, and under which signature."""

    converted: bool
    reason: str
    max_abs_diff: float | None = None
    signature: Signature | None = None


def convert(task: Task) -> Conversion:
    """Convert, then compare on the golden examples and on the whole sample. A model that does not fit is no error."""
    signature = onnx_signature(task.signature)
    if signature is None:
        return Conversion(converted=False, reason="its signature has a type that ONNX and scikit-learn do not share")
    estimator = unpickle.load(Path(task.weights), trusted=task.trusted)
    path = Path(task.into) / MODEL
    try:
        with storage(path.parent):
            path.write_bytes(to_onnx(estimator, task.signature, signature))
        engine = load_engine("onnx", path, signature=signature, threads=1)
    except StorageFull:
        raise
    except ImportError as error:
        return Conversion(converted=False, reason=f"{error.name} is not installed")
    except Exception as error:
        text = " ".join(str(error).split(". It usually means")[0].split())[:200]
        return Conversion(converted=False, reason=f"skl2onnx cannot convert {type(estimator).__name__}: {text}")
    return _judge(engine, signature, task)


def onnx_signature(signature: Signature) -> Signature | None:
    """The signature after conversion: FP64 becomes FP32. None where a datatype has no place in such a graph."""
    allowed = {"FP32", "FP64", "INT64", "INT32", "BYTES", "BOOL"}
    if any(spec.datatype not in allowed for spec in (*signature.inputs, *signature.outputs)):
        return None
    inputs, outputs = (tuple(map(_narrow, side)) for side in (signature.inputs, signature.outputs))
    return msgspec.structs.replace(signature, inputs=inputs, outputs=outputs)


def _narrow(spec: TensorSpec) -> TensorSpec:
    return msgspec.structs.replace(spec, datatype="FP32") if spec.datatype == "FP64" else spec


def recast(tensors: Sequence[Tensor], specs: Sequence[TensorSpec]) -> list[Tensor]:
    """The same tensors in the datatypes of the specs (which are narrower, or the same)."""
    kinds = {spec.name: spec.datatype for spec in specs}
    with np.errstate(over="ignore"):
        return [Tensor(t.name, kinds[t.name], t.array.astype(NUMPY[kinds[t.name]], copy=False)) for t in tensors]


def to_onnx(estimator: Any, original: Signature, wanted: Signature) -> bytes:
    """The ONNX file. A pipeline that asks for its columns by name gets them cut out of the one input."""
    spec = wanted.inputs[0]
    if len(wanted.inputs) > 1 or len(spec.shape) == 1:
        return onnx_graph.finish(_run_converter(estimator, list(wanted.inputs)), wanted, "columns")
    try:
        return onnx_graph.finish(_run_converter(estimator, [spec]), wanted, "as is")
    except Exception:
        if not 0 < len(spec.columns) <= MAX_SPLIT:
            raise
    columns = [TensorSpec(name=name, datatype=spec.datatype, shape=(-1,)) for name in spec.columns]
    return onnx_graph.finish(_run_converter(estimator, columns), wanted, "split")


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


def _judge(engine: Any, signature: Signature, task: Task) -> Conversion:
    """Compare the converted model with what the original answered: first the golden examples, then every row of the
    sample, whose profile becomes that of the converted model: 0.1 as FP64 is another number than as FP32."""
    into = Path(task.into)
    compared, largest, worst = 0, 0.0, ""
    for given, answers in ((examine.GOLDEN_IN, examine.GOLDEN_OUT), (examine.SAMPLE, examine.PREDICTIONS)):
        if not (into / given).exists():
            continue
        inputs = recast(tensorfile.read(into / given), signature.inputs)
        try:
            got = examine.predict_all(engine, inputs)
        except ArgosyError as error:
            return Conversion(
                converted=False, reason=f"the ONNX model fails where the original does not: {error.message}"
            )
        want = recast(tensorfile.read(into / answers), signature.outputs)
        rows, gap, first = _misfits(want, got, task.tolerance)
        compared, largest, worst = compared + len(inputs[0].array), max(largest, gap), worst or first
        if rows:
            reason = f"the ONNX model differs on {rows} of {len(inputs[0].array)} rows: {worst}"
            return Conversion(converted=False, reason=reason, max_abs_diff=largest)
        if given == examine.SAMPLE and (into / examine.PROFILE).exists():
            found = profile.profile(inputs, got, signature.inputs, signature.outputs)
            with storage(into):
                (into / examine.PROFILE).write_bytes(profile.dump(found))
    reason = f"the ONNX model agrees with the original on {compared} rows (largest difference {largest:.2g})"
    return Conversion(converted=True, reason=reason, max_abs_diff=largest, signature=signature)


def _misfits(want: Sequence[Tensor], got: Sequence[Tensor], tolerance: Tolerance) -> tuple[int, float, str]:
    """How many rows differ in any output, the largest difference, and the first misfit in words."""
    bad_rows, largest, first = np.zeros(len(want[0].array), dtype=bool), 0.0, ""
    for one, other in zip(want, got, strict=True):
        bad, gap = golden.difference(one.array, other.array, one.datatype, tolerance)
        bad_rows |= bad.reshape(len(bad), -1).any(axis=1)
        largest = max(largest, gap)
        if bad.any() and not first:
            first = golden.first_misfit(one, other.array, bad, tolerance)
    return int(bad_rows.sum()), largest, first
