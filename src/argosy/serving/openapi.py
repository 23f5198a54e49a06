"""The replica's REST API as an OpenAPI document, with every status that can be answered."""

from typing import Any, NamedTuple

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


class Route(NamedTuple):
    """A path with its method, the operation it asks for, and the schema of the answer."""

    method: str
    path: str
    operation: str
    schema: str
    summary: str


ROUTES = (
    Route("GET", "/v2", "server", "Server", "What this server is"),
    Route("GET", "/v2/health/live", "live", "Live", "Whether the process works"),
    Route("GET", "/v2/health/ready", "ready", "Ready", "Whether every model takes requests"),
    Route("GET", "/v2/models/stats", "stats", "Statistics", "Counters of every model"),
    Route("GET", "/v2/models/{model}", "model", "Model", "Inputs and outputs of a model"),
    Route("GET", "/v2/models/{model}/ready", "model_ready", "Ready", "Whether a model takes requests"),
    Route("GET", "/v2/models/{model}/config", "config", "Config", "Triton's model configuration"),
    Route("GET", "/v2/models/{model}/stats", "stats", "Statistics", "Counters of a model"),
    Route("POST", "/v2/models/{model}/infer", "infer", "InferResponse", "Run a model"),
    Route("POST", "/v2/repository/index", "index", "Index", "The models and their states"),
    Route("POST", "/v2/repository/models/{model}/load", "load", "Empty", "Load or reload a model"),
    Route("POST", "/v2/repository/models/{model}/unload", "unload", "Empty", "Unload a model"),
    Route("GET", "/v1/models", "names", "Names", "The models, as KServe V1 lists them"),
    Route("GET", "/v1/models/{model}", "model_ready", "Ready", "Whether a model takes requests, as KServe V1 has it"),
    Route("POST", "/v1/models/{model}:predict", "predict", "", "Predictions for rows, as KServe V1 has it"),
    Route("POST", "/invocations", "invocations", "", "Predictions for rows, plain or as MLflow has it"),
    Route("GET", "/ping", "ping", "", "Whether the model takes requests, as MLflow has it"),
    Route("GET", "/health", "ping", "", "The same as /ping"),
    Route("GET", "/version", "version", "", "The version of this server"),
    Route("GET", "/metrics", "metrics", "", "Metrics in Prometheus' text format"),
    Route("GET", "/openapi.json", "openapi", "", "This document"),
)
"""What a replica answers over HTTP; the document describes those with a schema."""


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        if route.schema:
            found = [route.path]
            if route.path.startswith("/v2/models/{model}"):
                found.append(route.path.replace("{model}", "{model}/versions/{version}"))
            for path in found:
                paths.setdefault(path, {})[route.method.lower()] = _operation(path, route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Argosy replica: Open Inference Protocol v2", "version": argosy.__version__},
        "paths": paths,
        "components": {"schemas": SCHEMAS},
    }


def _operation(path: str, route: Route) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": "Success", "content": _content(route.schema)}}
    if route.schema in ("Live", "Ready"):
        responses["503"] = {"description": "Not live or not ready", "content": _content(route.schema)}
    for status in sorted({cls.http for cls in table().values()}):
        responses.setdefault(str(status), {"description": "Failure", "content": _content("Error")})
    operation: dict[str, Any] = {
        "summary": route.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": _TEXT}
            for name in ("model", "version")
            if f"{{{name}}}" in path
        ],
        "responses": responses,
    }
    if route.operation == "infer":
        operation["requestBody"] = {"required": True, "content": _content("InferRequest")}
    return operation


def _content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
