"""The OpenAPI description of the control API, from its route table."""

import inspect
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from argosy.api.route import Route
from argosy.spec.errors import table

Json = dict[str, Any]


class Error(msgspec.Struct, frozen=True):
    """Every failure: what was wrong and what to do, and a code of the error table."""

    error: str
    code: str


def document(routes: Iterable[Route], version: str) -> Json:
    """OpenAPI 3.1."""
    routes = list(routes)
    types = [each for route in routes for each in (route.body, route.query, route.answer) if each is not None]
    schemas, components = msgspec.json.schema_components([*types, Error], ref_template="#/components/schemas/{name}")
    schema = dict(zip(map(repr, [*types, Error]), schemas, strict=True))
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Argosy control API", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(route: Route, schema: Json, components: Json) -> Json:
    good: Json = {"description": route.summary}
    if route.answer is None:
        good["content"] = {"text/plain": {"schema": {"type": "string"}}}
    else:
        good["content"] = {"application/json": {"schema": schema[repr(route.answer)]}}
    codes = ", ".join(sorted(table()))
    bad: Json = {
        "description": f"A failure; its code is one of {codes}",
        "content": {"application/json": {"schema": schema[repr(Error)]}},
    }
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    if route.query is not None:
        fields = components[route.query.__name__]["properties"]
        parameters += [{"name": name, "in": "query", "schema": kind} for name, kind in fields.items()]
    operation: Json = {
        "summary": route.summary,
        "description": inspect.getdoc(route.handler) or "",
        "operationId": f"{route.method.lower()}_{re.sub(r'[^a-z]+', '_', route.path).strip('_')}",
        "parameters": parameters,
        "responses": {str(route.status): good, "default": bad},
    }
    if route.body is not None:
        content = {"application/json": {"schema": schema[repr(route.body)]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation
