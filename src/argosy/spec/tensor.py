"""The one tensor type that moves inside Argosy, and the datatypes of the Open Inference Protocol v2."""

from typing import Any

import msgspec
import numpy as np

from argosy.spec.errors import InvalidArgument
from argosy.spec.signature import DATATYPES

Array = np.ndarray[Any, np.dtype[Any]]

_DTYPES = ("bool", "u1", "<u2", "<u4", "<u8", "i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8", "O", "<u2")
NUMPY: dict[str, np.dtype[Any]] = dict(zip(DATATYPES, map(np.dtype, _DTYPES), strict=True))
"""Datatype → dtype of the array that holds it. BYTES are object arrays of `bytes`; BF16 is its raw 16 bits."""

_OF_DTYPE = {dtype: name for name, dtype in NUMPY.items() if name not in ("BF16", "BYTES")}


class Tensor(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A named array. `array.dtype` is `NUMPY[datatype]`, `array.shape` the shape; row-major when it leaves a codec."""

    name: str
    datatype: str
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array, outermost axis first."""
        return self.array.shape


def bf16_to_fp32(raw: Array) -> Array:
    """The 16 bits that hold BF16 values → FP32, which has each of them."""
    return (raw.astype("<u4") << 16).view("<f4")


def nbytes(array: Array) -> int:
    """Its bytes, those of its texts included."""
    return sum(map(len, array.reshape(-1).tolist())) if array.dtype == object else array.nbytes


def datatype_of(array: Array) -> str:
    """The datatype that holds this array without loss; strings and objects are BYTES.

    Raises InvalidArgument for dtypes the protocol has no name for (complex, datetime, structured).
    """
    name = _OF_DTYPE.get(array.dtype.newbyteorder("<"))
    if name is not None:
        return name
    if array.dtype.kind in "OSU":
        return "BYTES"
    raise InvalidArgument(f"dtype {array.dtype} has no Open Inference Protocol datatype; convert it first")


def as_bytes(array: Array) -> Array:
    """An object array of `bytes` from strings, numpy strings or objects (str are encoded as UTF-8, None as empty)."""
    out = np.empty(array.shape, dtype=object)
    flat = out.reshape(-1)
    for position, value in enumerate(array.reshape(-1).tolist()):
        if isinstance(value, bytes):
            flat[position] = value
        else:
            flat[position] = b"" if value is None else str(value).encode()
    return out


def tensor(name: str, array: Array, datatype: str | None = None) -> Tensor:
    """Wrap an array under its own datatype, or cast it to `datatype` (numeric casts follow numpy's `same_kind`)."""
    wanted = datatype or datatype_of(array)
    if wanted == "BYTES":
        return Tensor(name, wanted, as_bytes(array))
    dtype = NUMPY.get(wanted)
    if dtype is None:
        raise InvalidArgument(f"'{wanted}' is no datatype; the datatypes are {', '.join(DATATYPES)}")
    return Tensor(name, wanted, array.astype(dtype, copy=False, casting="same_kind"))
