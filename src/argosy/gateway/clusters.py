"""Clusters: one for each revision and protocol. A cluster in use is never changed: its name carries a hash of it."""

import hashlib
from collections.abc import Iterable, Iterator

import msgspec

from argosy.gateway import peers
from argosy.gateway.access_log import MODEL
from argosy.gateway.model import EndpointRoute, RevisionRoute, Upstream
from argosy.process.envoy import OWN, TRUSTED, Resource, extension, file_source, tls_context, tls_secrets, typed
from argosy.spec.address import Address, TlsIdentity
from argosy.spec.limits import Limits
from argosy.spec.region import Peer

HTTP, GRPC, ENGINE = "http", "grpc", "engine"
ENGINE_IDLE = "3s"
"""Servers of engines close a connection that was idle for 5 s: a request must not be on its way to it then."""
TLS_MATCH = "envoy.transport_socket_match"
WAITING = "@waiting"
"""Stands where a revision stands in the name of the activator's cluster; no revision can be called that."""
OUTLIERS: Resource = {
    "interval": "1s",
    "base_ejection_time": "2s",
    "max_ejection_time": "30s",
    "max_ejection_percent": 50,
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 3,
    "enforcing_consecutive_local_origin_failure": 100,
    "enforcing_consecutive_5xx": 0,
    "enforcing_consecutive_gateway_failure": 0,
    "enforcing_success_rate": 0,
    "enforcing_local_origin_success_rate": 0,
}
"""Hosts are ejected, at most half of them, for refused and reset connections, not for 5xx answers: a full queue answers
503 and a poisoned input 500."""


BALANCE_FACTOR = 125
"""Percent of the mean number of requests that a replica may have before the next one on the ring takes a prefix."""


def cluster(endpoint: EndpointRoute, revision: RevisionRoute, protocol: str) -> Resource:
    """The CDS resource, without its name and the path of its hosts (see `named`)."""
    about = {"version": revision.version, "revision": revision.revision, "endpoint": endpoint.endpoint}
    limits = endpoint.limits
    budget = {"budget_percent": {"value": limits.retry_budget_percent}, "min_retry_concurrency": limits.retry_minimum}
    found = {**pool(protocol, limits, about, retry_budget=budget), "outlier_detection": OUTLIERS}
    found = peers.here(found) if endpoint.elsewhere else found
    return {**found, "load_balancing_policy": _by_prefix()} if protocol == ENGINE else found


def _by_prefix() -> Resource:
    """The replica that `lua/affinity.lua` has chosen, or the next one that it has named. Where it has named none,
    bounded-load consistent hashing of what the route's hash policy names: one beginning of a conversation, one replica,
    as long as that one has no more than its share."""
    maglev = extension(
        "envoy.load_balancing_policies.maglev",
        "load_balancing_policies.maglev.v3.Maglev",
        consistent_hashing_lb_config={"hash_balance_factor": BALANCE_FACTOR},
    )
    chosen = extension(
        "envoy.load_balancing_policies.override_host",
        "load_balancing_policies.override_host.v3.OverrideHost",
        override_host_sources=[{"metadata": {"key": "envoy.lb", "path": [{"key": "replica"}]}}],
        fallback_policy={"policies": [{"typed_extension_config": maglev}]},
    )
    return {"policies": [{"typed_extension_config": chosen}]}


def pool(protocol: str, limits: Limits, about: Resource, retry_budget: Resource | None = None) -> Resource:
    """What all clusters have in common. Without a budget, all that they take may be tried again."""
    threshold = {
        "max_connections": limits.connections,
        "max_pending_requests": limits.pending,
        "max_requests": limits.requests,
        **({"retry_budget": retry_budget} if retry_budget else {"max_retries": limits.requests}),
    }
    http2 = {
        "initial_stream_window_size": 1024 * 1024,
        "initial_connection_window_size": 8 * 1024 * 1024,
        # gRPC's core says its window anew for each message it reads, and a frame of 16 KiB has up to 3,277 of them.
        "max_inbound_window_update_frames_per_data_frame_sent": 4096,
    }
    options = typed(
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        explicit_http_config={"http2_protocol_options": http2} if protocol == GRPC else {"http_protocol_options": {}},
        common_http_protocol_options={"idle_timeout": ENGINE_IDLE if protocol == ENGINE else "60s"},
    )
    return typed(
        "envoy.config.cluster.v3.Cluster",
        type="EDS",
        connect_timeout="3s",
        lb_policy="LEAST_REQUEST",
        common_lb_config={"healthy_panic_threshold": {"value": 0}},
        circuit_breakers={"thresholds": [threshold]},
        per_connection_buffer_limit_bytes=4 * 1024 * 1024,
        typed_extension_protocol_options={"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        metadata={"filter_metadata": {MODEL: about}},
    )


def beside(name: str, path: str, limits: Limits) -> tuple[str, Resource, tuple[Upstream, ...]]:
    """Name, cluster and the one host of a process beside the gateway, that listens on a Unix socket."""
    resource = pool(HTTP, limits, {})
    return f"@{name}/{digest(resource)}", resource, (Upstream(replica=name, http=Address(path=path)),)


def elsewhere(endpoint: EndpointRoute, protocol: str) -> Resource:
    """The cluster of an endpoint's peers: the gateways of regions, or those outside."""
    spoken = HTTP if protocol == peers.OUTSIDE else GRPC
    resource = {**pool(spoken, endpoint.limits, {"endpoint": endpoint.endpoint}), "outlier_detection": OUTLIERS}
    return peers.gateways(resource, endpoint)


def activator(endpoint: EndpointRoute, protocol: str) -> Resource:
    """The cluster of an endpoint in the activator: one host, never ejected. All who wait may come again at once."""
    return pool(protocol, Limits(), {"endpoint": endpoint.endpoint})


def digest(resource: Resource) -> str:
    """What a cluster's name carries of the rest of it, so that one in use is never changed."""
    return hashlib.sha256(msgspec.json.encode(resource, order="sorted")).hexdigest()[:10]


def eds_file(cluster_name: str) -> str:
    """The file of a cluster's hosts."""
    return f"eds-{cluster_name.replace('/', '~')}.json"


def named(resource: Resource, cluster_name: str, eds_path: str) -> Resource:
    """The complete CDS resource."""
    return {**resource, "name": cluster_name, "eds_cluster_config": {"eds_config": file_source(eds_path, polled=True)}}


def hosts(
    cluster_name: str, upstreams: tuple[Upstream, ...], protocol: str, elsewhere: tuple[Peer, ...] = ()
) -> Resource:
    """The EDS resource: a draining replica takes no new request. Answers of a host have its revision in a header."""
    about: dict[str, str] = {} if "@" in cluster_name else {"revision": cluster_name.split("/")[1]}
    members = [
        _host(upstream, address, about | ({} if cluster_name.startswith("@") else {"replica": upstream.replica}))
        for upstream in sorted(upstreams, key=lambda each: each.replica)
        if (address := _address(upstream, protocol)) is not None
    ]
    groups: Resource = {"endpoints": [{"lb_endpoints": members}] * bool(members)}
    if elsewhere:
        gateways = [[peers.host(each)] for each in elsewhere if each.http1 == (protocol == peers.OUTSIDE)]
        groups = peers.priorities(gateways if peers.PEERS in cluster_name else [members] * bool(members))
    return typed("envoy.config.endpoint.v3.ClusterLoadAssignment", cluster_name=cluster_name, **groups)


def _address(upstream: Upstream, protocol: str) -> Address | None:
    return {HTTP: upstream.http, GRPC: upstream.grpc, ENGINE: upstream.engine}[protocol]


def _host(upstream: Upstream, address: Address, about: dict[str, str]) -> Resource:
    place: Resource = {"pipe": {"path": address.path}}
    if not address.path:
        place = {"socket_address": {"address": address.host, "port_value": address.port}}
    tls = {TLS_MATCH: {"identity": _scope(address.tls)}} if address.tls else {}
    return {
        "endpoint": {"address": place},
        "health_status": "HEALTHY" if upstream.state == "ready" else "DRAINING",
        "metadata": {"filter_metadata": {MODEL: about, **tls}},
    }


def secured(resource: Resource, upstreams: tuple[Upstream, ...], protocol: str) -> Resource:
    """The cluster with TLS to those of its hosts whose address has an identity; as it is where none has. What it checks
    is that a host is a replica of the revision, so that it is the same whichever replicas there are."""
    whose = {_scope(tls): tls for tls in _identities(upstreams, protocol)}
    if not whose:
        return resource
    sockets = [
        {"name": key, "match": {"identity": key}, "transport_socket": _tls(whose[key], protocol)}
        for key in sorted(whose)
    ]
    return {**resource, "transport_socket_matches": sockets}


def _identities(upstreams: tuple[Upstream, ...], protocol: str) -> Iterator[TlsIdentity]:
    addresses = (_address(upstream, protocol) for upstream in upstreams)
    return (each.tls for each in addresses if each is not None and each.tls is not None)


def _scope(identity: TlsIdentity) -> str:
    """The names that replicas of the same revision begin with."""
    return identity.name.rpartition("/")[0] + "/"


def _tls(identity: TlsIdentity, protocol: str) -> Resource:
    replicas = {"san_type": "URI", "matcher": {"prefix": _scope(identity)}}
    files = {name: _caller_file(identity, name) for name in (OWN, TRUSTED)}
    return extension(
        "envoy.transport_sockets.tls",
        "transport_sockets.tls.v3.UpstreamTlsContext",
        max_session_keys=0,
        common_tls_context=tls_context([replicas], "h2" if protocol == GRPC else "http/1.1", files),
    )


def _caller_file(identity: TlsIdentity, name: str) -> str:
    return f"{identity.files}/gateway.{name}.json"


def caller_files(endpoints: Iterable[EndpointRoute]) -> dict[str, Resource]:
    """By path, files that say which certificates Envoy shows and trusts where it calls."""
    upstreams = tuple(each for endpoint in endpoints for revision in endpoint.revisions for each in revision.upstreams)
    identities = {each.files: each for each in _identities(upstreams, HTTP)}.values()
    return {
        _caller_file(each, name): secret for each in identities for name, secret in tls_secrets(each, "gateway").items()
    }
