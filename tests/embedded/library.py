"""NAME_run of a library over onnxruntime, for arrays."""

import ctypes
import json

import numpy as np

from argosy.spec.tensor import NUMPY


class Tensor(ctypes.Structure):
    """NAME_tensor of the header."""

    _fields_ = (("data", ctypes.c_void_p), ("shape", ctypes.c_int64 * 8), ("rank", ctypes.c_int32))


class Library:
    """The functions of a library: `found["selftest"]()`, and `run`."""

    def __init__(self, folder, name="net"):
        self.loaded = ctypes.CDLL(str(folder / f"lib/lib{name}.so"))
        self.name = name
        self["error"].restype = self["signature"].restype = ctypes.c_char_p
        self.about = json.loads(self["signature"]())

    def __getitem__(self, function):
        return getattr(self.loaded, f"{self.name}_{function}")

    def run(self, *arrays):
        """What each output is; or the status and what is said, where it is not 0."""
        held = [_held(array) for array in arrays]
        given = [
            Tensor(ctypes.addressof(data), (ctypes.c_int64 * 8)(*array.shape), array.ndim)
            for data, array in zip(held, arrays, strict=True)
        ]
        found = (Tensor * len(self.about["outputs"]))()
        status = self["run"]((Tensor * len(given))(*given), found)
        if status:
            return status, self["error"]().decode()
        answers = [_array(each, port["datatype"]) for each, port in zip(found, self.about["outputs"], strict=True)]
        self["release"](found)
        return answers


def _held(array):
    """Memory as the function takes it."""
    if array.dtype.kind == "O":
        return (ctypes.c_char_p * array.size)(*array.ravel().tolist())
    return ctypes.create_string_buffer(np.ascontiguousarray(array).tobytes())


def _array(tensor, datatype):
    shape = tuple(tensor.shape[: tensor.rank])
    count = int(np.prod(shape))
    if datatype == "BYTES":
        texts = ctypes.cast(tensor.data, ctypes.POINTER(ctypes.c_char_p))
        return np.array([texts[at] for at in range(count)], object).reshape(shape)
    kind = NUMPY[datatype]
    return np.frombuffer(ctypes.string_at(tensor.data, count * kind.itemsize), kind).reshape(shape)
