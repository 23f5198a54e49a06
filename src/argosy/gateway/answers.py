"""What the gateway answers by itself, without a replica: server metadata, health, the index, and what is not there."""

from typing import Any

import msgspec

import argosy
from argosy.gateway.access_log import LUA
from argosy.gateway.keys import free_limits
from argosy.gateway.listener import RATE_LIMIT
from argosy.gateway.model import ANY_ENDPOINT, EndpointRoute
from argosy.gateway.replies import ERROR
from argosy.gateway.targets import ENDPOINTS, switched_off
from argosy.process.envoy import CONTENT_JSON, Resource, set_header

EXTENSIONS = ("binary_tensor_data", "model_repository", "model_configuration", "statistics", "classification")


def direct(match: Resource, status: int, content: Any, *, private: bool = False) -> Resource:
    """A fixed JSON answer, text as an error; `private` asks for a key, any key."""
    content = {"error": content} if isinstance(content, str) else content
    headers = {"content-type": CONTENT_JSON}
    if "error" in content:
        headers[ERROR] = content["error"] if isinstance(content["error"], str) else content["error"]["message"]
    route: Resource = {
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": msgspec.json.encode(content).decode()}},
        "response_headers_to_add": [set_header(name, value) for name, value in headers.items()],
    }
    if private:
        route["metadata"] = {"filter_metadata": {LUA: {"auth": True}}}
    else:
        # Over HTTP/2 an error has no body (see replies.py), and what has one is bounded.
        limit = {RATE_LIMIT: free_limits()} if status < 400 else switched_off(RATE_LIMIT)
        route["typed_per_filter_config"] = switched_off(LUA) | limit
    return route


def direct_grpc(match: Resource, grpc_status: int, message: str) -> Resource:
    """A fixed gRPC status."""
    return {
        "match": match,
        "direct_response": {"status": 404, "body": {"inline_string": message}},
        "response_headers_to_add": [set_header("grpc-status", str(grpc_status))],
    }


def gateway_paths(endpoints: tuple[EndpointRoute, ...]) -> list[Resource]:
    """Everything under no endpoint's name."""
    private = needs_key(endpoints)
    ready = all(endpoint.answers for endpoint in endpoints)
    server = {"name": "argosy", "version": argosy.__version__, "extensions": EXTENSIONS}
    method = {"name": ":method", "string_match": {"exact": "POST"}}
    everything = direct({"path": "/v2/repository/index", "headers": [method]}, 200, index(endpoints), private=private)
    if private:
        everything["metadata"]["filter_metadata"][LUA]["endpoint"] = ANY_ENDPOINT
    return [
        *(direct({"path": path}, 200, {"live": True}) for path in _slashed("/v2/health/live")),
        *(direct({"path": path}, 200 if ready else 503, {"ready": ready}) for path in _slashed("/v2/health/ready")),
        *(direct({"path": path}, 200, server) for path in _slashed("/v2")),
        everything,
        direct({"path": "/v2/repository/index"}, 405, "the repository index is asked for with POST"),
        direct({"prefix": "/v2/repository/models/"}, 501, _NO_LOADING, private=private),
        no_endpoint(endpoints),
        no_endpoint(endpoints, ENDPOINTS),
        direct({"prefix": "/"}, 404, "there is nothing at this path; endpoints are at /v2/models/NAME"),
    ]


def _slashed(path: str) -> tuple[str, str]:
    return path, f"{path}/"


def no_endpoint(endpoints: tuple[EndpointRoute, ...], prefix: str = "/v2/models/") -> Resource:
    """What a name nobody has is answered."""
    private = needs_key(endpoints)
    route = direct({"prefix": prefix}, 404, "there is no endpoint of this name here", private=private)
    return route | ({"metadata": {"filter_metadata": {LUA: {"auth": "missing"}}}} if private else {})


def needs_key(endpoints: tuple[EndpointRoute, ...]) -> bool:
    """Whether what is said about endpoints in general needs a key: when any of them does."""
    return any(endpoint.auth for endpoint in endpoints)


_NO_LOADING = "the gateway loads and unloads nothing: use 'argosy deploy' and 'argosy undeploy', or the control API"


def index(endpoints: tuple[EndpointRoute, ...]) -> list[dict[str, str]]:
    """The repository index: a row for each endpoint and version."""
    rows = {
        (endpoint.endpoint, revision.version): revision.ready
        for endpoint in endpoints
        for revision in sorted(endpoint.public, key=lambda each: each.ready)
    }
    return [
        {
            "name": name,
            "version": version,
            "state": "READY" if ready else "UNAVAILABLE",
            "reason": "" if ready else "no replica is ready",
        }
        for (name, version), ready in sorted(rows.items())
    ]
