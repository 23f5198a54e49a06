"""From decisions and replicas to routes and keys of the gateway. Pure."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from argosy.control.decide import Route
from argosy.control.revision import live
from argosy.engines.language.process import ENGINES
from argosy.gateway.model import USUAL_CACHE, ApiKey, EndpointRoute, Mirror, RevisionRoute, Sticky, Upstream
from argosy.spec.endpoint import Endpoint
from argosy.spec.language import adapter_name
from argosy.spec.region import Peer
from argosy.spec.revision import Replica, Revision
from argosy.spec.settings import GatewaySettings
from argosy.store.keys import KeyRecord


def endpoint_route(
    endpoint: Endpoint,
    route: Route,
    revisions: dict[str, Revision],
    running: Callable[[str], tuple[Upstream, ...]],
    peers: tuple[Peer, ...] = (),
) -> EndpointRoute:
    """The route of an endpoint: its weighted revisions with what is `running` of each, and the gateways of other
    regions, of which none further away is asked than its objectives have an answer take."""
    sticky, shadow = endpoint.rollout.sticky, endpoint.rollout.shadow
    mirror = None
    if shadow and route.shadow:
        mirror = Mirror(revision=route.shadow, percent=100 * shadow.share, tokens=shadow.tokens)
    return EndpointRoute(
        endpoint=endpoint.name,
        revisions=tuple(
            RevisionRoute(
                revision=name,
                version=revisions[name].version,
                weight=weight,
                upstreams=(ups := running(name)),
                language=(language := revisions[name].language) is not None,
                adapters=adapters(revisions[name], ups),
                encodes=revisions[name].encodes,
                cache=(language.context * language.slots if language else 0) or USUAL_CACHE,
            )
            for name, weight in (*route.weights, *([(mirror.revision, 0)] if mirror else []))
        ),
        timeout=endpoint.timeout,
        retries=endpoint.retries,
        limits=endpoint.limits,
        auth=not endpoint.public,
        mirror=mirror,
        sticky=sticky and Sticky(by=sticky.by, name=sticky.name),
        testers=endpoint.rollout.testers,
        refusals=endpoint.guard.refusals if endpoint.guard else (),
        payload=endpoint.payload,
        peers=peers,
        regions=endpoint.regions,
        peer_rtt=min((each.latency for each in endpoint.slos if each.latency), default=None),
    )


def shared_route(endpoint: Endpoint, version: str, of: EndpointRoute | None) -> EndpointRoute:
    """The route of an endpoint that shares the replicas of another, by an adapter."""
    name = adapter_name(endpoint.model)
    having = [each for each in of.public if name in each.adapters] if of else []
    return EndpointRoute(
        endpoint=endpoint.name,
        adapter=name,
        revisions=tuple(msgspec.structs.replace(each, version=version) for each in having),
        timeout=endpoint.timeout,
        retries=endpoint.retries,
        limits=endpoint.limits,
        auth=not endpoint.public,
    )


def adapters(revision: Revision, running: Iterable[Upstream]) -> dict[str, str | int]:
    """Those of a revision by name, with what its engine knows them by; where replicas load them as they run, those
    that all of them have."""
    refs = revision.language.adapters if revision.language and revision.engine else ()
    if not refs or ENGINES[revision.engine].numbers:
        return {adapter_name(ref): number for number, ref in enumerate(refs)}
    ready = [each for each in running if each.state == "ready"] if live(revision.target, revision.engine) else []
    return {adapter_name(ref): ref for ref in refs if all(ref in each.adapters for each in ready)}


def upstreams(replicas: Iterable[Replica]) -> tuple[Upstream, ...]:
    """Replicas as upstreams, by id. Those that start or stop are left out."""
    found = sorted(replicas, key=lambda each: each.id)
    return tuple(
        Upstream(replica=it.id, http=it.http, grpc=it.grpc, engine=it.engine, state=it.phase, adapters=it.adapters)
        for it in found
        if it.phase == "ready" or it.phase == "draining"
    )


def api_keys(
    records: Iterable[KeyRecord], settings: GatewaySettings, also: Mapping[str, str] | None = None
) -> tuple[ApiKey, ...]:
    """Keys that are good; those without a rate of their own get the gateway's. `also` has more hashes by their ids."""
    found: list[ApiKey] = []
    for record in records:
        rate, burst = record.rate, record.burst
        if rate is None and settings.rate_limit:
            rate, burst = settings.rate_limit, settings.rate_burst or None
        if record.revoked is None:
            found.append(
                ApiKey(
                    id=record.id,
                    sha256=record.hash,
                    scopes=record.scopes,
                    requests_per_second=rate,
                    burst=burst,
                    limits=record.limits.unreachable if record.limits else "",
                    also=(also or {}).get(record.id, ""),
                )
            )
    return tuple(found)
