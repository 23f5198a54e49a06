"""Inference responses of other servers, brought into the strict form: nulls, unknown keys and odd parameters left out.

KServe writes `"parameters": null`, MLServer nests objects in parameters, Triton adds keys of its own.
"""

from typing import Any, cast

import msgspec

from argosy.protocol import rest
from argosy.spec.errors import InvalidArgument

_RESPONSE = ("model_name", "model_version", "id")
_OUTPUT = ("name", "shape", "datatype", "data")


def decode_response(body: bytes, header_length: int | None = None) -> rest.Response:
    """`rest.decode_response`, and once more on a tidied copy of the JSON part. Raises InvalidArgument."""
    try:
        return rest.decode_response(body, header_length)
    except InvalidArgument:
        cut = len(body) if header_length is None else header_length
        text = _tidied(body[:cut])
        if text is None:
            raise
        return rest.decode_response(text + body[cut:], None if header_length is None else len(text))


def _tidied(text: bytes) -> bytes | None:
    """The JSON part with what the strict form knows; None where it is no response at all."""
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    outputs = found.get("outputs")
    if not isinstance(outputs, list):
        return None
    tidy = {key: str(found[key]) for key in _RESPONSE if found.get(key) is not None}
    return msgspec.json.encode(
        tidy
        | {"parameters": _scalars(found.get("parameters"))}
        | {
            "outputs": [
                _output(cast("dict[str, Any]", one)) for one in cast("list[Any]", outputs) if isinstance(one, dict)
            ]
        }
    )


def _output(found: dict[str, Any]) -> dict[str, Any]:
    kept = {key: found[key] for key in _OUTPUT if found.get(key) is not None}
    return kept | {"parameters": _scalars(found.get("parameters"))}


def _scalars(parameters: Any) -> dict[str, Any]:
    if not isinstance(parameters, dict):
        return {}
    named = cast("dict[str, Any]", parameters)
    return {key: value for key, value in named.items() if isinstance(value, str | int | float | bool)}
