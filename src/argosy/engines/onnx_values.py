"""Values onnxruntime and numpy do not share: strings, which it wants as `str`, and BF16, which numpy has not."""

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import Signature
from argosy.spec.tensor import Array

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

_BFLOAT16 = 16  # TensorProto.DataType


def to_text(name: str, array: Array) -> Array:
    """BYTES → an object array of `str`. Raises InvalidArgument for what is not UTF-8, or holds a zero byte."""
    out = np.empty(array.shape, dtype=object)
    flat = out.reshape(-1)
    for place, value in enumerate(array.reshape(-1)):
        try:
            flat[place] = value.decode()
        except UnicodeDecodeError as error:
            raise InvalidArgument(f"input '{name}', element {place}: not UTF-8 ({error.reason})") from None
        if b"\0" in value:  # onnxruntime would cut the string there
            raise InvalidArgument(f"input '{name}', element {place}: the model's strings cannot hold a zero byte")
    return out


def to_bytes(array: Array) -> Array:
    """An object array of `str` → BYTES."""
    out = np.empty(array.shape, dtype=object)
    flat = out.reshape(-1)
    for place, value in enumerate(array.reshape(-1)):
        flat[place] = value.encode()
    return out


def runner(session: Any, signature: Signature) -> Callable[[list[str], Mapping[str, Array], None], list[Array]]:
    """A `run` for models with BF16 tensors: raw 16 bits in and out, through onnxruntime's own values."""
    from onnxruntime import OrtValue

    wrap: Any = OrtValue
    wide = {spec.name for spec in (*signature.inputs, *signature.outputs) if spec.datatype == "BF16"}

    def run(names: list[str], feeds: Mapping[str, Array], _options: None) -> list[Array]:
        values: dict[str, Any] = {
            name: wrap.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(array), _BFLOAT16)
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
