"""Routes of one endpoint over REST: labels, revisions for testers, its versions, then everything else by weight. Paths
for rows are below `/endpoints/NAME`: MLflow's name no model."""

from argosy.gateway import clusters
from argosy.gateway.access_log import LUA
from argosy.gateway.answers import direct
from argosy.gateway.clusters import HTTP
from argosy.gateway.keys import device_limits
from argosy.gateway.listener import RATE_LIMIT
from argosy.gateway.model import EndpointRoute, GatewayConfig, Upstream
from argosy.gateway.peers import health_path
from argosy.gateway.replies import LABEL_BYTES
from argosy.gateway.targets import (
    ANY_REVISION,
    Targets,
    base_path,
    by_version,
    no_such_revision,
    picked_by_testers,
    read_whole,
    rows_path,
    switched_off,
    until_answered,
)
from argosy.process.envoy import Resource, seconds, set_header
from argosy.spec.limits import Limits

LABELS_TIMEOUT = 30.0
LABELS_LIMITS = Limits(connections=8, pending=32, requests=32)
"""The controller has other things to do."""
DEVICES = "/edge/v1/"
DEVICES_LIMITS = Limits(connections=4096, pending=1024, requests=4096)
"""A device that waits for news has a connection of its own."""


def endpoint_paths(endpoint: EndpointRoute, targets: Targets) -> list[Resource]:
    """`/v2/models/NAME/feedback` to the controller, `…/versions/V…` to the revision of V, the rest by weight."""
    base = base_path(endpoint.endpoint)
    versions = by_version(endpoint)
    served = ", ".join(sorted(versions)) or "none"
    routes = [*_labels(targets.config, endpoint), *_tested(endpoint, targets, _below(base))] + [
        targets.forward(endpoint, _below(f"{base}/versions/{version}"), led)
        for version, revisions in versions.items()
        if (led := targets.lead(endpoint, revisions, HTTP))
    ]
    missing = f"endpoint '{endpoint.endpoint}' does not serve this version; it serves: {served}"
    routes.append(direct(_below(f"{base}/versions"), 404, missing, private=endpoint.auth))
    return [*routes, *_by_weight(endpoint, targets, _below(base))]


def peer_paths(endpoint: EndpointRoute) -> list[Resource]:
    """Whether the endpoint answers here, for peers alone: it does; or it will once somebody asks, which is for when
    there is nothing better; or it does not."""
    route: Resource = {
        "match": {"path": health_path(endpoint)},
        "direct_response": {"status": 200 if endpoint.ready or endpoint.waiting else 503},
        "typed_per_filter_config": switched_off(LUA, RATE_LIMIT),
    }
    if not endpoint.ready:
        route["response_headers_to_add"] = [set_header("x-envoy-degraded", "true")]
    return [route]


def row_paths(endpoint: EndpointRoute, targets: Targets) -> list[Resource]:
    """`/endpoints/NAME/invocations` and the others of `serving/http.py`: which there are, a replica knows."""
    below = _below(rows_path(endpoint.endpoint))
    return [*_tested(endpoint, targets, below), *_by_weight(endpoint, targets, below)]


def _by_weight(endpoint: EndpointRoute, targets: Targets, match: Resource) -> list[Resource]:
    led = targets.lead(endpoint, endpoint.public, HTTP)
    if led is None:
        nothing = f"endpoint '{endpoint.endpoint}' has no revision that takes traffic"
        return [direct(match, 503, nothing, private=endpoint.auth)]
    shares = targets.mirrored(endpoint, led, HTTP)
    return [targets.forward(endpoint, {**match, **also}, action) for also, action in shares]


def labels_pool(config: GatewayConfig) -> tuple[str, Resource, tuple[Upstream, ...]]:
    """Name, cluster and the one host of the controller's socket for labels of predictions."""
    return clusters.beside("labels", config.labels, LABELS_LIMITS)


def _labels(config: GatewayConfig, endpoint: EndpointRoute) -> list[Resource]:
    """`/v2/models/NAME/feedback`, with a key also where predictions need none. A request waits while the controller
    starts anew, and may reach it twice, which counts once."""
    if not config.labels:
        return []
    name, _, _ = labels_pool(config)
    action: Resource = {
        "cluster": name,
        "timeout": seconds(LABELS_TIMEOUT),
        "retry_policy": until_answered(),
        "idle_timeout": seconds(LABELS_TIMEOUT),
    }
    about = {"endpoint": endpoint.endpoint, "auth": True}
    return [
        {
            "match": {"path": f"{base_path(endpoint.endpoint)}/feedback"},
            "route": action,
            "metadata": {"filter_metadata": {LUA: about}},
            "typed_per_filter_config": read_whole(LABEL_BYTES),
        }
    ]


def batch_routes(config: GatewayConfig) -> list[Resource]:
    """OpenAI's files and batches, at the same socket: for any key, whose id goes with it. Bodies pass through."""
    if not config.batches:
        return []
    action = {"cluster": labels_pool(config)[0], "timeout": "0s", "idle_timeout": seconds(config.idle_seconds)}
    whole: Resource = {"route": action, "metadata": {"filter_metadata": {LUA: {"auth": True}}}}
    return [{"match": _below(path), **whole} for path in ("/v1/files", "/v1/batches")]


def devices_pool(config: GatewayConfig) -> tuple[str, Resource, tuple[Upstream, ...]]:
    """Name, cluster and the one host of the controller's socket for devices."""
    return clusters.beside("devices", config.devices, DEVICES_LIMITS)


def device_routes(config: GatewayConfig) -> list[Resource]:
    """What devices ask, who have keys of their own: none of ours is asked for, but an address may ask so often."""
    action: Resource = {
        "cluster": devices_pool(config)[0],
        "timeout": "0s",
        "idle_timeout": seconds(config.idle_seconds),
        "retry_policy": until_answered(),
    }
    bounded = switched_off(LUA) | {RATE_LIMIT: device_limits()}
    return [{"match": {"prefix": DEVICES}, "route": action, "typed_per_filter_config": bounded}]


def _tested(endpoint: EndpointRoute, targets: Targets, match: Resource) -> list[Resource]:
    if not endpoint.testers:
        return []
    routes = [
        targets.forward(endpoint, {**match, "headers": [header]}, led, test=True)
        for header, revisions in picked_by_testers(endpoint)
        if (led := targets.lead(endpoint, revisions, HTTP, here=True))
    ]
    refused = direct({**match, "headers": [ANY_REVISION]}, 404, no_such_revision(endpoint), private=True)
    return [*routes, {**refused, "metadata": {"filter_metadata": {LUA: targets.described(endpoint, {}, test=True)}}}]


def _below(path: str) -> Resource:
    return {"path_separated_prefix": path}
