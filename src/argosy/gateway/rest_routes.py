"""Routes of one endpoint over REST: its versions, then everything else by weight."""

from argosy.gateway.access_log import LUA
from argosy.gateway.answers import direct
from argosy.gateway.clusters import HTTP
from argosy.gateway.listener import RATE_LIMIT
from argosy.gateway.model import EndpointRoute, GatewayConfig
from argosy.gateway.targets import Targets, action, by_version, described, switched_off
from argosy.gateway.xds import Resource, seconds


def base_path(endpoint: str) -> str:
    """Where an endpoint's paths begin."""
    return f"/v2/models/{endpoint}"


def endpoint_paths(config: GatewayConfig, endpoint: EndpointRoute, targets: Targets) -> list[Resource]:
    """`/v2/models/NAME/versions/V…` to the revision of V, `/v2/models/NAME…` over the revisions by weight."""
    base = base_path(endpoint.endpoint)
    versions = by_version(endpoint)
    served = ", ".join(sorted(versions)) or "none"
    routes = [
        _forward(config, endpoint, _below(f"{base}/versions/{version}"), chosen)
        for version, revisions in versions.items()
        if (chosen := targets.choose(endpoint, revisions, HTTP))
    ]
    missing = {"error": f"endpoint '{endpoint.endpoint}' does not serve this version; it serves: {served}"}
    routes.append(direct(_below(f"{base}/versions"), 404, missing, private=endpoint.auth))
    chosen = targets.choose(endpoint, endpoint.revisions, HTTP)
    if chosen is None:
        nothing = {"error": f"endpoint '{endpoint.endpoint}' has no revision that takes traffic"}
        routes.append(direct(_below(base), 503, nothing, private=endpoint.auth))
    else:
        routes.append(_forward(config, endpoint, _below(base), chosen))
    return routes


def _below(path: str) -> Resource:
    return {"path_separated_prefix": path}


def _forward(config: GatewayConfig, endpoint: EndpointRoute, match: Resource, chosen: Resource) -> Resource:
    """A body that stops arriving ends; one that trickles is the replica's to end (`max_stream_duration` here would
    switch the route's own timeout off)."""
    idle = seconds(max(endpoint.timeout + 1, config.body_seconds))
    route: Resource = {
        "match": match,
        "route": {**action(endpoint, chosen, HTTP), "idle_timeout": idle},
        "metadata": described(endpoint),
    }
    if not endpoint.auth:
        route["typed_per_filter_config"] = switched_off(LUA, RATE_LIMIT)
    return route
