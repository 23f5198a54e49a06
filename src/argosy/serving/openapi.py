"""The REST API of a replica as an OpenAPI document, of one model or of any, and the page that shows it."""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import msgspec

import argosy
from argosy.protocol.openai import KINDS
from argosy.protocol.rest import Request, encode_request
from argosy.protocol.rows import first_row
from argosy.serving.dataplane import DataPlane
from argosy.serving.exchange import Headers
from argosy.serving.model import ServedModel
from argosy.serving.schemas import Json, example_of, fixed, of_model
from argosy.spec.errors import table

MOST_EXAMPLE = 1000
"""Elements of a row that is shown as an example."""


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
    Route("POST", "/v1/models/{model}:predict", "predict", "Predictions", "Predictions for rows, as KServe V1 has it"),
    Route("POST", "/invocations", "invocations", "Predictions", "Predictions for rows, plain or as MLflow has it"),
    Route("POST", "/v1/embeddings", "embeddings", "Embeddings", "Embeddings of texts, as OpenAI has it"),
    Route("POST", "/v1/rerank", "rerank", "Ranking", "Scores of documents for a query, as Jina and Cohere have it"),
    Route("GET", "/ping", "ping", "", "Whether the model takes requests, as MLflow has it"),
    Route("GET", "/health", "ping", "", "The same as /ping"),
    Route("GET", "/version", "version", "", "The version of this server"),
    Route("GET", "/metrics", "metrics", "", "Metrics in Prometheus' text format"),
    Route("GET", "/openapi.json", "openapi", "", "This document"),
    Route("GET", "/docs", "docs", "", "This document as a page, to try it"),
)
"""What a replica answers over HTTP; the document describes those with a schema."""
BELOW = ("names", "model_ready", "predict", "invocations", "ping", "version", "openapi", "docs", *KINDS)
"""Operations that are also below `/endpoints/NAME`."""
_BODIES = {
    "infer": "InferRequest",
    "predict": "PredictRequest",
    "invocations": "Invocation",
    "embeddings": "EmbeddingsRequest",
    "rerank": "RerankRequest",
}


def served(plane: DataPlane, path: str) -> Json:
    """The document at a path of `/openapi.json`: of the model that it names, else of the only one, if there is one."""
    base = path.removesuffix("/openapi.json")
    models = plane.models()
    if base:
        return document(plane.get(base.rpartition("/")[2]), base)
    return document(models[0] if len(models) == 1 else None)


def document(model: ServedModel | None = None, base: str = "") -> Json:
    """The OpenAPI 3.1 document. `base`: what stands before the paths of `BELOW` at the gateway."""
    paths: Json = {}
    for route in ROUTES:
        if route.operation in KINDS and not (
            model and model.language and model.language.kind == KINDS[route.operation]
        ):
            continue
        if route.schema and not (base and route.operation not in (*BELOW, "infer", "model")):
            for path in _paths(route, model):
                item = paths.setdefault(path, {})
                item[route.method.lower()] = _operation(path, route, model)
                if base and path.startswith("/v2"):
                    item["servers"] = [{"url": "/"}]
    found: Json = {
        "openapi": "3.1.0",
        "info": {"title": "Argosy replica", "version": argosy.__version__},
        "paths": paths,
        "components": {"schemas": fixed() | (of_model(model.signature) if model else {})},
    }
    if model is not None:
        about = f"Version {model.version} of a model, executed by {model.platform.removeprefix('argosy_')}."
        found["info"] = {"title": model.name, "version": model.version, "description": about}
    if base:
        schemes = {"bearer": {"type": "http", "scheme": "bearer"}}
        schemes |= {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}
        found["components"]["securitySchemes"] = schemes
        found |= {"servers": [{"url": base}], "security": [{}, {"bearer": []}, {"key": []}]}
    return found


def _paths(route: Route, model: ServedModel | None) -> list[str]:
    if model is not None:
        return [route.path.replace("{model}", model.name)]
    versioned = route.path.startswith("/v2/models/{model}")
    return [route.path, *([route.path.replace("{model}", "{model}/versions/{version}")] if versioned else [])]


def _operation(path: str, route: Route, model: ServedModel | None) -> Json:
    responses: Json = {"200": {"description": "Success", "content": _content(route.schema)}}
    if route.schema in ("Live", "Ready"):
        responses["503"] = {"description": "Not live or not ready", "content": _content(route.schema)}
    for status in sorted({cls.http for cls in table().values()}):
        responses.setdefault(str(status), {"description": "Failure", "content": _content("Error")})
    operation: Json = {
        "summary": route.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in ("model", "version")
            if f"{{{name}}}" in path
        ],
        "responses": responses,
    }
    if route.operation in _BODIES:
        content = _content(_BODIES[route.operation])
        if model is not None:
            content["application/json"] |= _examples(route.operation, model)
        if route.operation == "invocations":
            content["text/csv"] = {"schema": {"type": "string"}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _examples(operation: str, model: ServedModel) -> Json:
    row = example_of(model.example, model.signature, MOST_EXAMPLE)
    if row is None:
        return {}
    if operation == "infer":
        if any(tensor.datatype in ("FP16", "BF16") for tensor in model.example):
            return {}
        first = first_row(model.example, model.signature.batched)
        return {"example": msgspec.json.decode(encode_request(Request(first), binary=False)[0])}
    whole = not model.signature.batched
    return {"example": {"inputs": row} if whole else {"instances": [row]} if operation == "predict" else [row]}


def _content(schema: str) -> Json:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


@cache
def page() -> tuple[bytes, Headers]:
    """The page of the document beside it, and its headers: nothing from elsewhere, nothing inline but its own."""
    text = (files("argosy.serving") / "docs.html").read_text("utf-8")
    parts = {tag: re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[0] for tag in ("script", "style")}
    hashes = {tag: base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for tag, part in parts.items()}
    policy = (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }
    return text.encode(), tuple(headers.items())
