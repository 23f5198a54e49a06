"""A route that forwards: what the key check and the access log read about it, and which filters it needs."""

from argosy.gateway import sticky
from argosy.gateway.access_log import LUA
from argosy.gateway.clusters import WAITING
from argosy.gateway.listener import RATE_LIMIT, WHOLE
from argosy.gateway.model import EndpointRoute, GatewayConfig
from argosy.gateway.xds import EXTENSIONS, Resource, set_header, typed
from argosy.serving.internal_headers import RECORD


def base_path(endpoint: str) -> str:
    """Where an endpoint's paths begin."""
    return f"/v2/models/{endpoint}"


def forward(
    config: GatewayConfig, endpoint: EndpointRoute, match: Resource, led: Resource, *, test: bool = False
) -> Resource:
    """The route of REST or gRPC requests with this match and action; `test`: for testers only."""
    about = described(config, endpoint, led, test=test)
    route: Resource = {"match": match, "route": led, "metadata": {"filter_metadata": {LUA: about}}}
    if filters := _filters(about):
        route["typed_per_filter_config"] = filters
    if "cookie" in about:
        route["response_headers_to_add"] = [sticky.cookie_header()]
    if "request_mirror_policies" in led:
        route["request_headers_to_add"] = [set_header(RECORD, "1")]
    if f"/{WAITING}/" in led.get("cluster", ""):
        route["request_headers_to_add"] = [set_header("argosy-endpoint", endpoint.endpoint)]
    return route


def described(config: GatewayConfig, endpoint: EndpointRoute, led: Resource, *, test: bool = False) -> Resource:
    """Route metadata for `lua/admit.lua`: `auth` true is a key and nothing else, which is the quick way through it."""
    about: Resource = {"endpoint": endpoint.endpoint}
    more: Resource = {"test": True} if test else {}
    if endpoint.sticky and "hash_policy" in led:
        more |= sticky.duties(config, endpoint.sticky, base_path(endpoint.endpoint))
    if more:
        return {**about, **more, "auth": "special", "key": endpoint.auth or test}
    return {**about, "auth": True} if endpoint.auth else about


def switched_off(*filters: str) -> Resource:
    """Per-route configuration that takes these filters out of the request's way."""
    return {each: typed("envoy.config.route.v3.FilterConfig", disabled=True) for each in filters}


def switched_on(*filters: str) -> Resource:
    """Per-route configuration that puts filters, which the listener leaves out, into the request's way."""
    return {each: typed("envoy.config.route.v3.FilterConfig", config={}) for each in filters}


def read_whole(most: int) -> Resource:
    """Per-route configuration of bodies of `most` bytes, that are there in full before anybody hears of them."""
    whole = typed(EXTENSIONS + "filters.http.buffer.v3.BufferPerRoute", buffer={"max_request_bytes": most})
    return {WHOLE: typed("envoy.config.route.v3.FilterConfig", config=whole)}


def _filters(about: Resource) -> Resource:
    """What needs no key needs no limit; what needs nothing needs no Lua."""
    off = [] if about.get("key", about.get("auth")) else [RATE_LIMIT]
    if "auth" not in about:
        off.append(LUA)
    return switched_off(*off)
