"""Routes of OpenAI's API. The model's name is in the body: `lua/language.lua` reads it and carries it to the routes in
a header, so that a tree over the endpoints' names decides, as for gRPC."""

from collections.abc import Sequence
from typing import Any

import msgspec

from argosy.gateway.access_log import LUA
from argosy.gateway.answers import direct
from argosy.gateway.clusters import ENGINE, HTTP
from argosy.gateway.listener import AFFINITY, LANGUAGE, NAMED_ADAPTER, NAMED_VERSION
from argosy.gateway.model import EndpointRoute, RevisionRoute
from argosy.gateway.replies import LANGUAGE_BYTES
from argosy.gateway.targets import Targets, evenly, read_whole, rows_path, switched_on
from argosy.process.envoy import Resource, set_header
from argosy.spec.errors import openai_error

PREFIX = "/v1/"
GENERATE = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
ENCODE = ("/v1/embeddings", "/v1/rerank")
MODELS = "/v1/models"
OURS: Resource = {
    "prefix": PREFIX,
    "headers": [{"name": ":path", "string_match": {"safe_regex": {"regex": "[^?]*(%|lora_adapter).*"}}}],
}
"""Where an engine takes orders from its replica, however it is written."""
NO_ADAPTER = -1
"""What a request to the base says to engines that know adapters by number."""
LEAST_RECORDED, MOST_RECORDED = 64 * 1024, 256 * 1024
"""Bytes of a prompt, and of an answer, for the payload log: the recorder takes out patterns before it cuts."""
NO_MODEL = "the model does not exist here, or the request names none"
NOTHING = f"there is nothing at this path; there are {', '.join((*GENERATE, *ENCODE, MODELS))}"


def endpoint_routes(endpoint: EndpointRoute, targets: Targets) -> list[Resource]:
    """Requests that name this endpoint: a version for testers, then by weight. An endpoint that generates nothing has
    replicas that answer for embeddings themselves; of one that runs elsewhere alone nothing is known here."""
    language = endpoint.language or (targets.beyond and not endpoint.revisions)
    protocol = ENGINE if language else HTTP
    matches: list[Resource] = [{"prefix": PREFIX}] if language else [{"path": path} for path in ENCODE]
    routes = [_refuse(targets, endpoint, OURS, 404, NOTHING)] if language else []
    routes += [*_versions(endpoint, targets, matches, protocol), *_adapters(targets, endpoint, endpoint.public)]
    led = targets.lead(endpoint, endpoint.public, protocol) if not endpoint.adapter else None
    for match in matches:
        for also, action in targets.mirrored(endpoint, led, protocol) if led else []:
            routes.append(_forward(targets, endpoint, {**match, **also}, action))
    if led is None:
        nothing = f"endpoint '{endpoint.endpoint}' has no revision that takes traffic"
        routes += [_refuse(targets, endpoint, match, 503, nothing) for match in matches]
    missing = f"the model '{endpoint.endpoint}' generates no text; it answers at {', '.join(ENCODE)} and /v2/models"
    return [*routes, _refuse(targets, endpoint, {"prefix": PREFIX}, 404, missing)]


def _versions(endpoint: EndpointRoute, targets: Targets, matches: list[Resource], protocol: str) -> list[Resource]:
    """`NAME:VERSION`, of all revisions, whatever their weights."""
    routes: list[Resource] = []
    versions = sorted({each.version for each in endpoint.revisions}) if endpoint.testers else []
    for version in versions:
        same = evenly(each for each in endpoint.revisions if each.version == version)
        if led := targets.lead(endpoint, same, protocol, here=True):
            header = {"name": NAMED_VERSION, "string_match": {"exact": version}}
            routes += _adapters(targets, endpoint, same, header)
            routes += [_forward(targets, endpoint, {**each, "headers": [header]}, led, test=True) for each in matches]
    if not versions and not endpoint.language:
        return routes
    known = f"it has {', '.join(versions)}" if versions else "no versions can be asked for (rollout.testers)"
    none: Resource = {"prefix": PREFIX, "headers": [{"name": NAMED_VERSION, "present_match": True}]}
    return [*routes, _refuse(targets, endpoint, none, 404, f"model '{endpoint.endpoint}': {known}")]


def _adapters(
    targets: Targets, endpoint: EndpointRoute, revisions: Sequence[RevisionRoute], *version: Resource
) -> list[Resource]:
    """Requests that name an adapter, at this version: to revisions that have it; those whose engines know it by
    another word have a route of their own, with their share of the requests."""
    names = [endpoint.adapter] if endpoint.adapter else sorted({each for one in revisions for each in one.adapters})
    routes: list[Resource] = []
    for name in names:
        known: dict[str | int, list[RevisionRoute]] = {}
        for one in revisions:
            if one.weight and name in one.adapters:
                known.setdefault(one.adapters[name], []).append(one)
        rest = sum(each.weight for alike in known.values() for each in alike)
        header = {"name": NAMED_ADAPTER, "string_match": {"exact": name}}
        for word, alike in known.items():
            led, weight = targets.lead(endpoint, alike, ENGINE, here=True), sum(each.weight for each in alike)
            match: Resource = {"prefix": PREFIX, "headers": [] if endpoint.adapter else [*version, header]}
            if weight < rest:
                part = {"numerator": round(weight / rest * 1_000_000), "denominator": "MILLION"}
                match["runtime_fraction"] = {"default_value": part}
            rest -= weight
            if led is not None:
                route = _forward(targets, endpoint, match, led, test=bool(version))
                route["metadata"]["filter_metadata"][LUA]["adapter"] = word
                routes.append(route)
    if not (names or endpoint.language or endpoint.encodes):
        return routes
    none: Resource = {"prefix": PREFIX, "headers": [*version, {"name": NAMED_ADAPTER, "present_match": True}]}
    have = f"it has {', '.join(names)}" if names else "it has none"
    said = f"model '{endpoint.endpoint}' has no adapter of this name that takes traffic: {have}"
    refused = _refuse(targets, endpoint, none, 404, said)
    return [refused, *routes] if endpoint.adapter else [*routes, refused]


def unnamed_routes(endpoints: tuple[EndpointRoute, ...]) -> list[Resource]:
    """Requests whose body is not yet read, or names nobody."""
    unread = [_unread(endpoints, {"path": path}) for path in (*GENERATE, *ENCODE)]
    names = [
        {"name": about["id"], "key": each.auth, "text": msgspec.json.encode(about).decode()}
        for each in endpoints
        if each.language or each.encodes
        for about in _models(each)
    ]
    listed = _unread(endpoints, {"path_separated_prefix": MODELS})
    listed["metadata"]["filter_metadata"][LUA] |= {"models": names, "open": True}
    return [*unread, listed, direct({"prefix": PREFIX}, 404, openai_error(NOTHING, 404))]


def endpoint_paths(endpoint: EndpointRoute) -> list[Resource]:
    """`/endpoints/NAME/v1/…`, which is read as `/v1/…` of this endpoint whatever model the body names."""
    base = rows_path(endpoint.endpoint)
    if endpoint.language:
        return [_unread((endpoint,), {"path_separated_prefix": f"{base}/v1"})]
    return [_unread((endpoint,), {"path": f"{base}{path}"}) for path in ENCODE if endpoint.encodes]


def _models(endpoint: EndpointRoute) -> list[dict[str, Any]]:
    """OpenAI's fields of a model, and KServe's; and those of its adapters."""
    name, ready = endpoint.endpoint, endpoint.answers
    adapters = [] if endpoint.adapter else sorted({each for revision in endpoint.public for each in revision.adapters})
    ids = [name, *(f"{name}+{each}" for each in adapters)]
    return [
        {"id": each, "object": "model", "created": 0, "owned_by": "argosy", "name": each, "ready": ready}
        for each in ids
    ]


def _unread(endpoints: tuple[EndpointRoute, ...], match: Resource) -> Resource:
    """The route of a request until its body is read; the answer is for one that names nobody."""
    open_to_all = any(not each.auth for each in endpoints)
    return {
        **direct(match, 404, openai_error(NO_MODEL, 404)),
        "metadata": {"filter_metadata": {LUA: {"auth": "language", "open": open_to_all}}},
        "typed_per_filter_config": switched_on(LANGUAGE, AFFINITY) | read_whole(LANGUAGE_BYTES),
    }


def _forward(
    targets: Targets, endpoint: EndpointRoute, match: Resource, led: Resource, *, test: bool = False
) -> Resource:
    route = targets.forward(endpoint, match, led, test=test)
    if any(isinstance(word, int) for each in endpoint.revisions for word in each.adapters.values()):
        route["metadata"]["filter_metadata"][LUA]["adapter"] = NO_ADAPTER
    if endpoint.language:
        attempts = set_header("x-argosy-attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%")
        route["response_headers_to_add"] = [*route.get("response_headers_to_add", []), attempts]
        route["request_body_buffer_limit"] = str(LANGUAGE_BYTES)
        if endpoint.refusals:
            route["metadata"]["filter_metadata"][LUA]["refusals"] = [_beginning(each) for each in endpoint.refusals]
        if (log := endpoint.payload) is not None and targets.config.recorder:
            size = min(max(2 * log.max_text, LEAST_RECORDED), MOST_RECORDED)
            about = {"share": log.sample, "errors": log.errors, "bytes": size}
            route["metadata"]["filter_metadata"][LUA]["payload"] = about
    return route


def _beginning(refusal: str) -> str:
    """How `lua/language.lua` compares beginnings of answers: ASCII in lower case, with one kind of apostrophe."""
    return "".join(each.lower() if each.isascii() else each for each in refusal.replace("’", "'"))


def _refuse(targets: Targets, endpoint: EndpointRoute, match: Resource, status: int, message: str) -> Resource:
    return {
        **direct(match, status, openai_error(message, status)),
        "metadata": {"filter_metadata": {LUA: targets.described(endpoint, {})}},
    }
