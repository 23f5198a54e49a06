"""The route table: a tree over paths and, for gRPC, over the endpoint's name, so that many endpoints cost no more."""

from typing import Literal

from argosy.gateway import answers, keys, language_routes, server
from argosy.gateway.access_log import LUA
from argosy.gateway.grpc_routes import ENDPOINT, PREFIX, endpoint_calls, other_calls, unnamed_calls
from argosy.gateway.listener import NAME, NAMED, RATE_LIMIT
from argosy.gateway.model import ApiKey, EndpointRoute, GatewayConfig
from argosy.gateway.rest_routes import endpoint_paths, row_paths
from argosy.gateway.targets import ENDPOINTS, REVISION, Targets, base_path, rows_path
from argosy.gateway.xds import Resource, set_header, typed

LARGEST_ANSWER = 16 * 1024 * 1024
"""The repository index grows with the endpoints, and Envoy's own bound is 4096 bytes."""


def route_table(
    config: GatewayConfig, endpoints: tuple[EndpointRoute, ...], known: tuple[ApiKey, ...], targets: Targets
) -> Resource:
    """The RDS resource."""
    rest = {
        base_path(each.endpoint): _leaf([*endpoint_paths(each, targets), answers.no_endpoint(endpoints)])
        for each in endpoints
    }
    rest |= {
        rows_path(each.endpoint): _leaf(
            [
                *language_routes.endpoint_paths(each),
                *row_paths(each, targets),
                answers.no_endpoint(endpoints, ENDPOINTS),
            ]
        )
        for each in endpoints
    }
    calls = {each.endpoint: _leaf(endpoint_calls(each, targets)) for each in endpoints}
    probes = server.routes(endpoints)
    *own, nothing = answers.gateway_paths(endpoints)
    rest[PREFIX] = _tree(ENDPOINT, "exact", calls, _leaf(unnamed_calls(endpoints, known)))
    models = {each.endpoint: _leaf(language_routes.endpoint_routes(each, targets)) for each in endpoints}
    rest[language_routes.PREFIX] = _tree(NAMED, "exact", models, _leaf(language_routes.unnamed_routes(endpoints)))
    # Before any name is looked at: it would change what they answer.
    rest |= {each["match"]["path"]: _leaf([each, other_calls(), nothing]) for each in probes if "path" in each["match"]}
    routes = _tree(":path", "prefix", rest, _leaf([*probes, *own, other_calls(), nothing]))
    return typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=NAME,
        max_direct_response_body_size_bytes=LARGEST_ANSWER,
        virtual_hosts=[_virtual_host(config, routes["matcher"], known)],
    )


def _virtual_host(config: GatewayConfig, matcher: Resource, known: tuple[ApiKey, ...]) -> Resource:
    rates = keys.rate_limits(known)
    return {
        "name": NAME,
        "domains": ["*"],
        "matcher": matcher,
        "request_body_buffer_limit": str(config.retry_buffer_bytes),
        "request_headers_to_remove": ["authorization", "x-api-key", REVISION],
        "response_headers_to_add": [
            set_header("x-argosy-revision", "%METADATA(UPSTREAM_HOST:argosy:revision)%"),
            set_header("x-argosy-replica", "%METADATA(UPSTREAM_HOST:argosy:replica)%"),
            *(keys.QUOTA_HEADERS if any(key.limits for key in known) else ()),
        ],
        "typed_per_filter_config": {LUA: keys.key_check(known), **({RATE_LIMIT: rates} if rates else {})},
    }


def _leaf(routes: list[Resource]) -> Resource:
    """What is done here: the first of these routes that matches."""
    config = typed("envoy.config.route.v3.RouteList", routes=routes)
    return {"action": {"name": "routes", "typed_config": config}}


def _tree(header: str, by: Literal["prefix", "exact"], branches: dict[str, Resource], otherwise: Resource) -> Resource:
    """A branch for each value, or each beginning of a value, of a header (`:path` is one)."""
    if not branches:
        return otherwise
    read = typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=header)
    branching = {"input": {"name": "header", "typed_config": read}, f"{by}_match_map": {"map": branches}}
    return {"matcher": {"matcher_tree": branching, "on_no_match": otherwise}}
