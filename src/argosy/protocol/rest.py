"""REST bodies of the Open Inference Protocol v2 ↔ requests and responses, JSON and binary tensors mixed.

Both directions, for server and client. Sources: KServe `required_api.md`, Triton's binary tensor data extension.
"""

import base64
import re
from collections.abc import Container, Sequence
from typing import Any

import msgspec
import numpy as np

from argosy.protocol import jsondata, large, raw
from argosy.protocol.bounds import LARGE, MAX_ID, Bounds
from argosy.spec.errors import InvalidArgument, Unsupported
from argosy.spec.signature import Signature, TensorSpec
from argosy.spec.tensor import Tensor

Parameter = str | int | float | bool
Parameters = dict[str, Parameter]

HEADER_LENGTH = "inference-header-content-length"
JSON = "application/json"
OCTETS = "application/octet-stream"
SHARED = "shared_memory_region"
CLASSES = "classes"
"""The parameter of an answer that names classes: the JSON text of output → names, since parameters are scalars."""
MOST_CLASSES = 1024
"""Characters of it. Longer ones are in the metadata alone."""


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An output a caller asks for. `parameters.binary_data` overrides the request's default form."""

    name: str
    parameters: Parameters = {}


class Request(msgspec.Struct):
    """An inference request, whatever it came by. `id` is None when the caller gave none; no `outputs` means all."""

    tensors: list[Tensor]
    id: str | None = None
    parameters: Parameters = {}
    outputs: list[Output] = []


class Response(msgspec.Struct):
    """An inference response, whatever it goes by."""

    model_name: str
    model_version: str | None
    tensors: Sequence[Tensor]
    id: str | None = None
    parameters: Parameters = {}


class WireTensor(msgspec.Struct, forbid_unknown_fields=True):
    """A tensor of a body: as JSON `data`, or as `parameters.binary_data_size` bytes after the JSON part."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: Parameters = {}


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[WireTensor]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[Output] | None = None
    model_name: str | None = None
    model_version: str | None = None


class _Response(msgspec.Struct):
    model_name: str = ""
    model_version: str | None = None
    id: str | None = None
    parameters: Parameters = {}
    outputs: list[WireTensor] = []


class _Output(msgspec.Struct):
    name: str
    parameters: msgspec.Raw = msgspec.Raw(b"{}")


_decode_request = msgspec.json.Decoder(_Request).decode
_decode_response = msgspec.json.Decoder(_Response).decode
_encode = msgspec.json.Encoder().encode


def decode_request(
    body: bytes,
    header_length: int | None = None,
    signature: Signature | None = None,
    bounds: Bounds | None = None,
    strict: bool = False,
) -> Request:
    """Body → request. `header_length`: the JSON part's bytes, when the header names it; 0 is a raw binary request,
    which needs the signature of a model with one input. `bounds`: what a large body may hold. Unless it is to be
    `strict`, unknown fields and parameters without a value are passed over, and base64 is decoded where
    `content_type` says so. Raises InvalidArgument, PayloadTooLarge.
    """
    if header_length == 0:
        return _raw_request(body, signature)
    text, rest = _split(body, header_length)
    if not text:
        raise InvalidArgument("the request body is empty; it is a JSON object with 'inputs'")
    try:
        wire = _decode_request(text) if len(text) <= LARGE else _outlined(text, bounds, strict=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        wire = _tolerated(error, text, bounds, strict)
    if not wire.inputs:
        raise InvalidArgument("'inputs' is empty; at least one input is needed")
    if bounds is not None:
        for item in wire.inputs:
            bounds.check(item.name, item.datatype, item.shape, many=len(wire.inputs) > 1)
    tensors = decode_tensors(wire.inputs, rest, "input", strict)
    return Request(tensors, wire.id, wire.parameters or {}, wire.outputs or [])


def _tolerated(error: Exception, text: bytes | memoryview, bounds: Bounds | None, strict: bool) -> _Request:
    """What a request that is none strictly says nevertheless. Raises InvalidArgument with the `error` if it cannot."""
    try:
        if isinstance(error, msgspec.ValidationError) and not strict:
            return _outlined(text, bounds, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as again:
        error = again
    if isinstance(error, RecursionError):
        raise InvalidArgument("the request body is nested too deep") from None
    if isinstance(error, msgspec.ValidationError):
        raise InvalidArgument(f"the request body is no inference request: {error}") from None
    odd = re.search(rb"NaN|Infinity", text)
    hint = ". JSON has no NaN, which is null here, and no Infinity, which is sent as binary data" if odd else ""
    raise InvalidArgument(f"the request body is not valid JSON: {error}{hint}") from None


def _outlined(text: bytes | memoryview, bounds: Bounds | None, *, strict: bool) -> _Request:
    """A request by its outline, as a large one is read, and one that is not strict. Raises InvalidArgument,
    msgspec.DecodeError."""
    wire = large.outline(text, strict=strict)
    if wire.id is not None and len(wire.id) > MAX_ID:
        raise InvalidArgument(f"the request's id has {len(wire.id)} characters; at most {MAX_ID} are taken")
    inputs = [
        WireTensor(
            item.name,
            large.manner(item.shape, list[int], f"the shape of input '{item.name[:80]}'"),
            item.datatype,
            item.data,
            _parameters(item.parameters, f"'parameters' of input '{item.name[:80]}'", strict),
        )
        for item in large.items(wire.inputs, 1024 if bounds is None else bounds.tensors, strict=strict)
    ]
    parameters = _parameters(wire.parameters, "'parameters'", strict)
    outputs: list[Any] = large.manner(wire.outputs, list[Output if strict else _Output] | None, "'outputs'") or []
    if not strict:
        outputs = [
            Output(one.name, _parameters(one.parameters, "'parameters' of an output", strict)) for one in outputs
        ]
    return _Request(inputs, wire.id, parameters, outputs)


def _parameters(text: msgspec.Raw, what: str, strict: bool) -> Parameters:
    """Parameters; unless `strict`, without those that are no scalars. Raises InvalidArgument, ValidationError."""
    if strict:
        return large.manner(text, Parameters | None, what) or {}
    found: dict[str, Any] = large.manner(text, dict[str, Any] | None, what) or {}
    return {name: value for name, value in found.items() if isinstance(value, Parameter)}


def encode_response(response: Response, binary: Sequence[bool] | None = None) -> tuple[bytes, int | None]:
    """Response → body, and the length of its JSON part if any output is binary. `binary` says which are."""
    if binary is None or True not in binary:
        outputs = [
            {"name": t.name, "datatype": t.datatype, "shape": t.array.shape, "data": jsondata.encode(t)}
            for t in response.tensors
        ]
        return _encode(_head(response, "outputs", outputs)), None
    return encode_mixed(_head(response, "outputs", []), "outputs", response.tensors, binary)


def encode_large(response: Response, binary: Sequence[bool]) -> tuple[bytearray, int | None]:
    """`encode_response` into one buffer: of a large answer there is no second copy."""
    text = bytearray(_encode(_head(response, "outputs", [])))
    del text[-2:]
    bodies: list[bytes] = []
    for number, (tensor, as_binary) in enumerate(zip(response.tensors, binary, strict=True)):
        entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.array.shape}
        if as_binary:
            bodies.append(raw.encode(tensor))
            entry["parameters"] = {"binary_data_size": len(bodies[-1])}
        text += b"," if number else b""
        text += _encode(entry)
        if not as_binary:
            text[-1:] = b',"data":'
            jsondata.write(tensor, text)
            text += b"}"
    text += b"]}"
    size = len(text)
    for body in bodies:
        text += body
    return text, size if bodies else None


def encode_request(request: Request, binary: bool = True) -> tuple[bytes, int | None]:
    """Request → body and header length; every input as binary, or every input as JSON."""
    head: dict[str, Any] = {"inputs": []}
    if request.id is not None:
        head["id"] = request.id
    parameters: Parameters = dict(request.parameters)
    if binary and not request.outputs:
        parameters["binary_data_output"] = True
    if parameters:
        head["parameters"] = parameters
    if request.outputs:
        head["outputs"] = request.outputs
    return encode_mixed(head, "inputs", request.tensors, [binary] * len(request.tensors))


def decode_response(body: bytes, header_length: int | None = None) -> Response:
    """Body → response, on the client's side. Raises InvalidArgument for what is no inference response."""
    text, rest = _split(body, header_length)
    try:
        wire = _decode_response(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the answer is no inference response: {error}") from None
    tensors = decode_tensors(wire.outputs, rest, "output")
    return Response(wire.model_name, wire.model_version, tensors, wire.id, wire.parameters)


def name_classes(outputs: Sequence[TensorSpec]) -> Parameters:
    """The parameters by which answers name the classes of outputs, of all within `MOST_CLASSES`."""
    text = _encode({spec.name: spec.classes for spec in outputs if spec.classes}).decode()
    return {CLASSES: text} if 2 < len(text) <= MOST_CLASSES else {}


def decode_classes(response: Response) -> dict[str, tuple[str, ...]]:
    """The names of classes in an answer, by output. What another server means by the parameter is passed over."""
    try:
        return msgspec.json.decode(str(response.parameters.get(CLASSES)), type=dict[str, tuple[str, ...]])
    except msgspec.DecodeError:
        return {}


def parse_header_length(value: str | None, size: int) -> int | None:
    """The value of Inference-Header-Content-Length for a body of `size` bytes. Raises InvalidArgument."""
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 20) or int(value) > size:
        raise InvalidArgument(f"Inference-Header-Content-Length is '{value[:40]}' for a body of {size} bytes")
    return int(value)


def _split(body: bytes, header_length: int | None) -> tuple[bytes | memoryview, memoryview | None]:
    if header_length is None:
        return body, None
    view = memoryview(body)
    return view[:header_length], view[header_length:]


def decode_tensors(wire: list[WireTensor], rest: memoryview | None, what: str, strict: bool = False) -> list[Tensor]:
    """The tensors of a body; `rest` is what follows its JSON part. Raises InvalidArgument."""
    if rest is None:
        return [_tensor(item, what, strict) for item in wire]
    tensors: list[Tensor] = []
    at = 0
    for item in wire:
        size = item.parameters.get("binary_data_size")
        if size is None:
            tensors.append(_tensor(item, what, strict))
            continue
        if item.data:
            raise InvalidArgument(f"{what} '{item.name}' has both 'data' and 'binary_data_size'")
        if type(size) is not int or size < 0:
            raise InvalidArgument(f"{what} '{item.name}': binary_data_size is {size!r}; it must be a number of bytes")
        end = at + size
        if end > len(rest):
            raise InvalidArgument(f"{what} '{item.name}' needs {size} binary bytes; {len(rest) - at} are left")
        tensors.append(raw.decode(item.name, item.datatype, item.shape, rest[at:end]))
        at = end
    if at != len(rest):
        raise InvalidArgument(f"{len(rest) - at} binary bytes belong to no {what}: the binary_data_size do not add up")
    return tensors


def _tensor(item: WireTensor, what: str, strict: bool) -> Tensor:
    parameters = item.parameters
    if parameters and "binary_data_size" in parameters:
        raise InvalidArgument(f"{what} '{item.name}' is binary, but there is no Inference-Header-Content-Length header")
    if not item.data:
        refuse_shared(parameters)
        raise InvalidArgument(f"{what} '{item.name}' has neither 'data' nor 'binary_data_size'")
    decode = jsondata.decode if len(item.data) <= LARGE else large.decode
    tensor = decode(item.name, item.datatype, item.shape, item.data, strict)
    if parameters and not strict and item.datatype == "BYTES" and parameters.get("content_type") == "base64":
        return _unpacked(tensor)
    return tensor


def refuse_shared(parameters: Container[str]) -> None:
    """Raise Unsupported for a tensor that is in shared memory, or to be written there."""
    if SHARED in parameters:
        raise Unsupported(
            "shared memory is not supported: a replica is confined; send the tensors, binary for instance"
        )


def _unpacked(tensor: Tensor) -> Tensor:
    """BYTES that came as base64, as MLServer's clients send them. Raises InvalidArgument."""
    out = np.empty(tensor.shape, object)
    try:
        out.reshape(-1)[:] = [base64.b64decode(text, validate=True) for text in tensor.array.reshape(-1)]
    except ValueError as error:
        raise InvalidArgument(f"input '{tensor.name}': content_type is base64, and the data is not: {error}") from None
    return Tensor(tensor.name, tensor.datatype, out)


def _raw_request(body: bytes, signature: Signature | None) -> Request:
    if signature is None or len(signature.inputs) != 1:
        raise InvalidArgument("a raw binary request (header length 0) needs a model with exactly one input")
    spec = signature.inputs[0]
    free = [axis for axis, size in enumerate(spec.shape) if size == -1]
    shape = [1 if size == -1 else size for size in spec.shape]
    if spec.datatype == "BYTES":
        return Request([raw.decode(spec.name, spec.datatype, shape, len(body).to_bytes(4, "little") + body)])
    step = raw.elements(spec.name, shape) * raw.itemtype(spec.name, spec.datatype).itemsize
    if free and step:
        shape[free[0]] = len(body) // step
    return Request([raw.decode(spec.name, spec.datatype, shape, body)], parameters={"binary_data_output": True})


def _head(response: Response, key: str, entries: list[Any]) -> dict[str, Any]:
    head: dict[str, Any] = {"model_name": response.model_name}
    if response.model_version is not None:
        head["model_version"] = response.model_version
    if response.id is not None:
        head["id"] = response.id
    if response.parameters:
        head["parameters"] = response.parameters
    head[key] = entries
    return head


def encode_mixed(
    head: dict[str, Any], key: str, tensors: Sequence[Tensor], binary: Sequence[bool]
) -> tuple[bytes, int | None]:
    """A head and tensors under `key` → body, and the length of its JSON part if any tensor is binary."""
    entries: list[dict[str, Any]] = []
    bodies: list[bytes] = []
    for tensor, as_binary in zip(tensors, binary, strict=True):
        entry: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.array.shape}
        if as_binary:
            bodies.append(raw.encode(tensor))
            entry["parameters"] = {"binary_data_size": len(bodies[-1])}
        else:
            entry["data"] = jsondata.encode(tensor)
        entries.append(entry)
    text = _encode({**head, key: entries})
    return (b"".join((text, *bodies)), len(text)) if bodies else (text, None)
