"""gRPC routes. The model's name is inside the message; a header carries it to the routes (see `lua/name.lua`)."""

from collections.abc import Iterable

from argosy.gateway.access_log import LUA
from argosy.gateway.answers import direct_grpc, needs_key
from argosy.gateway.clusters import GRPC
from argosy.gateway.grpc_names import SERVICE
from argosy.gateway.keys import first_check, named_check
from argosy.gateway.listener import EXTRACTION, FIRST
from argosy.gateway.model import ApiKey, EndpointRoute, RevisionRoute
from argosy.gateway.peers import tokens
from argosy.gateway.targets import ANY_REVISION, Targets, by_version, no_such_revision, picked_by_testers, switched_on
from argosy.process.envoy import Resource, typed

PREFIX = f"/{SERVICE}/"
STREAM = f"{PREFIX}ModelStreamInfer"
ENDPOINT, VERSION = "argosy-endpoint", "argosy-version"
"""Metadata a client may send itself, which spares the gateway from reading its messages."""
INVALID_ARGUMENT, NOT_FOUND, UNIMPLEMENTED, UNAVAILABLE = 3, 5, 12, 14
FIRST_BYTES = 256 * 1024
"""What Envoy may hold of a call before it is named: `lua/first.lua` gives it less."""
NOWHERE = "there is no endpoint of this name here"
UNNAMED = f"the request names no model in its first bytes; it can also be named by the metadata '{ENDPOINT}'"
REPOSITORY = "the gateway keeps no repository over gRPC: ask POST /v2/repository/index, or the control API"


def endpoint_calls(endpoint: EndpointRoute, targets: Targets) -> list[Resource]:
    """Calls that name this endpoint: by revision for testers, by version, then by weight."""
    here = _exactly(ENDPOINT, endpoint.endpoint)
    routes: list[Resource] = []
    for header, revisions in picked_by_testers(endpoint):
        routes += _forward(endpoint, [here, header], revisions, targets, test=True)
    if endpoint.testers:
        any_other = [here, ANY_REVISION]
        routes.append(_refuse(targets, endpoint, any_other, NOT_FOUND, no_such_revision(endpoint), test=True))
    for version, revisions in by_version(endpoint).items():
        routes += _forward(endpoint, [here, _exactly(VERSION, version)], revisions, targets)
    missing = f"endpoint '{endpoint.endpoint}' does not serve this version"
    routes.append(_refuse(targets, endpoint, [here, {"name": VERSION, "present_match": True}], NOT_FOUND, missing))
    if by_weight := _forward(endpoint, [here], endpoint.public, targets, mirrored=True):
        return routes + by_weight
    nothing = f"endpoint '{endpoint.endpoint}' has no revision that answers gRPC"
    return [*routes, _refuse(targets, endpoint, [here], UNAVAILABLE, nothing)]


def unnamed_calls(endpoints: tuple[EndpointRoute, ...], keys: tuple[ApiKey, ...]) -> list[Resource]:
    """Calls whose endpoint is unknown or not yet read from the first message. Without a key it is read only where an
    endpoint needs none."""
    unknown = direct_grpc(_match({"prefix": PREFIX}, [{"name": ENDPOINT, "present_match": True}]), NOT_FOUND, NOWHERE)
    unknown |= {"metadata": {"filter_metadata": {LUA: {"auth": "missing"}}}} if needs_key(endpoints) else {}
    unread = direct_grpc(_match({"prefix": PREFIX}), INVALID_ARGUMENT, UNNAMED)
    unread["request_body_buffer_limit"] = str(FIRST_BYTES)
    peers = tokens(endpoints)
    first = first_check(keys, peers, anybody=any(not each.auth for each in endpoints))
    unread["typed_per_filter_config"] = {
        **switched_on(EXTRACTION),
        FIRST: typed("envoy.config.route.v3.FilterConfig", config=first),
        LUA: named_check(keys, peers),
    }
    repository = _match({"prefix": f"{PREFIX}Repository"})
    return [unknown, direct_grpc(repository, UNIMPLEMENTED, REPOSITORY), unread]


def other_calls() -> Resource:
    """Calls of services that nobody here has."""
    return direct_grpc({"prefix": "/", "grpc": {}}, UNIMPLEMENTED, "there is no service of this name here")


def _forward(
    endpoint: EndpointRoute,
    headers: list[Resource],
    revisions: Iterable[RevisionRoute],
    targets: Targets,
    *,
    test: bool = False,
    mirrored: bool = False,
) -> list[Resource]:
    """Streams, which have no time limit and are never mirrored, and all other calls."""
    among = list(revisions)
    stream = targets.lead(endpoint, among, GRPC, stream=True, here=test)
    unary = targets.lead(endpoint, among, GRPC, here=test)
    if stream is None or unary is None:
        return []
    routes = [targets.forward(endpoint, _match({"path": STREAM}, headers), stream, test=test)]
    for also, led in targets.mirrored(endpoint, unary, GRPC) if mirrored else [({}, unary)]:
        routes.append(targets.forward(endpoint, _match({"prefix": PREFIX, **also}, headers), led, test=test))
    return routes


def _refuse(
    targets: Targets, endpoint: EndpointRoute, headers: list[Resource], status: int, message: str, *, test: bool = False
) -> Resource:
    about = targets.described(endpoint, {}, test=test)
    return {
        **direct_grpc(_match({"prefix": PREFIX}, headers), status, message),
        "metadata": {"filter_metadata": {LUA: about}},
    }


def _match(path: Resource, headers: list[Resource] | None = None) -> Resource:
    return {**path, "grpc": {}, **({"headers": headers} if headers else {})}


def _exactly(header: str, value: str) -> Resource:
    return {"name": header, "string_match": {"exact": value}}
