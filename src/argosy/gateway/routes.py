"""The route table: gateway answers, endpoints over REST, endpoints over gRPC, in that order of reading."""

from argosy.gateway import answers, keys
from argosy.gateway.access_log import LUA
from argosy.gateway.grpc_routes import endpoint_calls, server_calls, unnamed_calls
from argosy.gateway.listener import NAME, RATE_LIMIT
from argosy.gateway.model import ApiKey, EndpointRoute, GatewayConfig
from argosy.gateway.rest_routes import endpoint_paths
from argosy.gateway.targets import Targets
from argosy.gateway.xds import Resource, set_header, typed

LARGEST_ANSWER = 16 * 1024 * 1024
"""The repository index grows with the endpoints, and Envoy's own bound is 4096 bytes."""


def route_table(
    config: GatewayConfig, endpoints: tuple[EndpointRoute, ...], known: tuple[ApiKey, ...], targets: Targets
) -> Resource:
    """The RDS resource."""
    routes: list[Resource] = []
    for endpoint in endpoints:
        routes += endpoint_paths(config, endpoint, targets)
    for endpoint in endpoints:
        routes += endpoint_calls(config, endpoint, targets)
    routes += server_calls(endpoints, targets)
    routes += unnamed_calls(config)
    routes += answers.gateway_paths(endpoints)
    return typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=NAME,
        max_direct_response_body_size_bytes=LARGEST_ANSWER,
        virtual_hosts=[_virtual_host(config, routes, known)],
    )


def _virtual_host(config: GatewayConfig, routes: list[Resource], known: tuple[ApiKey, ...]) -> Resource:
    return {
        "name": NAME,
        "domains": ["*"],
        "routes": routes,
        "request_body_buffer_limit": str(config.retry_buffer_bytes),
        "request_headers_to_remove": ["authorization", "x-api-key"],
        "response_headers_to_add": [
            set_header("x-argosy-revision", "%METADATA(CLUSTER:argosy:revision)%"),
            set_header("x-argosy-replica", "%METADATA(UPSTREAM_HOST:argosy:replica)%"),
        ],
        "typed_per_filter_config": {LUA: keys.key_table(known), RATE_LIMIT: keys.rate_limits(known)},
    }
