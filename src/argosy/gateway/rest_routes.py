"""Routes of one endpoint over REST: labels, revisions for testers, its versions, then everything else by weight."""

from argosy.gateway import labels
from argosy.gateway.access_log import LUA
from argosy.gateway.answers import direct
from argosy.gateway.clusters import HTTP
from argosy.gateway.forward import base_path, described, forward
from argosy.gateway.model import EndpointRoute, GatewayConfig
from argosy.gateway.targets import Targets, by_version, no_such_revision, picked_by_testers, picks_a_revision
from argosy.gateway.xds import Resource


def endpoint_paths(config: GatewayConfig, endpoint: EndpointRoute, targets: Targets) -> list[Resource]:
    """`/v2/models/NAME/feedback` to the controller, `…/versions/V…` to the revision of V, the rest by weight."""
    base = base_path(endpoint.endpoint)
    versions = by_version(endpoint)
    served = ", ".join(sorted(versions)) or "none"
    routes = [*labels.route(config, endpoint), *_tested(config, endpoint, targets)] + [
        forward(config, endpoint, _below(f"{base}/versions/{version}"), led)
        for version, revisions in versions.items()
        if (led := targets.lead(endpoint, revisions, HTTP))
    ]
    missing = {"error": f"endpoint '{endpoint.endpoint}' does not serve this version; it serves: {served}"}
    routes.append(direct(_below(f"{base}/versions"), 404, missing, private=endpoint.auth))
    led = targets.lead(endpoint, endpoint.public, HTTP)
    if led is None:
        nothing = {"error": f"endpoint '{endpoint.endpoint}' has no revision that takes traffic"}
        routes.append(direct(_below(base), 503, nothing, private=endpoint.auth))
    else:
        shares = targets.mirrored(endpoint, led, HTTP)
        routes += [forward(config, endpoint, {**_below(base), **also}, action) for also, action in shares]
    return routes


def _tested(config: GatewayConfig, endpoint: EndpointRoute, targets: Targets) -> list[Resource]:
    if not endpoint.testers:
        return []
    below = _below(base_path(endpoint.endpoint))
    routes = [
        forward(config, endpoint, {**below, "headers": [header]}, led, test=True)
        for header, revisions in picked_by_testers(endpoint)
        if (led := targets.lead(endpoint, revisions, HTTP))
    ]
    match = {**below, "headers": [picks_a_revision()]}
    refused = direct(match, 404, {"error": no_such_revision(endpoint)}, private=True)
    return [*routes, {**refused, "metadata": {"filter_metadata": {LUA: described(config, endpoint, {}, test=True)}}}]


def _below(path: str) -> Resource:
    return {"path_separated_prefix": path}
