"""Clusters: one for each revision and protocol. A cluster in use is never changed: its name carries a hash of it."""

import hashlib

import msgspec

from argosy.gateway.access_log import MODEL
from argosy.gateway.model import EndpointRoute, RevisionRoute, Upstream
from argosy.gateway.xds import Resource, extension, polled_source, typed
from argosy.spec.address import Address, TlsIdentity
from argosy.spec.limits import Limits

HTTP, GRPC = "http", "grpc"

TLS_MATCH = "envoy.transport_socket_match"

WAITING = "@waiting"
"""Stands where a revision stands in the name of a waiting room's cluster; no revision can be called that."""


def cluster(endpoint: EndpointRoute, revision: RevisionRoute, protocol: str) -> Resource:
    """The CDS resource, without its name and the path of its hosts (see `named`)."""
    about = {"version": revision.version, "revision": revision.revision, "endpoint": endpoint.endpoint}
    return {**pool(protocol, _threshold(endpoint.limits), about), "outlier_detection": _outliers()}


def pool(protocol: str, threshold: Resource, about: Resource) -> Resource:
    """What all clusters have in common, with bounds of its own."""
    return typed(
        "envoy.config.cluster.v3.Cluster",
        type="EDS",
        connect_timeout="1s",
        lb_policy="LEAST_REQUEST",
        common_lb_config={"healthy_panic_threshold": {"value": 0}},
        circuit_breakers={"thresholds": [threshold]},
        per_connection_buffer_limit_bytes=4 * 1024 * 1024,
        typed_extension_protocol_options={
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _protocol_options(protocol)
        },
        metadata={"filter_metadata": {MODEL: about}},
    )


def room(endpoint: EndpointRoute, protocol: str) -> Resource:
    """The cluster of an endpoint's waiting room: one host, never ejected; who answers there says its revision.

    It has bounds of its own, and all who wait may come again at once, when it has started anew.
    """
    threshold = {**sizes(Limits()), "max_retries": Limits().requests}
    return pool(protocol, threshold, {"endpoint": endpoint.endpoint})


def name(endpoint: str, revision: str, protocol: str, resource: Resource) -> str:
    """`endpoint/revision/protocol/hash`, the hash being of everything else in the cluster."""
    return f"{endpoint}/{revision}/{protocol}/{digest(resource)}"


def digest(resource: Resource | TlsIdentity) -> str:
    """What a cluster's name carries of the rest of it, so that one in use is never changed."""
    return hashlib.sha256(msgspec.json.encode(resource, order="sorted")).hexdigest()[:10]


def eds_file(cluster_name: str) -> str:
    """The file of a cluster's hosts."""
    return f"eds-{cluster_name.replace('/', '~')}.json"


def named(resource: Resource, cluster_name: str, eds_path: str) -> Resource:
    """The complete CDS resource."""
    return {**resource, "name": cluster_name, "eds_cluster_config": {"eds_config": polled_source(eds_path)}}


def hosts(cluster_name: str, upstreams: tuple[Upstream, ...], protocol: str) -> Resource:
    """The EDS resource: a draining replica takes no new request and finishes what it has.

    A host knows its revision, so that an answer tells it, and what the gateway says by itself does not. Of calls about
    the server it knows nothing: they need no key, and a replica is called by its endpoint's name.
    """
    members = [
        _host(upstream, address, _about(cluster_name, upstream))
        for upstream in sorted(upstreams, key=lambda each: each.replica)
        if (address := _address(upstream, protocol)) is not None
    ]
    return typed(
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        cluster_name=cluster_name,
        endpoints=[{"lb_endpoints": members}] if members else [],
    )


def _about(cluster_name: str, upstream: Upstream) -> dict[str, str]:
    if cluster_name.startswith("@"):
        return {}
    about = {"replica": upstream.replica}
    return about if "@" in cluster_name else {**about, "revision": cluster_name.split("/")[1]}


def _address(upstream: Upstream, protocol: str) -> Address | None:
    return upstream.grpc if protocol == GRPC else upstream.http


def _host(upstream: Upstream, address: Address, about: dict[str, str]) -> Resource:
    place: Resource = {"pipe": {"path": address.path}}
    if not address.path:
        place = {"socket_address": {"address": address.host, "port_value": address.port}}
    tls = {TLS_MATCH: {"identity": digest(address.tls)}} if address.tls else {}
    return {
        "endpoint": {"address": place},
        "health_status": "HEALTHY" if upstream.state == "ready" else "DRAINING",
        "metadata": {"filter_metadata": {MODEL: about, **tls}},
    }


def secured(resource: Resource, upstreams: tuple[Upstream, ...], protocol: str) -> Resource:
    """The cluster with TLS to those of its hosts whose address has an identity; as it is where none has."""
    addresses = (_address(upstream, protocol) for upstream in upstreams)
    identities = {digest(each.tls): each.tls for each in addresses if each is not None and each.tls is not None}
    if not identities:
        return resource
    sockets = [
        {"name": key, "match": {"identity": key}, "transport_socket": _tls(identities[key], protocol)}
        for key in sorted(identities)
    ]
    return {**resource, "transport_socket_matches": sockets}


def _tls(identity: TlsIdentity, protocol: str) -> Resource:
    own = {
        "certificate_chain": {"filename": identity.certificate},
        "private_key": {"filename": identity.key},
    }
    return extension(
        "envoy.transport_sockets.tls",
        "transport_sockets.tls.v3.UpstreamTlsContext",
        sni=identity.name,
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "alpn_protocols": ["h2" if protocol == GRPC else "http/1.1"],
            "tls_certificates": [own] if identity.certificate else [],
            "validation_context": {
                "trusted_ca": {"filename": identity.authorities},
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": identity.name}}],
            },
        },
    )


def _protocol_options(protocol: str) -> Resource:
    http2 = {"initial_stream_window_size": 1024 * 1024, "initial_connection_window_size": 8 * 1024 * 1024}
    explicit: Resource = {"http2_protocol_options": http2} if protocol == GRPC else {"http_protocol_options": {}}
    return typed(
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        explicit_http_config=explicit,
        common_http_protocol_options={"idle_timeout": "60s"},
    )


def sizes(limits: Limits) -> Resource:
    """How much there may be at once."""
    return {
        "max_connections": limits.connections,
        "max_pending_requests": limits.pending,
        "max_requests": limits.requests,
    }


def _threshold(limits: Limits) -> Resource:
    return {
        **sizes(limits),
        "retry_budget": {
            "budget_percent": {"value": limits.retry_budget_percent},
            "min_retry_concurrency": limits.retry_minimum,
        },
    }


def _outliers() -> Resource:
    """Only what says the replica itself is broken: refused and reset connections, not its own 5xx answers.

    A full queue answers 503 and a poisoned input 500; ejecting for those would only move the trouble on.
    Half of the hosts at most, so that one of two always stays.
    """
    return {
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
