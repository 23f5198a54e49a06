"""Other regions: a cluster of the gateways of peers, what leads to it, and how two gateways know each other.

Requests of callers go to an aggregate: the replicas here first, then each peer as a priority of its own. What comes
from a peer goes to the cluster of the replicas here, so that no request crosses a second border. Which one a request
gets is decided by a header with a secret of the two regions, which no client knows. The gateway that sends has checked
the caller's key, and says whose it is.

Gateways speak HTTP/2 with each other: a connection whose pings are not answered is ended, and each request that waits
on it is tried elsewhere. HTTP/1 has nothing that tells a silent link from a slow answer.
"""

import ssl
from collections.abc import Iterable

from argosy.gateway.access_log import MODEL
from argosy.gateway.model import EndpointRoute
from argosy.process.envoy import Resource, extension, set_header, typed
from argosy.serving.internal_headers import KEY
from argosy.spec.region import Peer

BEYOND = "+"
"""What the protocol of an aggregate ends with."""
PEERS = "@peers"
"""Stands where a revision stands in the name of the clusters of peers, and of the aggregate that has no replicas; no
revision can be called that."""
OUTSIDE = "http1"
"""The protocol in the name of the cluster of those peers that speak HTTP/1."""
TOKEN, WHOSE = "x-argosy-peer", "x-argosy-peer-key"
"""Headers from peer to peer: the secret of the two, and the id of the caller's key."""
SECRET = f"%METADATA(UPSTREAM_HOST:{MODEL}:token)%"
LOCAL_FIRST = 10_000
"""Percent. Replicas here get all requests while one in so many is well."""
HEALTH_SECONDS, HEALTH_TIMEOUT = 2.0, 2.0
SICK_SECONDS, IDLE_SECONDS = 1.0, 4.0
"""How often one that is not well is asked, and one that is, for a cluster that nobody has used yet."""
PING_SECONDS, PING_TIMEOUT = 1.0, 2.0
"""Between pings on a connection, and how long nothing at all may come from the other end after one."""
LEFT_OUT = "10s"
"""The longest that a replica is left out once it refused connections: others answer, so that it may be tried often. A
gateway is left out so long at once, as it is taken back when it answers who asks for its health."""
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def here(resource: Resource) -> Resource:
    """The cluster of replicas where there are peers: all of them may be left, and where none is well they are asked."""
    outliers = {**resource["outlier_detection"], "max_ejection_percent": 100, "max_ejection_time": LEFT_OUT}
    return {**resource, "outlier_detection": outliers, "common_lb_config": {"healthy_panic_threshold": {"value": 1}}}


def gateways(resource: Resource, endpoint: EndpointRoute) -> Resource:
    """A cluster of peers. Each is asked whether the endpoint answers there, and one that did not answer requests is
    left out until it says so. Where they speak HTTP/2, connections are pinged."""
    found, options = here(resource), resource["typed_extension_protocol_options"][OPTIONS]
    spoken = options["explicit_http_config"]
    if http2 := spoken.get("http2_protocol_options"):
        pings = {"interval": f"{PING_SECONDS:g}s", "timeout": f"{PING_TIMEOUT:g}s"}
        spoken = {"http2_protocol_options": {**http2, "connection_keepalive": pings}}
    sockets = [_tls(each) for each in endpoint.elsewhere if each.tls and http2]
    return {
        **found,
        "outlier_detection": {**found["outlier_detection"], "base_ejection_time": LEFT_OUT},
        "typed_extension_protocol_options": {OPTIONS: {**options, "explicit_http_config": spoken}},
        "health_checks": [_health(endpoint, http2=bool(http2))],
        "close_connections_on_host_health_failure": True,
        "ignore_health_on_host_removal": True,
        **({"transport_socket_matches": sockets} if sockets else {}),
    }


def beyond(resource: Resource, names: Iterable[str]) -> Resource:
    """The aggregate of clusters with these names, the first of which is first, and which is known as `resource` is.
    Each request may be tried again. Requests to a peer, and to no other host, have the secret."""
    (threshold,) = resource["circuit_breakers"]["thresholds"]
    budget = {"budget_percent": {"value": 100}, "min_retry_concurrency": threshold["max_requests"]}
    options = {**resource["typed_extension_protocol_options"][OPTIONS], "http_filters": _marks()}
    return typed(
        "envoy.config.cluster.v3.Cluster",
        cluster_type=extension("envoy.clusters.aggregate", "clusters.aggregate.v3.ClusterConfig", clusters=[*names]),
        connect_timeout=resource["connect_timeout"],
        lb_policy="CLUSTER_PROVIDED",
        common_lb_config={"healthy_panic_threshold": {"value": 0}},  # where nobody is well, the first one is asked
        circuit_breakers={"thresholds": [{**threshold, "retry_budget": budget}]},
        typed_extension_protocol_options={OPTIONS: options},
        metadata=resource["metadata"],
    )


def behind(resource: Resource) -> list[str]:
    """The names of the clusters of an aggregate; of another cluster none."""
    return resource.get("cluster_type", {}).get("typed_config", {}).get("clusters", [])


def _marks() -> list[Resource]:
    """Filters of requests on their way to a host. A request may have been at a peer before it comes to a replica."""
    to_peer = {TOKEN: SECRET, WHOSE: f"%REQ({KEY})%"}
    removed: list[Resource] = [{"remove": name} for name in to_peer]
    changes = {"request_mutations": [*removed, *({"append": set_header(*each)} for each in to_peer.items())]}
    mutation = "filters.http.header_mutation.v3.HeaderMutation"
    return [
        extension("envoy.filters.http.header_mutation", mutation, mutations=changes),
        extension("envoy.filters.http.upstream_codec", "filters.http.upstream_codec.v3.UpstreamCodec"),
    ]


def health_path(endpoint: EndpointRoute) -> str:
    """What a gateway answers peers about an endpoint, and nobody else."""
    return f"/v2/models/{endpoint.endpoint}/peer"


def _health(endpoint: EndpointRoute, *, http2: bool) -> Resource:
    return {
        "interval": f"{HEALTH_SECONDS:g}s",
        "unhealthy_interval": f"{SICK_SECONDS:g}s",
        "no_traffic_interval": f"{SICK_SECONDS:g}s",
        "no_traffic_healthy_interval": f"{IDLE_SECONDS:g}s",
        "timeout": f"{HEALTH_TIMEOUT:g}s",
        "healthy_threshold": 2,
        "unhealthy_threshold": 2,
        "http_health_check": {
            "host": "argosy",
            "path": health_path(endpoint),
            "request_headers_to_add": [set_header(TOKEN, SECRET)],
            "codec_client_type": "HTTP2" if http2 else "HTTP1",
        },
    }


def priorities(groups: Iterable[list[Resource]]) -> Resource:
    """What a ClusterLoadAssignment has of hosts, each group of which gets requests while no earlier one is well."""
    return {
        "endpoints": [{"priority": at, "lb_endpoints": hosts} for at, hosts in enumerate(groups)],
        "policy": {"overprovisioning_factor": LOCAL_FIRST},
    }


def host(peer: Peer) -> Resource:
    """A peer's gateway as a host of the cluster."""
    tls = {"envoy.transport_socket_match": {"identity": f"peer/{peer.region}"}} if peer.tls else {}
    return {
        "endpoint": {"address": {"socket_address": {"address": peer.host, "port_value": peer.port}}},
        "health_status": "HEALTHY",
        "metadata": {"filter_metadata": {MODEL: {"region": peer.region, "token": peer.token}, **tls}},
    }


def _tls(peer: Peer) -> Resource:
    """TLS to a peer whose certificate is for its authority, by what this machine trusts, or else by none."""
    roots = ssl.get_default_verify_paths().cafile
    address = peer.authority.replace(":", "").replace(".", "").isdecimal() or ":" in peer.authority
    named = {"san_type": "IP_ADDRESS" if address else "DNS", "matcher": {"exact": peer.authority}}
    trusted: Resource = {"trusted_ca": {"filename": roots}, "match_typed_subject_alt_names": [named]}
    socket = extension(
        "envoy.transport_sockets.tls",
        "transport_sockets.tls.v3.UpstreamTlsContext",
        **({} if address else {"sni": peer.authority}),
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "alpn_protocols": ["h2"],
            "validation_context": trusted if roots else {"verify_certificate_hash": ["00" * 32]},
        },
    )
    name = f"peer/{peer.region}"
    return {"name": name, "match": {"identity": name}, "transport_socket": socket}


def retries(policy: Resource) -> Resource:
    """The policy of retries where there are peers: each attempt leaves out the region that was asked before it."""
    kind = "retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
    return {
        **policy,
        "retry_priority": extension("envoy.retry_priorities.previous_priorities", kind, update_frequency=1),
    }


def tokens(endpoints: Iterable[EndpointRoute]) -> dict[str, str]:
    """The secrets that peers show, with their regions."""
    return {peer.token: peer.region for each in endpoints for peer in each.peers if peer.token}
