"""The bootstrap: administration on a Unix socket, everything else from files; and what Envoy sheds as its heap grows.

An Envoy that serves has 10 to 30 MiB. From `CALM_BYTES` on, answers that nobody takes and unused connections end
sooner; last it refuses new requests and connections.
"""

from argosy.gateway import tracing
from argosy.gateway.access_log import recorder
from argosy.gateway.model import GatewayConfig
from argosy.gateway.snapshot import CDS, LDS, xds_path
from argosy.process.envoy import Resource, file_source, seconds, typed

HEAP = "envoy.resource_monitors.fixed_heap"
CALM_BYTES, TENSE_BYTES = 40 * 1024 * 1024, 64 * 1024 * 1024
"""Bytes of heap: from the first on, timeouts shrink; at the second, they are as short as they get."""

SHORTEST = {
    "HTTP_DOWNSTREAM_CONNECTION_IDLE": 15.0,
    "HTTP_DOWNSTREAM_STREAM_FLUSH": 1.0,
    "TRANSPORT_SOCKET_CONNECT": 2.0,
}
"""Seconds. Clients that keep connections drop them by themselves after 5 (httpx) to 15 (aiohttp)."""

RUNTIME = {"overload.premature_reset_total_stream_count": 200, "http.max_requests_per_io_cycle": 40}
"""A connection ends that has taken back half of so many calls within a second each; and it may begin so many before
others have their turn, which is what it may have open: more are calls that are taken back as they are made."""

REFRESH_SECONDS = 0.25


def bootstrap(config: GatewayConfig, node: str) -> Resource:
    """What Envoy is started with. `node` tells this home's Envoy from any other."""
    collector = config.collector
    runtime = {**RUNTIME, **(tracing.GATHERED if collector else {})}
    found: Resource = {
        "layered_runtime": {"layers": [{"name": "argosy", "static_layer": runtime}]},
        "node": {"id": node, "cluster": "argosy"},
        "admin": {"address": {"pipe": {"path": config.admin_socket, "mode": 0o600}}},
        "overload_manager": _overload_manager(config),
        # What a burst has left goes back to the machine.
        "memory_allocator_manager": {
            "soft_memory_limit_bytes": str(TENSE_BYTES),
            "max_unfreed_memory_bytes": str(TENSE_BYTES // 4),
            "bytes_to_release": str(TENSE_BYTES // 8),
            "memory_release_interval": "1s",
        },
        "stats_config": {"use_all_default_tags": False},
        # Histograms show what was merged at the last flush.
        "stats_flush_interval": "1s",
        "dynamic_resources": {
            "lds_config": file_source(xds_path(config, LDS)),
            "cds_config": file_source(xds_path(config, CDS)),
        },
    }
    clusters = [tracing.cluster(collector)] if collector else []
    clusters += [recorder(config.recorder)] if config.recorder else []
    return found | ({"static_resources": {"clusters": clusters}} if clusters else {})


def _overload_manager(config: GatewayConfig) -> Resource:
    heap = config.max_heap_bytes
    connections = str(config.max_connections)
    factors = [{"timer": timer, "min_timeout": seconds(least)} for timer, least in SHORTEST.items()]
    timers = typed("envoy.config.overload.v3.ScaleTimersOverloadActionConfig", timer_scale_factors=factors)
    return {
        "refresh_interval": seconds(REFRESH_SECONDS),
        "resource_monitors": [
            _monitor(HEAP, "fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=str(heap)),
            _monitor(
                "envoy.resource_monitors.global_downstream_max_connections",
                "downstream_connections.v3.DownstreamConnectionsConfig",
                max_active_downstream_connections=connections,
            ),
        ],
        "actions": [
            {**_action("reduce_timeouts", _between(CALM_BYTES / heap, TENSE_BYTES / heap)), "typed_config": timers},
            _action("shrink_heap", _at(min(0.5, TENSE_BYTES / heap))),
            _action("reset_high_memory_stream", _between(0.8, 0.95)),
            _action("disable_http_keepalive", _at(0.9)),
            _action("stop_accepting_requests", _at(0.95)),
            _action("reject_incoming_connections", _at(0.98)),
        ],
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": 20},
    }


def _monitor(name: str, message: str, **fields: str) -> Resource:
    return {"name": name, "typed_config": typed(f"envoy.extensions.resource_monitors.{message}", **fields)}


def _action(name: str, trigger: Resource) -> Resource:
    return {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": HEAP, **trigger}]}


def _at(share: float) -> Resource:
    return {"threshold": {"value": share}}


def _between(begin: float, end: float) -> Resource:
    return {"scaled": {"scaling_threshold": begin, "saturation_threshold": end}}
