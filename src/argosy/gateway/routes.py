"""The route table: a tree over paths and, for gRPC, over the endpoint's name, so that many endpoints cost no more."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from argosy.gateway import answers, keys, language_routes, peers, server
from argosy.gateway.access_log import LUA
from argosy.gateway.grpc_routes import ENDPOINT, PREFIX, endpoint_calls, other_calls, unnamed_calls
from argosy.gateway.listener import NAME, NAMED, RATE_LIMIT
from argosy.gateway.model import ApiKey, EndpointRoute, GatewayConfig
from argosy.gateway.rest_routes import DEVICES, batch_routes, device_routes, endpoint_paths, peer_paths, row_paths
from argosy.gateway.targets import ENDPOINTS, REVISION, Targets, base_path, rows_path, switched_off
from argosy.process.envoy import Resource, set_header, typed

LARGEST_ANSWER = 16 * 1024 * 1024
"""The repository index grows with the endpoints, and Envoy's own bound is 4096 bytes."""


class Branches(NamedTuple):
    """What one endpoint has of the tree: routes below its two paths, for gRPC and as a model; and the same for requests
    of peers, which stay here."""

    paths: list[Resource]
    rows: list[Resource]
    calls: list[Resource]
    model: list[Resource]
    of_peers: "Branches | None" = None


def branches(endpoint: EndpointRoute, targets: Targets) -> Branches:
    """Those of an endpoint, from nothing but itself."""
    if not peers.tokens([endpoint]):
        return _branches(endpoint, targets)
    paths, rows, calls, model = (_of_peers(each) for each in _branches(endpoint, targets)[:4])
    here = Branches([*peer_paths(endpoint), *paths], rows, calls, model)
    far = msgspec.structs.replace(targets, beyond=bool(endpoint.elsewhere))
    return _branches(endpoint, far)._replace(of_peers=here)


def _of_peers(routes: list[Resource]) -> list[Resource]:
    """These routes for requests of peers, of which the log says so; who sent them has counted them for the key."""
    found: list[Resource] = []
    for each in routes:
        known = each.get("metadata", {}).get("filter_metadata", {}).get(LUA, {})
        filters = {**each.get("typed_per_filter_config", {}), **switched_off(RATE_LIMIT)}
        marked = {"metadata": {"filter_metadata": {LUA: {**known, "peer": True}}}}
        found.append({**each, **marked, "typed_per_filter_config": filters})
    return found


def _branches(endpoint: EndpointRoute, targets: Targets) -> Branches:
    return Branches(
        endpoint_paths(endpoint, targets),
        [*language_routes.endpoint_paths(endpoint), *row_paths(endpoint, targets)],
        endpoint_calls(endpoint, targets),
        language_routes.endpoint_routes(endpoint, targets),
    )


def route_table(
    config: GatewayConfig, endpoints: tuple[EndpointRoute, ...], known: tuple[ApiKey, ...], each: Sequence[Branches]
) -> Resource:
    """The RDS resource; `each` are the branches of the endpoints, in their order."""
    names = [endpoint.endpoint for endpoint in endpoints]
    nobody, no_rows = answers.no_endpoint(endpoints), answers.no_endpoint(endpoints, ENDPOINTS)
    regions = peers.tokens(endpoints)
    parts = list(zip(names, each, strict=True))
    rest = {base_path(name): _branch(one, "paths", regions, nobody) for name, one in parts}
    rest |= {rows_path(name): _branch(one, "rows", regions, no_rows) for name, one in parts}
    calls = {name: _branch(one, "calls", regions) for name, one in parts}
    models = {name: _branch(one, "model", regions) for name, one in parts}
    probes = server.routes(endpoints)
    *own, nothing = answers.gateway_paths(endpoints)
    unnamed = _leaf([*batch_routes(config), *language_routes.unnamed_routes(endpoints)])
    rest[PREFIX] = _tree(ENDPOINT, "exact", calls, _leaf(unnamed_calls(endpoints, known)))
    rest[language_routes.PREFIX] = _tree(NAMED, "exact", models, unnamed)
    if config.devices:
        rest[DEVICES] = _leaf(device_routes(config))
    # Before any name is looked at: it would change what they answer.
    rest |= {
        probe["match"]["path"]: _leaf([probe, other_calls(), nothing]) for probe in probes if "path" in probe["match"]
    }
    routes = _tree(":path", "prefix", rest, _leaf([*probes, *own, other_calls(), nothing]))
    return typed(
        "envoy.config.route.v3.RouteConfiguration",
        name=NAME,
        max_direct_response_body_size_bytes=LARGEST_ANSWER,
        virtual_hosts=[_virtual_host(config, routes["matcher"], known, regions)],
    )


def _virtual_host(
    config: GatewayConfig, matcher: Resource, known: tuple[ApiKey, ...], regions: dict[str, str]
) -> Resource:
    rates = keys.rate_limits(known)
    return {
        "name": NAME,
        "domains": ["*"],
        "matcher": matcher,
        "request_body_buffer_limit": str(config.retry_buffer_bytes),
        "request_headers_to_remove": [
            *("authorization", "x-api-key", REVISION),
            *((peers.TOKEN, peers.WHOSE) if regions else ()),
        ],
        "response_headers_to_add": [
            set_header("x-argosy-revision", "%METADATA(UPSTREAM_HOST:argosy:revision)%"),
            set_header("x-argosy-replica", "%METADATA(UPSTREAM_HOST:argosy:replica)%"),
            *(keys.QUOTA_HEADERS if any(key.limits for key in known) else ()),
        ],
        "typed_per_filter_config": {LUA: keys.key_check(known, regions), **({RATE_LIMIT: rates} if rates else {})},
    }


def _branch(
    one: Branches, which: Literal["paths", "rows", "calls", "model"], regions: Iterable[str], *last: Resource
) -> Resource:
    """A leaf; where there are peers, two, of which theirs is for requests with one of their secrets."""
    leaf = _leaf([*getattr(one, which), *last])
    if one.of_peers is None:
        return leaf
    read = typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=peers.TOKEN)
    theirs: list[Resource] = [
        {"single_predicate": {"input": {"name": "header", "typed_config": read}, "value_match": {"exact": each}}}
        for each in sorted(regions)
    ]
    predicate = {"or_matcher": {"predicate": theirs}} if len(theirs) > 1 else theirs[0]
    known = {"predicate": predicate, "on_match": _leaf([*getattr(one.of_peers, which), *last])}
    return {"matcher": {"matcher_list": {"matchers": [known]}, "on_no_match": leaf}}


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
