"""gRPC calls about the server itself, which name no endpoint, with a small budget of their own. Probes need no key and
are read whole first; health's `Watch` and reflection are streams that stay, and need a key where an endpoint does."""

from collections.abc import Iterator

from argosy.gateway import clusters
from argosy.gateway.access_log import LUA
from argosy.gateway.answers import direct_grpc, needs_key
from argosy.gateway.clusters import GRPC
from argosy.gateway.grpc_names import SERVICE
from argosy.gateway.keys import free_limits
from argosy.gateway.listener import RATE_LIMIT
from argosy.gateway.model import EndpointRoute, Upstream
from argosy.gateway.targets import read_whole, retry_policy, switched_off
from argosy.process.envoy import Resource, seconds, set_header
from argosy.serving import internal_headers
from argosy.spec.limits import Limits

UNAVAILABLE = 14
PROBES = (
    {"path": f"/{SERVICE}/ServerLive"},
    {"path": f"/{SERVICE}/ServerReady"},
    {"path": f"/{SERVICE}/ServerMetadata"},
    {"path": "/grpc.health.v1.Health/Check"},
)
STREAMS = ({"prefix": "/grpc.health.v1.Health/"}, {"prefix": "/grpc.reflection."})

BUDGETS = {
    "probes": Limits(connections=2, pending=64, requests=64),
    "streams": Limits(connections=2, pending=16, requests=16),
}
PROBE_SECONDS = 5.0
PROBE_BYTES = 4096
STREAM_SECONDS = 3600.0


def pools(endpoints: tuple[EndpointRoute, ...]) -> Iterator[tuple[str, Resource, tuple[Upstream, ...]]]:
    """Name, cluster and replicas of each budget: those of the first revision that is ready and speaks gRPC, or a
    activator while all endpoints sleep. Nothing where nobody does."""
    if answering := _answering(endpoints):
        for budget, limits in BUDGETS.items():
            resource = clusters.secured(clusters.pool(GRPC, limits, {}), answering, GRPC)
            yield f"@{budget}/{clusters.digest(resource)}", resource, answering


def routes(endpoints: tuple[EndpointRoute, ...]) -> list[Resource]:
    """Liveness, readiness, metadata, health and reflection of the server."""
    names = [name for name, _, _ in pools(endpoints)]
    if not names:
        return [direct_grpc({**path, "grpc": {}}, UNAVAILABLE, "no replica is ready") for path in PROBES + STREAMS]
    probes, streams = names
    probed: Resource = {
        "typed_per_filter_config": switched_off(LUA) | {RATE_LIMIT: free_limits()} | read_whole(PROBE_BYTES)
    }
    streamed: Resource = {"typed_per_filter_config": switched_off(LUA, RATE_LIMIT)}
    if needs_key(endpoints):
        streamed = {"metadata": {"filter_metadata": {LUA: {"auth": True}}}}
    return [_route(path, probes, PROBE_SECONDS) | probed for path in PROBES] + [
        _route(path, streams, STREAM_SECONDS) | streamed for path in STREAMS
    ]


def _route(path: Resource, cluster: str, longest: float) -> Resource:
    return {
        "match": {**path, "grpc": {}},
        "route": {
            "cluster": cluster,
            "timeout": seconds(longest),
            "max_stream_duration": {"max_stream_duration": seconds(longest)},
            "retry_policy": retry_policy(1, grpc=True),
        },
        "request_headers_to_add": [set_header(internal_headers.SERVER, "1")],
    }


def _answering(endpoints: tuple[EndpointRoute, ...]) -> tuple[Upstream, ...]:
    for endpoint in endpoints:
        for revision in endpoint.public:
            if any(each.grpc is not None and each.state == "ready" for each in revision.upstreams):
                return revision.upstreams
    if endpoints and all(endpoint.waiting for endpoint in endpoints):
        activators = [each.waiting for each in endpoints if each.waiting and each.waiting.grpc]
        return tuple(Upstream(replica="waiting", http=each.http, grpc=each.grpc) for each in activators[:1])
    return ()
