"""The Open Inference Protocol over REST: what lies at which path, requests and answers, as JSON and as bytes."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from argosy_edge import tensors
from argosy_edge.errors import InvalidArgument, MethodNotAllowed, NotFound, PayloadTooLarge
from argosy_edge.model import EdgeModel
from argosy_edge.signature import Port
from argosy_edge.tensors import Arrays, Parameters, WireTensor

LENGTH = "inference-header-content-length"
JSON, OCTETS = "application/json", "application/octet-stream"
EXTENSIONS = ("binary_tensor_data", "model_repository")
MOST_JSON = 4 * 1024 * 1024
"""Bytes of the JSON part of a request: each number in it becomes an object of Python."""
LONGEST_PATH = 1024
_PATH = re.compile(r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?(?P<tail>/ready|/infer|)")
_FIXED = {
    "/v2": ("server", "GET"),
    "/v2/health/live": ("live", "GET"),
    "/v2/health/ready": ("ready", "GET"),
    "/v2/repository/index": ("index", "POST"),
}
_TAILS = {"": ("model", "GET"), "/ready": ("model_ready", "GET"), "/infer": ("infer", "POST")}


class Operation(NamedTuple):
    """What is asked, and of which model."""

    name: str
    model: str = ""
    version: str = ""


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parameters: Parameters = {}


class _Infer(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[WireTensor]
    id: str | None = None
    parameters: Parameters | None = None
    outputs: list[_Asked] | None = None
    model_name: str | None = None
    model_version: str | None = None


class Infer(NamedTuple):
    """An inference request: inputs by name; the outputs asked for, all where there is none; for each of these whether
    it is wanted as bytes, and whether all others are."""

    inputs: Arrays
    id: str | None
    outputs: tuple[str, ...]
    binary: dict[str, bool]
    default: bool


class _Index(msgspec.Struct):
    ready: bool = False


_decode = msgspec.json.Decoder(_Infer).decode


def operation(method: str, path: str) -> Operation:
    """What a request is about. Raises NotFound, MethodNotAllowed."""
    path = path.removesuffix("/") if len(path) <= LONGEST_PATH else ""
    model = version = ""
    found = _FIXED.get(path)
    if found is None and (match := _PATH.fullmatch(path)) is not None:
        model, version = unquote(match["model"]), unquote(match["version"] or "")
        found = _TAILS[match["tail"]]
    if found is None:
        raise NotFound(f"there is nothing at {path[:200]}; the API begins at /v2")
    name, wanted = found
    if method != wanted and (wanted, method) != ("GET", "HEAD"):
        raise MethodNotAllowed(f"{path[:200]} takes {wanted}, not {method[:20]}")
    return Operation(name, model, version)


def request(body: bytes, length: str | None, model: EdgeModel) -> Infer:
    """An inference request from its body; `length`: what the header says of its JSON part. Raises InvalidArgument,
    PayloadTooLarge."""
    cut = None
    if length is not None:
        if not (length.isascii() and length.isdigit() and len(length) < 20) or int(length) > len(body):
            raise InvalidArgument(f"Inference-Header-Content-Length is '{length[:40]}' for a body of {len(body)} bytes")
        cut = int(length)
    if cut == 0:
        return _raw(body, model)
    view = memoryview(body)
    text, rest = (view, None) if cut is None else (view[:cut], view[cut:])
    if len(text) > MOST_JSON:
        raise PayloadTooLarge(f"the JSON has {len(text)} bytes; at most {MOST_JSON} are taken: send tensors as bytes")
    try:
        found = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"the body is no inference request: {str(error)[:200]}") from None
    if not found.inputs:
        raise InvalidArgument("'inputs' is empty; at least one input is needed")
    default = (found.parameters or {}).get("binary_data_output") is True
    asked = found.outputs or []
    if any(one.parameters.get("classification") for one in asked):
        raise InvalidArgument("classification is not served on a device: take the largest of the scores")
    binary = {one.name: one.parameters.get("binary_data", default) is True for one in asked}
    names = tuple(one.name for one in asked)
    return Infer(tensors.decode(found.inputs, rest), found.id, names, binary, default)


def answer(asked: Infer, model: EdgeModel, outputs: Arrays) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON part if any output is bytes. Raises InvalidArgument."""
    kinds = {port.name: port.datatype for port in model.signature.outputs}
    items: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for name, array in outputs.items():
        item: dict[str, Any] = {"name": name, "datatype": kinds[name], "shape": array.shape}
        if asked.binary.get(name, asked.default):
            parts.append(tensors.to_bytes(array))
            item["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            item["data"] = tensors.to_json(name, kinds[name], array)
        items.append(item)
    head: dict[str, Any] = {"model_name": model.name, "outputs": items}
    if model.version:
        head["model_version"] = model.version
    if asked.id is not None:
        head["id"] = asked.id
    text = msgspec.json.encode(head)
    return (b"".join((text, *parts)), len(text)) if parts else (text, None)


def index(body: bytes, model: EdgeModel | None) -> list[dict[str, str]]:
    """The models there are. Raises InvalidArgument for a body that is no JSON object."""
    try:
        msgspec.json.decode(body or b"{}", type=_Index)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the body is no JSON object with 'ready': {error}") from None
    return [{"name": model.name, "version": model.version, "state": "READY", "reason": ""}] if model else []


def described(model: EdgeModel) -> dict[str, Any]:
    """The metadata of a model."""
    return {
        "name": model.name,
        "versions": [model.version] if model.version else [],
        "platform": "onnxruntime_onnx",
        "inputs": _ports(model.signature.inputs),
        "outputs": _ports(model.signature.outputs),
    }


def _ports(ports: Sequence[Port]) -> list[dict[str, Any]]:
    """With the columns and classes that clients need."""
    items: list[dict[str, Any]] = []
    for port in ports:
        item: dict[str, Any] = {"name": port.name, "datatype": port.datatype, "shape": port.shape}
        known = {"columns": port.columns, "classes": port.classes, "nullable": port.nullable, "semantic": port.semantic}
        if parameters := {name: value for name, value in known.items() if value}:
            item["parameters"] = parameters
        items.append(item)
    return items


def _raw(body: bytes, model: EdgeModel) -> Infer:
    """The bytes of the one input alone, whose first free axis follows from their number."""
    if len(model.signature.inputs) != 1:
        raise InvalidArgument("a body without a JSON part needs a model with exactly one input")
    port = model.signature.inputs[0]
    shape = [1 if axis == -1 else axis for axis in port.shape]
    if port.datatype == "BYTES":
        body = len(body).to_bytes(4, "little") + body
    elif -1 in port.shape:
        size = tensors.NUMPY[port.datatype].itemsize
        for axis in shape:
            size *= axis
        shape[port.shape.index(-1)] = len(body) // max(size, 1)
    return Infer({port.name: tensors.of_bytes(port.name, port.datatype, shape, body)}, None, (), {}, True)
