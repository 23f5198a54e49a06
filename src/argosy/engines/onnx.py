"""ONNX models, executed by onnxruntime."""

import ctypes
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import onnxruntime

from argosy.engines import onnx_file
from argosy.engines.base import Engine, Loading, check_settings, rows_of, short
from argosy.engines.frames import strings
from argosy.engines.probe import examples, settled
from argosy.spec.errors import ArgosyError, BadPackage, Internal, InvalidArgument
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Array

ort: Any = onnxruntime
REFUSED: type[Exception] = ort.capi.onnxruntime_pybind11_state.InvalidArgument

DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
    "tensor(bfloat16)": "BF16",
}
"""onnxruntime's name of a type → our datatype."""

FIXES = {
    "seq(map(": "export the classifier with options={'zipmap': False} (skl2onnx) or zipmap=False (onnxmltools)",
    "map(": "replace the map by a tensor with a column for each of its keys, and export again",
    "seq(": "end the graph with the operator ConcatFromSequence (or SequenceAt), and export again",
    "": "change it to a tensor, and export again",
}
"""A part of a type's name → what its author can do. The first that fits."""

_BFLOAT16 = 16  # TensorProto.DataType


class OnnxEngine(Engine):
    """One session. `predict` goes to the session's own `run`: its Python wrapper would check names a second time."""

    releases_gil = True
    parallel = True

    def __init__(self, session: Any, signature: Signature) -> None:
        self.signature = signature
        self._session = session
        self._names = [spec.name for spec in signature.outputs]
        self._count = len(signature.inputs)
        kinds = {spec.datatype for spec in (*signature.inputs, *signature.outputs)}
        self._strings = {spec.name for spec in signature.inputs if spec.datatype == "BYTES"}
        self._plain = not self._strings
        self._text = [place for place, spec in enumerate(signature.outputs) if spec.datatype == "BYTES"]
        self._run: Any = _runner(session, signature) if "BF16" in kinds else session._sess.run

    def predict(self, inputs: Mapping[str, Array]) -> list[Array]:
        if len(inputs) != self._count:  # a kernel, not the session, would notice one that is missing
            raise InvalidArgument(f"the model takes {self._count} inputs; {len(inputs)} were given")
        feeds = cast("dict[str, Array]", inputs if self._plain and inputs.__class__ is dict else dict(inputs))
        for name in self._strings:
            if name in feeds:
                feeds[name] = strings(name, feeds[name], zeros=False)  # onnxruntime would cut the string at a zero
        try:
            outputs: list[Array] = self._run(self._names, feeds, None)
        except ArgosyError:
            raise
        except REFUSED as error:
            raise InvalidArgument(f"the model refused the input: {_reason(error)}") from None
        except Exception as error:
            raise Internal(f"onnxruntime failed: {_reason(error)}") from None
        for place in self._text:
            texts = outputs[place]
            outputs[place] = np.array([text.encode() for text in texts.reshape(-1)], object).reshape(texts.shape)
        if self.signature.batched:
            rows = rows_of(inputs)
            for name, array in zip(self._names, outputs, strict=True):
                if array.shape[0] != rows:
                    raise Internal(f"output '{name}' has {array.shape[0]} rows for {rows} rows of input")
        return outputs

    def close(self) -> None:
        """Free the session and its memory arena."""
        self._run = self._session = None


def _runner(session: Any, signature: Signature) -> Callable[[list[str], Mapping[str, Array], None], list[Array]]:
    """A `run` for models with BF16 tensors: raw 16 bits in and out, through onnxruntime's own values."""
    wide = {spec.name for spec in (*signature.inputs, *signature.outputs) if spec.datatype == "BF16"}

    def run(names: list[str], feeds: Mapping[str, Array], _options: None) -> list[Array]:
        wrap = ort.OrtValue
        values: dict[str, Any] = {
            name: wrap.ortvalue_from_numpy_with_onnx_type(np.asarray(array, order="C"), _BFLOAT16)
            if name in wide
            else wrap.ortvalue_from_numpy(array)
            for name, array in feeds.items()
        }
        found = session.run_with_ort_values(names, values)
        return [_raw(value) if name in wide else value.numpy() for name, value in zip(names, found, strict=True)]

    return run


def _raw(value: Any) -> Array:
    """The 16-bit elements of a BF16 value, copied: numpy cannot view a type it does not know."""
    shape = tuple(value.shape())
    data = ctypes.string_at(value.data_ptr(), int(np.prod(shape)) * 2) if np.prod(shape) else b""
    return np.frombuffer(data, dtype="<u2").reshape(shape).copy()


def load(given: Loading) -> OnnxEngine:
    """Check the file, make the session, and take or derive the signature. An axis 0 that is free on every input and
    output counts rows if rows answered together are what they are alone."""
    path, signature, settings, threads, sample, *_ = given
    check_settings(settings)
    contents = onnx_file.inspect(path)
    opened = session(path, threads)
    derived = _signature(opened, contents, sample)
    return settled(lambda given: OnnxEngine(opened, given), signature, derived, "the ONNX model")


def session(path: Path, threads: int) -> Any:
    """A session on the CPU, for a file that `onnx_file.inspect` has checked. Raises BadPackage."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors come back as exceptions
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # A worker that spins while it waits takes the core the event loop needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0, read_config_from_model=0
        )
    except Exception as error:
        raise BadPackage(f"onnxruntime cannot load {path.name}: {_reason(error)}") from None


def _signature(session: Any, contents: onnx_file.Contents, sample: Mapping[str, Array] | None) -> Signature:
    shapeless, classes = contents.shapeless, contents.classes
    inputs = [_spec(value, "input") for value in session.get_inputs()]
    if lost := [spec.name for spec in inputs if spec.name in shapeless and not spec.shape]:
        raise BadPackage(f"the ONNX input '{lost[0]}' declares no shape: export the model with its number of axes")
    values = [_spec(value, "output") for value in session.get_outputs()]
    if any(spec.name in shapeless and not spec.shape for spec in values):
        values = _shaped(session, inputs, values, shapeless, sample)
    values = [
        msgspec.structs.replace(spec, classes=classes[spec.name], semantic="probability")
        if spec.shape[1:] == (len(classes.get(spec.name, ())),)
        else spec
        for spec in values
    ]
    labels = [at for at, spec in enumerate(values) if spec.datatype in ("INT64", "BYTES") and len(spec.shape) == 1]
    if classes and len(labels) == 1:  # a classifier's other output, which converters name as they like
        values[labels[0]] = msgspec.structs.replace(values[labels[0]], semantic="label")
    batched = all(spec.shape[:1] == (-1,) for spec in (*inputs, *values))
    return Signature(inputs=tuple(inputs), outputs=tuple(values), batched=batched and bool(inputs))


def _shaped(
    session: Any,
    inputs: list[TensorSpec],
    outputs: list[TensorSpec],
    shapeless: set[str],
    sample: Mapping[str, Array] | None,
) -> list[TensorSpec]:
    """The outputs; one that declares no shape has as many axes as when the model runs, all of them free."""
    given = dict(sample) if sample else examples(inputs)
    bare = Signature(inputs=tuple(inputs), outputs=tuple(outputs), batched=False)
    try:
        found = OnnxEngine(session, bare).predict(given)
    except ArgosyError as error:
        raise InvalidArgument(
            f"an ONNX output declares no shape, and the model does not run on made-up rows ({error.message}): "
            "give a sample with --sample"
        ) from None
    return [
        TensorSpec(name=spec.name, datatype=spec.datatype, shape=(-1,) * array.ndim)
        if spec.name in shapeless and not spec.shape
        else spec
        for spec, array in zip(outputs, found, strict=True)
    ]


def _spec(value: Any, side: str) -> TensorSpec:
    datatype = DATATYPES.get(value.type)
    if datatype is None:
        hint = next(text for mark, text in FIXES.items() if mark in value.type)
        raise BadPackage(f"the ONNX {side} '{value.name}' is a {value.type}; only tensors are served: {hint}")
    shape = tuple(axis if isinstance(axis, int) and axis >= 0 else -1 for axis in value.shape)
    return TensorSpec(name=value.name, datatype=datatype, shape=shape)


_LACKING = re.compile(r"No Op registered for (\S+) with domain_version of (\d+)")
_PREFIX = re.compile(r"^Load model from \S+ failed:\s*|Status Message: |Non-zero status code returned while running ")


def _reason(error: BaseException) -> str:
    """What onnxruntime said, without its prefix of codes; of an operator that it lacks, that."""
    text = short(error).rpartition("[ONNXRuntimeError] : ")[2].partition(" : ")[2].partition(" : ")[2] or short(error)
    if lacking := _LACKING.search(text):
        return f"it has no operator {lacking[1]} of operator set {lacking[2]}: export the model to one that it has"
    return _PREFIX.sub("", text)
