"""Envoy's tracer: spans by OTLP over HTTP, with W3C `traceparent`. Its cluster is part of the bootstrap."""

import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from argosy.gateway.access_log import LUA, MODEL, TOKENS
from argosy.process.envoy import Resource, extension, set_header, typed
from argosy.spec.errors import InvalidArgument

CLUSTER = "@collector"
SERVICE = "argosy-gateway"
CONTEXT = ("traceparent", "tracestate")
"""The headers of W3C Trace Context."""

EXPORT_SECONDS = 5
AT_ONCE = 8
"""Exports in flight; past it, and past 2048 spans that wait, Envoy drops."""
TAGS = {
    "argosy.endpoint": ("route", LUA, "endpoint"),
    "argosy.version": ("cluster", MODEL, "version"),
    "argosy.revision": ("cluster", MODEL, "revision"),
    "argosy.replica": ("host", MODEL, "replica"),
    "gen_ai.usage.input_tokens": ("request", TOKENS, "input"),
    "gen_ai.usage.output_tokens": ("request", TOKENS, "output"),
    "gen_ai.usage.cache_read.input_tokens": ("request", TOKENS, "cached"),
    "gen_ai.usage.reasoning.output_tokens": ("request", TOKENS, "reasoning"),
    "gen_ai.response.finish_reasons": ("request", TOKENS, "finish"),
    "gen_ai.request.max_tokens": ("request", TOKENS, "asked"),
}
"""Attribute of a span → where Envoy finds it."""


class Collector(msgspec.Struct, frozen=True, kw_only=True):
    """Where spans go. `headers` are in clear; `share` of the requests without a context are sampled."""

    url: str
    share: float
    callers: bool = True
    headers: Mapping[str, str] = {}

    @property
    def address(self) -> tuple[str, int, bool]:
        """Host, port, and whether TLS is spoken there."""
        parts = urlsplit(self.url)
        secure = parts.scheme == "https"
        return parts.hostname or "", parts.port or (443 if secure else 80), secure


def manager(collector: Collector) -> Resource:
    """Fields of the connection manager. Request ids stay as callers gave them."""
    return {
        "tracing": {
            "client_sampling": {"value": 0},
            "random_sampling": {"value": 100},
            "overall_sampling": {"value": 100},
            "spawn_upstream_span": True,
            "custom_tags": [
                {"tag": tag, "metadata": {"kind": {kind: {}}, "metadata_key": {"key": space, "path": [{"key": key}]}}}
                for tag, (kind, space, key) in TAGS.items()
            ],
            "provider": _provider(collector),
        },
        "request_id_extension": {
            "typed_config": typed(
                "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
                pack_trace_reason=False,
                use_request_id_for_trace_sampling=False,
            )
        },
    }


def _provider(collector: Collector) -> Resource:
    by_id = extension(
        "envoy.tracers.opentelemetry.samplers.trace_id_ratio_based",
        "tracers.opentelemetry.samplers.v3.TraceIdRatioBasedSamplerConfig",
        sampling_percentage={"numerator": round(collector.share * 1_000_000), "denominator": "MILLION"},
    )
    # As the caller says; where nobody has said anything, by the trace's id.
    sampler = extension(
        "envoy.tracers.opentelemetry.samplers.parent_based",
        "tracers.opentelemetry.samplers.v3.ParentBasedSamplerConfig",
        wrapped_sampler=by_id,
    )
    service: Resource = {
        "http_uri": {"uri": collector.url, "cluster": CLUSTER, "timeout": f"{EXPORT_SECONDS}s"},
        # A percent sign begins a command of Envoy's formatter.
        "request_headers_to_add": [
            set_header(name, value.replace("%", "%%")) for name, value in collector.headers.items()
        ],
    }
    config = typed(
        "envoy.config.trace.v3.OpenTelemetryConfig",
        http_service=service,
        service_name=SERVICE,
        sampler=sampler,
        max_cache_size=2048,
    )
    return {"name": "envoy.tracers.opentelemetry", "typed_config": config}


def cluster(collector: Collector) -> Resource:
    """The static cluster of the collector. Raises InvalidArgument where TLS has no roots to trust."""
    host, port, secure = collector.address
    address = {"socket_address": {"address": host, "port_value": port}}
    found: Resource = {
        "name": CLUSTER,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "respect_dns_ttl": True,
        "circuit_breakers": {"thresholds": [{"max_requests": AT_ONCE, "max_pending_requests": AT_ONCE}]},
        "load_assignment": {
            "cluster_name": CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    return found | ({"transport_socket": _tls(host)} if secure else {})


GATHERED = {"tracing.opentelemetry.min_flush_spans": 256, "tracing.opentelemetry.flush_interval_ms": 1000}
"""The runtime that lets spans gather: Envoy would send five at a time."""


def _tls(host: str) -> Resource:
    roots = ssl.get_default_verify_paths().cafile
    if not roots:
        raise InvalidArgument("tracing.url begins with https://, and this machine has no file of certificates to trust")
    matcher = {"san_type": "DNS", "matcher": {"exact": host}}
    context = {"trusted_ca": {"filename": roots}, "match_typed_subject_alt_names": [matcher]}
    return extension(
        "envoy.transport_sockets.tls",
        "transport_sockets.tls.v3.UpstreamTlsContext",
        sni=host,
        common_tls_context={"validation_context": context},
    )
