"""From configuration, endpoints and keys to everything Envoy is given. Pure: the same input gives the same snapshot."""

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from argosy.gateway import clusters, keys, listener, rest_routes, server
from argosy.gateway.clusters import ENGINE, GRPC, HTTP
from argosy.gateway.model import ApiKey, EndpointRoute, GatewayConfig, Upstream
from argosy.gateway.routes import route_table
from argosy.gateway.targets import Targets
from argosy.gateway.xds import Resource
from argosy.spec.errors import Conflict

LDS, CDS, RDS, SDS = "lds.json", "cds.json", "rds.json", "sds.json"
XDS_FOLDER = "xds"


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Resources by name. `hosts` has exactly the clusters' names. `callers` are files elsewhere, by path, that clusters
    refer to, and that do not change."""

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


def build_snapshot(config: GatewayConfig, endpoints: Iterable[EndpointRoute], known: Iterable[ApiKey] = ()) -> Snapshot:
    """The whole of it. Raises Conflict where names or addresses collide."""
    ordered = tuple(sorted(endpoints, key=lambda each: each.endpoint))
    good = tuple(known)
    check_names(ordered, good)
    targets = Targets({}, config)
    pools = [(*each, GRPC) for each in server.pools(ordered)]
    if config.labels:
        pools.append((*rest_routes.labels_pool(config), HTTP))
    if config.quota:
        pools.append((*keys.quota_pool(config), HTTP))
    for endpoint, revision, protocol, resource, upstreams in _pools(ordered):
        name = f"{endpoint}/{revision}/{protocol}/{clusters.digest(resource)}"
        pools.append((name, resource, upstreams, protocol))
        targets.clusters[endpoint, revision, protocol] = name
    cds: dict[str, Resource] = {}
    eds: dict[str, Resource] = {}
    for name, resource, upstreams, protocol in pools:
        cds[name] = clusters.named(resource, name, xds_path(config, clusters.eds_file(name)))
        eds[name] = clusters.hosts(name, upstreams, protocol)
    return Snapshot(
        listeners={listener.NAME: listener.listener(config, xds_path(config, RDS), xds_path(config, SDS))},
        routes={listener.NAME: route_table(config, ordered, good, targets)},
        clusters=cds,
        hosts=eds,
        secrets={listener.SECRET: listener.secret(config.tls)} if config.tls else {},
        callers=clusters.caller_files(ordered),
    )


def xds_path(config: GatewayConfig, file: str) -> str:
    """Where a file of the snapshot lies."""
    return f"{config.run_dir}/{XDS_FOLDER}/{file}"


def check_names(endpoints: tuple[EndpointRoute, ...], known: tuple[ApiKey, ...]) -> None:
    """Endpoints, revisions of one endpoint, keys and their hashes, and addresses are each there once."""
    everyone = [up for endpoint in endpoints for revision in endpoint.revisions for up in revision.upstreams]
    names = {
        "endpoint": [each.endpoint for each in endpoints],
        "key id": [key.id for key in known],
        "key hash": [key.sha256 for key in known],
        **{f"revision of endpoint '{e.endpoint}'": [each.revision for each in e.revisions] for e in endpoints},
        "address": [str(each) for up in everyone for each in (up.http, up.grpc) if each is not None],
    }
    for what, values in names.items():
        if twice := [value for value, count in Counter(values).items() if count > 1]:
            raise Conflict(f"{what} '{twice[0]}' is given twice to the gateway")


def _pools(endpoints: tuple[EndpointRoute, ...]) -> Iterator[tuple[str, str, str, Resource, tuple[Upstream, ...]]]:
    """Endpoint, revision, protocol, cluster and replicas; gRPC only where a replica speaks it. The activator's
    cluster is there also while replicas are ready: who still waits stays in it."""
    for endpoint in endpoints:
        for revision in endpoint.revisions:
            for protocol in (*_protocols(revision.upstreams), *([ENGINE] if revision.language else [])):
                resource = clusters.cluster(endpoint, revision, protocol)
                resource = clusters.secured(resource, revision.upstreams, protocol)
                yield endpoint.endpoint, revision.revision, protocol, resource, revision.upstreams
        if endpoint.waiting:
            activator = (Upstream(replica="waiting", http=endpoint.waiting.http, grpc=endpoint.waiting.grpc),)
            for protocol in _protocols(activator):
                yield endpoint.endpoint, clusters.WAITING, protocol, clusters.activator(endpoint, protocol), activator


def _protocols(upstreams: tuple[Upstream, ...]) -> tuple[str, ...]:
    return (HTTP, GRPC) if any(upstream.grpc is not None for upstream in upstreams) else (HTTP,)
