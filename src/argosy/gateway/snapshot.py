"""From configuration, endpoints and keys to everything Envoy is given. Pure: the same input gives the same snapshot."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import msgspec

from argosy.gateway import clusters, keys, listener, rest_routes, server
from argosy.gateway.clusters import ENGINE, GRPC, HTTP
from argosy.gateway.memo import Memo
from argosy.gateway.model import ApiKey, EndpointRoute, GatewayConfig, Upstream
from argosy.gateway.peers import BEYOND, OUTSIDE, PEERS, beyond
from argosy.gateway.routes import Branches, branches, route_table
from argosy.gateway.targets import Targets
from argosy.process.envoy import Resource
from argosy.spec.errors import Conflict

LDS, CDS, RDS, SDS = "lds.json", "cds.json", "rds.json", "sds.json"
XDS_FOLDER = "xds"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Resources by name. `hosts` has the names of all clusters but aggregates. `callers` are files elsewhere, by path,
    that clusters refer to, and that do not change."""

    listeners: dict[str, Resource]
    routes: dict[str, Resource]
    clusters: dict[str, Resource]
    hosts: dict[str, Resource]
    secrets: dict[str, Resource]
    callers: dict[str, Resource] = {}

    def files(self) -> dict[str, list[Resource]]:
        """File name → the resources in it."""
        files = {
            LDS: list(self.listeners.values()),
            CDS: [self.clusters[name] for name in sorted(self.clusters)],
            RDS: list(self.routes.values()),
        }
        files |= {clusters.eds_file(name): [hosts] for name, hosts in self.hosts.items()}
        return files | ({SDS: list(self.secrets.values())} if self.secrets else {})


class EndpointClusters(NamedTuple):
    """What is made of one endpoint: clusters and hosts by name, the addresses, and its part of the routes."""

    clusters: dict[str, Resource]
    hosts: dict[str, Resource]
    addresses: tuple[str, ...]
    branches: Branches


def build_snapshot(
    config: GatewayConfig,
    endpoints: Iterable[EndpointRoute],
    known: Iterable[ApiKey] = (),
    memo: Memo[EndpointClusters] | None = None,
) -> Snapshot:
    """The whole of it; a `memo` has what was made of endpoints before. Raises Conflict where names or addresses
    collide."""
    ordered = tuple(sorted(endpoints, key=lambda each: each.endpoint))
    good, memo = tuple(known), memo or Memo()
    parts = [memo.get(each.endpoint, each, partial(_part, config, each)) for each in ordered]
    memo.turn()
    check_names(ordered, good, [address for part in parts for address in part.addresses])
    pools = [(*each, GRPC) for each in server.pools(ordered)]
    if config.labels:
        pools.append((*rest_routes.labels_pool(config), HTTP))
    if config.devices:
        pools.append((*rest_routes.devices_pool(config), HTTP))
    if config.quota:
        pools.append((*keys.quota_pool(config), HTTP))
    cds: dict[str, Resource] = {}
    eds: dict[str, Resource] = {}
    for name, resource, upstreams, protocol in pools:
        cds[name] = clusters.named(resource, name, xds_path(config, clusters.eds_file(name)))
        eds[name] = clusters.hosts(name, upstreams, protocol)
    for part in parts:
        cds |= part.clusters
        eds |= part.hosts
    return Snapshot(
        listeners={listener.NAME: listener.listener(config, xds_path(config, RDS), xds_path(config, SDS))},
        routes={listener.NAME: route_table(config, ordered, good, [part.branches for part in parts])},
        clusters=cds,
        hosts=eds,
        secrets={listener.SECRET: listener.secret(config.tls)} if config.tls else {},
        callers=clusters.caller_files(ordered),
    )


def xds_path(config: GatewayConfig, file: str) -> str:
    """Where a file of the snapshot lies."""
    return f"{config.run_dir}/{XDS_FOLDER}/{file}"


def _part(config: GatewayConfig, endpoint: EndpointRoute) -> EndpointClusters:
    everyone = [up for revision in endpoint.revisions for up in revision.upstreams]
    cds: dict[str, Resource] = {}
    eds: dict[str, Resource] = {}
    targets = Targets({}, config)
    for revision, protocol, resource, upstreams in _pools(endpoint):
        name = f"{endpoint.endpoint}/{revision}/{protocol}/{clusters.digest(resource)}"
        cds[name] = clusters.named(resource, name, xds_path(config, clusters.eds_file(name)))
        eds[name] = clusters.hosts(name, upstreams, protocol, endpoint.elsewhere)
        targets.clusters[endpoint.endpoint, revision, protocol] = name
    for revision, protocol, names in _aggregates(endpoint, targets):
        resource = beyond(cds[names[0]], names)
        name = f"{endpoint.endpoint}/{revision}/{protocol}/{clusters.digest(resource)}"
        cds[name] = {**resource, "name": name}
        targets.clusters[endpoint.endpoint, revision, protocol] = name
    own = everyone if not endpoint.adapter else ()
    addresses = tuple(str(each) for up in own for each in (up.http, up.grpc) if each is not None)
    return EndpointClusters(cds, eds, addresses, branches(endpoint, targets))


def check_names(endpoints: tuple[EndpointRoute, ...], known: tuple[ApiKey, ...], addresses: list[str]) -> None:
    """Endpoints, revisions of one endpoint, keys and their hashes, and addresses are each there once."""
    names = {
        "endpoint": [each.endpoint for each in endpoints],
        "key id": [key.id for key in known],
        "key hash": [key.sha256 for key in known],
        **{f"revision of endpoint '{e.endpoint}'": [each.revision for each in e.revisions] for e in endpoints},
        "address": addresses,
    }
    for what, values in names.items():
        if twice := [value for value, count in Counter(values).items() if count > 1]:
            raise Conflict(f"{what} '{twice[0]}' is given twice to the gateway")


def _pools(endpoint: EndpointRoute) -> Iterator[tuple[str, str, Resource, tuple[Upstream, ...]]]:
    """Revision, protocol, cluster and replicas; gRPC only where a replica speaks it. The activator's cluster is there
    also while replicas are ready: who still waits stays in it."""
    for revision in endpoint.revisions:
        for protocol in (*_protocols(revision.upstreams), *([ENGINE] if revision.language else [])):
            resource = clusters.cluster(endpoint, revision, protocol)
            resource = clusters.secured(resource, revision.upstreams, protocol)
            yield revision.revision, protocol, resource, revision.upstreams
    for protocol in sorted({OUTSIDE if each.http1 else HTTP for each in endpoint.elsewhere}):
        yield PEERS, protocol, clusters.elsewhere(endpoint, protocol), ()
    if endpoint.waiting:
        activator = (Upstream(replica="waiting", http=endpoint.waiting.http, grpc=endpoint.waiting.grpc),)
        for protocol in _protocols(activator):
            yield clusters.WAITING, protocol, clusters.activator(endpoint, protocol), activator


def _aggregates(endpoint: EndpointRoute, targets: Targets) -> Iterator[tuple[str, str, list[str]]]:
    """Revision, protocol and clusters of what callers' requests go to where there are peers: replicas here, then peers;
    where there are none, peers and then the activator. Those outside speak no gRPC."""
    if not endpoint.elsewhere:
        return
    known = {(revision, protocol): name for (_, revision, protocol), name in targets.clusters.items()}
    gateways, outside = ([known.pop((PEERS, each))] if (PEERS, each) in known else [] for each in (HTTP, OUTSIDE))
    for protocol in (HTTP, GRPC):
        waiting = known.pop((clusters.WAITING, protocol), None)
        names = [*gateways, *(outside if protocol == HTTP else []), *([waiting] if waiting else [])]
        if names:
            yield PEERS, protocol + BEYOND, names
    for (revision, protocol), name in known.items():
        yield revision, protocol + BEYOND, [name, *gateways, *(outside if protocol != GRPC else [])]


def _protocols(upstreams: tuple[Upstream, ...]) -> tuple[str, ...]:
    return (HTTP, GRPC) if any(upstream.grpc is not None for upstream in upstreams) else (HTTP,)
