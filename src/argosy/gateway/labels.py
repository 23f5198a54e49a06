"""Labels of predictions: from callers whose key covers the endpoint to the controller, over a socket of its own."""

from argosy.gateway import clusters
from argosy.gateway.access_log import LUA
from argosy.gateway.clusters import HTTP
from argosy.gateway.model import EndpointRoute, GatewayConfig, Upstream
from argosy.gateway.replies import LABEL_BYTES
from argosy.gateway.targets import base_path, read_whole, until_answered
from argosy.gateway.xds import Resource, seconds
from argosy.spec.address import Address
from argosy.spec.limits import Limits

TIMEOUT = 30.0
LIMITS = Limits(connections=8, pending=32, requests=32)
"""The controller has other things to do."""


def pool(config: GatewayConfig) -> tuple[str, Resource, tuple[Upstream, ...]]:
    """Name, cluster and the one host of the controller's socket."""
    resource = clusters.pool(HTTP, LIMITS, {})
    controller = Upstream(replica="controller", http=Address(path=config.labels))
    return f"@labels/{clusters.digest(resource)}", resource, (controller,)


def route(config: GatewayConfig, endpoint: EndpointRoute) -> list[Resource]:
    """`/v2/models/NAME/feedback`, with a key also where predictions need none. A request waits while the controller
    starts anew, and may reach it twice, which counts once."""
    if not config.labels:
        return []
    name, _, _ = pool(config)
    action: Resource = {
        "cluster": name,
        "timeout": seconds(TIMEOUT),
        "retry_policy": until_answered(),
        "idle_timeout": seconds(TIMEOUT),
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
