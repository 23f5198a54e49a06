"""Inference requests and responses over REST, as the judge writes and reads them: JSON and the binary extension."""

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from argosy_conformance.check import Failed
from argosy_conformance.expect import field, that
from argosy_conformance.tensors import CODES, Tensor, count, flatten, pack
from argosy_conformance.transport import JSON, Answer

LENGTH = "inference-header-content-length"


class Outputs(msgspec.Struct, frozen=True):
    """A decoded response; `id` and `model_version` are None where absent; `binary` says which outputs came as bytes."""

    model_name: str
    model_version: str | None
    id: str | None
    tensors: dict[str, Tensor]
    binary: frozenset[str]


def json_body(tensors: Sequence[Tensor], *, nested: bool = False, **more: Any) -> dict[str, Any]:
    """An inference request in JSON; `more` holds `id`, `parameters` and `outputs`."""
    return {**more, "inputs": [tensor.json(nested=nested) for tensor in tensors]}


def described(tensor: Tensor, **parameters: Any) -> dict[str, Any]:
    """A tensor without its data, with its size in `parameters.binary_data_size`."""
    extra = {"binary_data_size": len(tensor.raw), **parameters}
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape), "parameters": extra}


def join(header: dict[str, Any], raw: bytes) -> tuple[bytes, dict[str, str]]:
    """A JSON header and the bytes behind it, with the HTTP header fields."""
    text = msgspec.json.encode(header)
    return text + raw, {"content-type": "application/octet-stream", LENGTH: str(len(text))}


def binary_body(tensors: Sequence[Tensor], *, back: bool = True, **more: Any) -> tuple[bytes, dict[str, str]]:
    """An inference request with every input as bytes; `back` asks for every output as bytes too."""
    parameters = {**more.pop("parameters", {}), "binary_data_output": back}
    header = {**more, "parameters": parameters, "inputs": [described(tensor) for tensor in tensors]}
    return join(header, b"".join(tensor.raw for tensor in tensors))


def json_request(body: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """A JSON body with its HTTP header fields."""
    return msgspec.json.encode(body), dict(JSON)


def read(answer: Answer) -> Outputs:
    """A successful response in either form. Raises Failed for everything the protocol does not allow."""
    that(answer.status == 200, f"expected 200, saw {answer.seen()}")
    text, rest = _split(answer)
    value = Answer(answer.status, answer.headers, text).object()
    outputs = field(value, "outputs", list, "the response")
    found: dict[str, Tensor] = {}
    binary: set[str] = set()
    for item in outputs:
        that(isinstance(item, dict), f"the response: an output is no object: {item!r}")
        output, rest, was_binary = _tensor(cast("dict[str, Any]", item), rest)
        that(output.name not in found, f"the response has output '{output.name}' twice")
        found[output.name] = output
        if was_binary:
            binary.add(output.name)
    that(not rest, f"{len(rest)} bytes are left over after the last output")
    name = field(value, "model_name", str, "the response")
    return Outputs(name, _text(value, "model_version"), _text(value, "id"), found, frozenset(binary))


def _text(value: dict[str, Any], name: str) -> str | None:
    found = value.get(name)
    that(found is None or isinstance(found, str), f"the response: '{name}' must be a string, saw {found!r}")
    return found


def _split(answer: Answer) -> tuple[bytes, bytes]:
    length = answer.headers.get(LENGTH)
    if length is None:
        return answer.body, b""
    that(length.isdecimal() and int(length) <= len(answer.body), f"the response header {LENGTH} is {length!r}")
    kind = answer.headers.get("content-type", "")
    that("octet-stream" in kind, f"a binary response has content type {kind!r} instead of application/octet-stream")
    return answer.body[: int(length)], answer.body[int(length) :]


def _tensor(item: dict[str, Any], rest: bytes) -> tuple[Tensor, bytes, bool]:
    name = field(item, "name", str, "an output")
    datatype = field(item, "datatype", str, f"output '{name}'")
    shape = tuple(field(item, "shape", list, f"output '{name}'"))
    that(all(isinstance(axis, int) and axis >= 0 for axis in shape), f"output '{name}' has shape {list(shape)}")
    size = cast("dict[str, Any]", item.get("parameters") or {}).get("binary_data_size")
    if size is not None:
        that("data" not in item, f"output '{name}' has both data and binary_data_size")
        that(isinstance(size, int) and 0 <= size <= len(rest), f"output '{name}' claims {size} of {len(rest)} bytes")
        return _sized(Tensor(name, datatype, shape, rest[:size])), rest[size:], True
    values = flatten(field(item, "data", list, f"output '{name}'"))
    if datatype in CODES and datatype.startswith("FP"):
        values = [float("nan") if value is None else value for value in values]
    return _sized(Tensor(name, datatype, shape, pack(datatype, values))), rest, False


def _sized(tensor: Tensor) -> Tensor:
    seen = len(tensor.values())
    if seen != count(tensor.shape):
        raise Failed(f"output '{tensor.name}' has {seen} elements for shape {list(tensor.shape)}")
    return tensor
