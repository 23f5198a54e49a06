"""gRPC routes. The model's name is inside the message; a header carries it to the routes (see `lua/keys.lua`)."""

from argosy.gateway.access_log import LUA
from argosy.gateway.answers import direct_grpc
from argosy.gateway.clusters import GRPC
from argosy.gateway.grpc_names import SERVICE
from argosy.gateway.listener import EXTRACTION, RATE_LIMIT
from argosy.gateway.model import EndpointRoute, GatewayConfig
from argosy.gateway.targets import Targets, action, by_version, described, switched_off
from argosy.gateway.xds import Resource, seconds, typed

PREFIX = f"/{SERVICE}/"
STREAM = f"{PREFIX}ModelStreamInfer"
ENDPOINT, VERSION = "argosy-endpoint", "argosy-version"
"""Metadata a client may send itself, which spares the gateway from reading its messages."""

INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED, UNAVAILABLE = 3, 5, 12, 14
SERVER_PATHS = (
    {"path": f"{PREFIX}ServerLive"},
    {"path": f"{PREFIX}ServerReady"},
    {"path": f"{PREFIX}ServerMetadata"},
    {"prefix": "/grpc.health.v1.Health/"},
    {"prefix": "/grpc.reflection."},
)
REPOSITORY = "the gateway keeps no repository over gRPC: ask POST /v2/repository/index, or the control API"


def endpoint_calls(config: GatewayConfig, endpoint: EndpointRoute, targets: Targets) -> list[Resource]:
    """Calls that name this endpoint: by version, then by weight. Streams have no time limit of their own."""
    here = _exactly(ENDPOINT, endpoint.endpoint)
    routes: list[Resource] = []
    for version, revisions in by_version(endpoint).items():
        if chosen := targets.choose(endpoint, revisions, GRPC):
            routes += _forward(config, endpoint, [here, _exactly(VERSION, version)], chosen)
    missing = f"endpoint '{endpoint.endpoint}' does not serve this version"
    routes.append(_refuse(endpoint, [here, _present(VERSION)], NOT_FOUND, missing))
    if chosen := targets.choose(endpoint, endpoint.revisions, GRPC):
        return routes + _forward(config, endpoint, [here], chosen)
    nothing = f"endpoint '{endpoint.endpoint}' has no revision that answers gRPC"
    return [*routes, _refuse(endpoint, [here], UNAVAILABLE, nothing)]


def server_calls(endpoints: tuple[EndpointRoute, ...], targets: Targets) -> list[Resource]:
    """Liveness, readiness, metadata, health and reflection of the server: any ready replica, no key."""
    ready = [
        (endpoint, {"cluster": name})
        for endpoint in endpoints
        for revision in endpoint.revisions
        if revision.ready and (name := targets.clusters.get((endpoint.endpoint, revision.revision, GRPC)))
    ]
    if not ready:
        return [direct_grpc({**path, "grpc": {}}, UNAVAILABLE, "no replica is ready") for path in SERVER_PATHS]
    return [
        {
            "match": {**path, "grpc": {}},
            "route": action(*ready[0], GRPC),
            "typed_per_filter_config": switched_off(LUA, RATE_LIMIT),
        }
        for path in SERVER_PATHS
    ]


def unnamed_calls(config: GatewayConfig) -> list[Resource]:
    """Calls whose endpoint is unknown or not yet read out of the first message."""
    unknown = _match({"prefix": PREFIX}, [_present(ENDPOINT)])
    unread = direct_grpc(_match({"prefix": PREFIX}), INVALID_ARGUMENT, "the request names no model")
    unread["request_body_buffer_limit"] = str(config.max_body_bytes)
    unread["typed_per_filter_config"] = {EXTRACTION: typed("envoy.config.route.v3.FilterConfig", config={})}
    repository = _match({"prefix": f"{PREFIX}Repository"})
    return [
        direct_grpc(unknown, NOT_FOUND, "there is no endpoint of this name here"),
        direct_grpc(repository, UNIMPLEMENTED, REPOSITORY),
        unread,
    ]


def _forward(
    config: GatewayConfig, endpoint: EndpointRoute, headers: list[Resource], chosen: Resource
) -> list[Resource]:
    route: Resource = {"metadata": described(endpoint)}
    if not endpoint.auth:
        route["typed_per_filter_config"] = switched_off(RATE_LIMIT)
    stream = {**action(endpoint, chosen, GRPC, stream=True), "idle_timeout": seconds(config.idle_seconds)}
    idle = seconds(max(endpoint.timeout + 1, config.body_seconds))
    unary = {**action(endpoint, chosen, GRPC), "idle_timeout": idle}
    return [
        {"match": _match({"path": STREAM}, headers), "route": stream, **route},
        {"match": _match({"prefix": PREFIX}, headers), "route": unary, **route},
    ]


def _refuse(endpoint: EndpointRoute, headers: list[Resource], status: int, message: str) -> Resource:
    return {
        **direct_grpc(_match({"prefix": PREFIX}, headers), status, message),
        "metadata": described(endpoint),
    }


def _match(path: Resource, headers: list[Resource] | None = None) -> Resource:
    return {**path, "grpc": {}, **({"headers": headers} if headers else {})}


def _exactly(header: str, value: str) -> Resource:
    return {"name": header, "string_match": {"exact": value}}


def _present(header: str) -> Resource:
    return {"name": header, "present_match": True}
