"""Request bodies of the Open Inference Protocol, made once before the clock starts."""

import json
import struct
from collections.abc import Iterable

import numpy as np

DATATYPES = {np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64", np.dtype(np.int32): "INT32"}
METHOD = "/inference.GRPCInferenceService/ModelInfer"
JSON = {"Content-Type": "application/json"}

Row = dict[str, np.ndarray]


def _head(name: str, array: np.ndarray) -> dict:
    return {"name": name, "shape": list(array.shape), "datatype": DATATYPES[array.dtype]}


def json_body(row: Row) -> bytes:
    tensors = [{**_head(n, a), "data": a.ravel().tolist()} for n, a in row.items()]
    return json.dumps({"inputs": tensors}, separators=(",", ":")).encode()


def binary_body(row: Row) -> tuple[bytes, dict[str, str]]:
    """A body of the binary tensor extension, which also asks for binary outputs, and its headers."""
    tensors = [{**_head(n, a), "parameters": {"binary_data_size": a.nbytes}} for n, a in row.items()]
    asked = {"inputs": tensors, "parameters": {"binary_data_output": True}}
    header = json.dumps(asked, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
    return header + b"".join(a.tobytes() for a in row.values()), headers


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def grpc_body(row: Row, model: str) -> bytes:
    """A ModelInferRequest with raw contents, encoded by hand so that every server gets the same bytes."""
    tensors = b""
    for name, array in row.items():
        shape = b"".join(_varint(n) for n in array.shape)
        datatype = DATATYPES[array.dtype].encode()
        tensors += _field(5, _field(1, name.encode()) + _field(2, datatype) + _field(3, shape))
    return _field(1, model.encode()) + tensors + b"".join(_field(7, a.tobytes()) for a in row.values())


def json_label(body: bytes) -> list:
    """The data of the first output of a JSON response."""
    return list(np.ravel(json.loads(body)["outputs"][0]["data"]))


def _fields(message: bytes) -> Iterable[tuple[int, bytes]]:
    """The length-delimited fields of a protobuf message; others are skipped."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        wire = key & 7
        if wire == 2:
            size = varint()
            yield key >> 3, message[at : at + size]
            at += size
        elif wire == 0:
            varint()
        else:
            at += 8 if wire == 1 else 4


def grpc_label(message: bytes) -> list[int]:
    """The INT64 data of the first output of a ModelInferResponse, from raw or typed contents."""
    fields = list(_fields(message))
    raw = [content for number, content in fields if number == 6]
    if raw:
        return list(struct.unpack(f"<{len(raw[0]) // 8}q", raw[0]))
    output = next(content for number, content in fields if number == 5)
    contents = next(content for number, content in _fields(output) if number == 5)
    packed = next(content for number, content in _fields(contents) if number == 3)
    return list(packed)  # labels are below 128, so a packed varint is a byte
