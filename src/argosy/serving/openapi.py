"""The replica's REST API as an OpenAPI document, with every status that can be answered."""

from typing import Any

import argosy
from argosy.spec.errors import table

_SCALAR = {"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}
_PARAMETERS = {"type": "object", "additionalProperties": _SCALAR}
_SHAPE = {"type": "array", "items": {"type": "integer"}}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_LIST: dict[str, Any] = {"type": "array", "items": {}}
_TENSOR = _object(
    ["name", "shape", "datatype"], name=_TEXT, shape=_SHAPE, datatype=_TEXT, parameters=_PARAMETERS, data=_LIST
)
_METADATA = _object(["name", "datatype", "shape"], name=_TEXT, datatype=_TEXT, shape=_SHAPE)

SCHEMAS: dict[str, Any] = {
    "Error": _object(["error"], error=_TEXT),
    "Live": _object(["live"], live=_FLAG),
    "Ready": _object(["ready"], live=_FLAG, ready=_FLAG, name=_TEXT),
    "Server": _object(["name", "version", "extensions"], name=_TEXT, version=_TEXT, extensions=_LIST),
    "Model": _object(
        ["name", "platform", "inputs", "outputs"],
        name=_TEXT,
        platform=_TEXT,
        versions={"type": "array", "items": _TEXT},
        inputs={"type": "array", "items": _METADATA},
        outputs={"type": "array", "items": _METADATA},
    ),
    "InferRequest": {
        **_object(
            ["inputs"],
            id=_TEXT,
            model_name=_TEXT,
            model_version=_TEXT,
            parameters=_PARAMETERS,
            inputs={"type": "array", "minItems": 1, "items": _TENSOR},
            outputs={"type": "array", "items": _object(["name"], name=_TEXT, parameters=_PARAMETERS)},
        ),
        "additionalProperties": False,
    },
    "InferResponse": _object(
        ["model_name", "outputs"],
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        parameters=_PARAMETERS,
        outputs={"type": "array", "items": _TENSOR},
    ),
    "Config": _object(["name"], name=_TEXT),
    "Statistics": _object(["model_stats"], model_stats=_LIST),
    "Index": {"type": "array", "items": _object(["name", "state"], name=_TEXT, state=_TEXT)},
    "Empty": {"type": "object"},
}

_OPERATIONS: tuple[tuple[str, str, str, str], ...] = (
    ("get", "/v2", "Server", "What this server is"),
    ("get", "/v2/health/live", "Live", "Whether the process works"),
    ("get", "/v2/health/ready", "Ready", "Whether every model takes requests"),
    ("get", "/v2/models/stats", "Statistics", "Counters of every model"),
    ("get", "/v2/models/{model}", "Model", "Inputs and outputs of a model"),
    ("get", "/v2/models/{model}/ready", "Ready", "Whether a model takes requests"),
    ("get", "/v2/models/{model}/config", "Config", "Triton's model configuration"),
    ("get", "/v2/models/{model}/stats", "Statistics", "Counters of a model"),
    ("post", "/v2/models/{model}/infer", "InferResponse", "Run a model"),
    ("post", "/v2/repository/index", "Index", "The models and their states"),
    ("post", "/v2/repository/models/{model}/load", "Empty", "Load or reload a model"),
    ("post", "/v2/repository/models/{model}/unload", "Empty", "Unload a model"),
)


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    paths: dict[str, Any] = {}
    for method, path, schema, summary in _OPERATIONS:
        paths.setdefault(path, {})[method] = _operation(path, schema, summary)
        if path.startswith("/v2/models/{model}"):
            versioned = path.replace("{model}", "{model}/versions/{version}")
            paths.setdefault(versioned, {})[method] = _operation(versioned, schema, summary)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Argosy replica: Open Inference Protocol v2", "version": argosy.__version__},
        "paths": paths,
        "components": {"schemas": SCHEMAS},
    }


def _operation(path: str, schema: str, summary: str) -> dict[str, Any]:
    error = {"description": "Failure", "content": _content("Error")}
    statuses = sorted({cls.http for cls in table().values()})
    responses: dict[str, Any] = {"200": {"description": "Success", "content": _content(schema)}}
    if schema in ("Live", "Ready"):
        responses["503"] = {"description": "Not live or not ready", "content": _content(schema)}
    responses |= {str(status): error for status in statuses if str(status) not in responses}
    operation: dict[str, Any] = {
        "summary": summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": _TEXT}
            for name in ("model", "version")
            if f"{{{name}}}" in path
        ],
        "responses": responses,
    }
    if path.endswith("/infer"):
        operation["requestBody"] = {"required": True, "content": _content("InferRequest")}
    return operation


def _content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
