"""gRPC messages of the Open Inference Protocol v2 ↔ requests and responses.

The messages live in a descriptor pool of their own: other clients register the same names in the process-wide one.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any, cast

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from argosy.protocol import raw
from argosy.protocol.bounds import LARGE, MAX_ID, Bounds, strings_of, typed_of
from argosy.protocol.jsondata import WINDOW
from argosy.protocol.rest import Output, Parameter, Parameters, Request, Response, refuse_shared
from argosy.spec.errors import InvalidArgument, PayloadTooLarge
from argosy.spec.matching import cast_values
from argosy.spec.tensor import NUMPY, Array, Tensor, as_bytes

SERVICE = "inference.GRPCInferenceService"


def _load_pool() -> descriptor_pool.DescriptorPool:
    data = (resources.files("argosy.protocol") / "open_inference.binpb").read_bytes()
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.Add(file)
    return pool


POOL = _load_pool()
METHODS: dict[str, Any] = {method.name: method for method in POOL.FindServiceByName(SERVICE).methods}
"""Method name → descriptor, with `input_type`, `output_type`, `client_streaming`, `server_streaming`."""


def message(name: str) -> Any:
    """The class of a message of package `inference`."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"inference.{name}"))


InferRequest = message("ModelInferRequest")
InferResponse = message("ModelInferResponse")
StreamResponse = message("ModelStreamInferResponse")

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}

_NEIGHBOURS = {
    "bool_contents": "BOOL",
    "int_contents": "INT32",
    "int64_contents": "INT64",
    "uint_contents": "UINT32",
    "uint64_contents": "UINT64",
    "fp32_contents": "FP32",
    "fp64_contents": "FP64",
}
"""Fields from which numbers of another datatype are taken, where they have it: the datatype of what is in them."""

MOST_PARTS = 4096
"""Tensors, outputs asked for, parameters, raw contents and unknown fields of a request, together."""
MOST_STRINGS = 2**22
"""Elements of typed BYTES contents."""
MOST_SHAPE = 512
"""Bytes of a shape: 32 axes need 320."""

_PART, _SHAPE, _TYPED, _STRING = "part", "shape", "typed", "string"
_Schema = dict[int, Any]
_COUNTED: _Schema = dict.fromkeys(range(1, 8), _TYPED) | {8: _STRING}
_INPUT: _Schema = {1: None, 2: None, 3: _SHAPE, 4: _PART, 5: _COUNTED}
_REQUEST: _Schema = {1: None, 2: None, 3: None, 4: _PART, 5: _INPUT, 6: {1: None, 2: _PART}, 7: _PART}


def parse(kind: Any, data: bytes, wire: int = 0) -> Any:
    """Bytes → message of this class; a large inference request, or one that came in `wire` compressed bytes, is counted
    first. Raises InvalidArgument, PayloadTooLarge."""
    if kind is InferRequest and len(data) > LARGE:
        count_parts(data, wire)
    try:
        return kind.FromString(data)
    except Exception:
        raise InvalidArgument(f"the message is no {kind.DESCRIPTOR.name}") from None


def decode_request(wire: Any, bounds: Bounds | None = None, strict: bool = False) -> tuple[Request, bool]:
    """Message → request, and whether its tensors were raw (an answer takes the same form). `bounds`: what a large
    message may hold. Unless it is to be `strict`, typed contents are taken from whichever field has them, and
    parameters without a value are passed over. Raises InvalidArgument, PayloadTooLarge."""
    if bounds is not None:
        if len(wire.id) > MAX_ID:
            raise InvalidArgument(f"the request's id has {len(wire.id)} characters; at most {MAX_ID} are taken")
        for item in wire.inputs:
            bounds.check(item.name, item.datatype, tuple(item.shape), many=len(wire.inputs) > 1)
    raws = wire.raw_input_contents
    tensors = _raw_tensors(wire.inputs, raws, strict) if raws else [_typed(item, strict) for item in wire.inputs]
    if not tensors:
        raise InvalidArgument("the request has no inputs; at least one is needed")
    outputs = [Output(item.name, decode_parameters(item.parameters, strict)) for item in wire.outputs]
    request = Request(tensors, wire.id or None, decode_parameters(wire.parameters, strict), outputs)
    return request, bool(raws) or all(item.datatype not in _CONTENTS for item in wire.inputs)


def encode_response(response: Response, use_raw: bool, whole: bool = True) -> Any:
    """Response → message, without its parameters unless `whole`. FP16 and BF16 have no typed form: an answer that holds
    one is raw as a whole."""
    wire = InferResponse.FromString(_head(response.model_name, response.model_version or ""))
    if whole and response.parameters:
        wire.MergeFromString(_parameters(*response.parameters.items()))
    if response.id:
        wire.id = response.id
    if use_raw or any(tensor.datatype not in _CONTENTS for tensor in response.tensors):
        add, append = wire.outputs.add, wire.raw_output_contents.append
        for tensor in response.tensors:
            add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
            append(raw.encode(tensor))
    else:
        _put_typed(wire.outputs, response.tensors)
    return wire


def decode_parameters(wire: Any, strict: bool = False) -> Parameters:
    """Parameter map → dict. A parameter without a value is left out, or InvalidArgument if it is to be `strict`."""
    found: Parameters = {}
    for name, value in wire.items():
        kind = value.WhichOneof("parameter_choice")
        if kind is not None:
            found[name] = getattr(value, kind)
        elif strict:
            raise InvalidArgument(f"parameter '{name}' has no value")
    return found


def encode_parameters(parameters: Parameters, wire: Any) -> None:
    """Dict → parameter map, in place."""
    for name, value in parameters.items():
        _put_parameter(wire[name], value)


def serialize(response: Response, use_raw: bool) -> bytes:
    """`encode_response` as bytes. Its parameters are those of a model, and encoded once: protobuf lets them follow."""
    data: bytes = encode_response(response, use_raw, whole=False).SerializeToString()
    return data + _parameters(*response.parameters.items()) if response.parameters else data


@lru_cache(maxsize=256)
def _head(name: str, version: str) -> bytes:
    """What all answers of a model begin with: to read it takes less time than to write it."""
    return InferResponse(model_name=name, model_version=version).SerializeToString()


@lru_cache(maxsize=256)
def _parameters(*parameters: tuple[str, Parameter]) -> bytes:
    wire = InferResponse()
    encode_parameters(dict(parameters), wire.parameters)
    return wire.SerializeToString()


def _put_parameter(wire: Any, value: Parameter) -> None:
    if isinstance(value, bool):
        wire.bool_param = value
    elif isinstance(value, int):
        setattr(wire, "int64_param" if -(2**63) <= value < 2**63 else "uint64_param", value)
    elif isinstance(value, float):
        wire.double_param = value
    else:
        wire.string_param = value


def _raw_tensors(items: Any, raws: Sequence[bytes], strict: bool) -> list[Tensor]:
    if len(raws) != len(items):
        for item in items:
            refuse_shared(item.parameters)
        raise InvalidArgument(f"{len(items)} tensors with {len(raws)} raw contents; raw contents need one each")
    if any(item.HasField("contents") and (strict or item.contents.ListFields()) for item in items):
        raise InvalidArgument("typed contents and raw contents are mixed; a request uses one or the other")
    return [
        raw.decode(item.name, item.datatype, tuple(item.shape), data) for item, data in zip(items, raws, strict=True)
    ]


def _typed(item: Any, strict: bool) -> Tensor:
    dtype = raw.itemtype(item.name, item.datatype)
    shape = tuple(item.shape)
    count = raw.elements(item.name, shape)
    field = _CONTENTS.get(item.datatype)
    if field is None:
        raise InvalidArgument(f"tensor '{item.name}': {item.datatype} has no typed form; use raw_input_contents")
    datatype, filled = item.datatype, [other.name for other, _ in item.contents.ListFields()]
    if filled not in ([], [field]):
        if strict or len(filled) > 1 or field == "bytes_contents" or filled[0] not in _NEIGHBOURS:
            raise InvalidArgument(f"tensor '{item.name}' {datatype} belongs in {field}, not in {', '.join(filled)}")
        field, datatype = filled[0], _NEIGHBOURS[filled[0]]
        dtype = NUMPY[datatype]
    values = getattr(item.contents, field)
    if len(values) != count:
        refuse_shared(item.parameters)
        raise InvalidArgument(f"tensor '{item.name}' {list(shape)} needs {count} elements, {len(values)} were sent")
    array = _array(item.name, datatype, values, dtype).reshape(shape)
    if datatype != item.datatype:
        array = cast_values(array, item.datatype, f"tensor '{item.name}'")
    return Tensor(item.name, item.datatype, array)


def _array(name: str, datatype: str, values: Sequence[Any], dtype: np.dtype[Any]) -> Array:
    if datatype == "BYTES":
        return as_bytes(np.fromiter(values, dtype=object))
    try:
        if len(values) <= WINDOW:
            return np.array(list(values), dtype=dtype)
        out = np.empty(len(values), dtype)
        for start in range(0, len(values), WINDOW):
            out[start : start + WINDOW] = np.array(values[start : start + WINDOW], dtype=dtype)
        return out
    except OverflowError:
        raise InvalidArgument(f"tensor '{name}': a value is out of the range of {datatype}") from None


def _put_typed(wire: Any, tensors: Iterable[Tensor]) -> None:
    for tensor in tensors:
        if (field := _CONTENTS.get(tensor.datatype)) is None:
            raise InvalidArgument(f"tensor '{tensor.name}': {tensor.datatype} has no typed form")
        item = wire.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
        flat, contents = tensor.array.reshape(-1), getattr(item.contents, field)
        for start in range(0, flat.size, WINDOW):
            contents.extend(flat[start : start + WINDOW].tolist())


def count_parts(data: bytes, wire: int) -> None:
    """Count on the wire what a large message has, since protobuf builds it all before anybody can check: two bytes may
    become a message of a hundred, a string of fifty, or a number of eight.

    Raise PayloadTooLarge for a ModelInferRequest of more parts than a request needs, or than it may hold that came
    in `wire` compressed bytes (0: not compressed); InvalidArgument for one that is cut or has groups."""
    _Count(min(MOST_STRINGS, strings_of(wire)), typed_of(wire)).walk(data, 0, len(data), _REQUEST)


class _Count:
    def __init__(self, strings: int, typed: int) -> None:
        self._left = {_PART: MOST_PARTS, _STRING: strings, _TYPED: typed}

    def walk(self, data: bytes, at: int, end: int, schema: _Schema) -> None:
        """The fields of one message."""
        while at < end:
            tag, at = _varint(data, at, end)
            kind = schema.get(tag >> 3, _PART)
            wire, start = tag & 7, at
            if wire == 2:
                size, start = _varint(data, at, end)
                at = start + size
            elif wire == 0:
                _, at = _varint(data, at, end)
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
            else:
                raise InvalidArgument("the message has a group; no message of this protocol has")
            if at > end:
                raise InvalidArgument("the message is cut short")
            if type(kind) is dict:
                self._take(_PART, 1)
                if wire == 2:
                    self.walk(data, start, at, cast("_Schema", kind))
            elif kind is _SHAPE and at - start > MOST_SHAPE:
                raise InvalidArgument(f"a shape of {at - start} bytes; at most {MOST_SHAPE} are taken")
            elif kind is _TYPED and wire == 2:
                self._take(_TYPED, at - start)
            elif kind is not None:
                self._take(_STRING if kind is _STRING else _PART, 1)

    def _take(self, kind: str, count: int) -> None:
        self._left[kind] -= count
        if self._left[kind] < 0:
            raise PayloadTooLarge(_MESSAGES[kind])


_MESSAGES = {
    _PART: f"the message has more than {MOST_PARTS} tensors, parameters and unpacked or unknown fields",
    _STRING: "the message has more strings than are taken at once; use raw_input_contents, or several requests",
    _TYPED: "the compressed message has more typed contents than are taken; use raw_input_contents, or no compression",
}


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise InvalidArgument("the message is cut short")
