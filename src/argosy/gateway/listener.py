"""The listener: connection manager, filters and TLS. It depends on the configuration alone: keys drain nothing."""

from argosy.gateway import grpc_names, tracing
from argosy.gateway.access_log import LUA, access_log, grpc_failures, payloads
from argosy.gateway.addresses import by_address
from argosy.gateway.keys import language, lua
from argosy.gateway.model import GatewayConfig, Tls
from argosy.gateway.replies import local_replies
from argosy.process.envoy import Resource, extension, file_source, seconds, typed
from argosy.serving.internal_headers import KEY, RATE, RECORD, SERVER

NAME = "argosy"
"""The name of the one listener, route table and virtual host."""
RATE_LIMIT = "envoy.filters.http.local_ratelimit"
FIRST = "argosy.first_message"
LANGUAGE, AFFINITY = "argosy.language", "argosy.affinity"
NAMED, NAMED_VERSION, NAMED_ADAPTER = "x-argosy-endpoint", "x-argosy-version", "x-argosy-adapter"
"""Which endpoint, version and adapter the body of a request to a language model names."""
EXTRACTION = "envoy.filters.http.grpc_field_extraction"
WHOLE = "envoy.filters.http.buffer"
SECRET = "argosy-tls"
OURS = (KEY, "x-argosy-shadow", RECORD, RATE, SERVER, NAMED, NAMED_VERSION, NAMED_ADAPTER)
"""Headers that only the gateway sets."""
STREAMS = 40
"""At once, in one connection: a client with more to ask waits, or opens another."""
HEADERS_KB = 16
"""Of one request. They cost memory before anything can be known of who sends them."""
READ_AT_ONCE = 128 * 1024
"""Bytes of one connection before the next has its turn, and how much of an answer may lie unsent."""
HTTP2_IDLE_SECONDS = 15.0
"""How long a connection of HTTP/2 may be without a request. Its end is announced, so that none is lost."""
HANDSHAKE_SECONDS = 5
"""From the first bytes of a connection to the end of its TLS handshake."""
UNREAD_SECONDS = 5.0
"""How long an answer that is complete may wait for its reader to take any of it."""
HTTP2: Resource = {
    "max_concurrent_streams": STREAMS,
    "initial_stream_window_size": 1024 * 1024,
    "initial_connection_window_size": 4 * 1024 * 1024,
    "max_outbound_frames": 2000,
    "max_outbound_control_frames": 1000,
    "max_consecutive_inbound_frames_with_empty_payload": 1,
    "max_inbound_priority_frames_per_stream": 100,
    "max_inbound_window_update_frames_per_data_frame_sent": 10,
    "stream_reset_burst": 100,
    "stream_reset_rate": 20,
}
"""Bounds of a connection; all but the first few are Envoy's defaults, written down so that they stay."""


def listener(config: GatewayConfig, rds_path: str, sds_path: str) -> Resource:
    """The LDS resource."""
    tls: Resource = {}
    if config.tls:
        tls = {"transport_socket": _transport(sds_path), "transport_socket_connect_timeout": f"{HANDSHAKE_SECONDS}s"}
    return typed(
        "envoy.config.listener.v3.Listener",
        name=NAME,
        address={"socket_address": {"address": config.host, "port_value": config.port}},
        # With SO_REUSEPORT two gateways would share a port in silence instead of the second one being refused.
        enable_reuse_port=False,
        per_connection_buffer_limit_bytes=READ_AT_ONCE,
        **by_address(
            config, *({"filters": [_connection_manager(config, codec, rds_path)], **tls} for codec in ("HTTP1", "AUTO"))
        ),
    )


def secret(tls: Tls) -> Resource:
    """The SDS resource: the files stay where they are, and Envoy watches their folder."""
    folder = tls.certificate.rpartition("/")[0] or "/"
    return typed(
        "envoy.extensions.transport_sockets.tls.v3.Secret",
        name=SECRET,
        tls_certificate={
            "certificate_chain": {"filename": tls.certificate},
            "private_key": {"filename": tls.key},
            "watched_directory": {"path": folder},
        },
    )


def _connection_manager(config: GatewayConfig, codec: str, rds_path: str) -> Resource:
    idle = config.idle_seconds if codec == "HTTP1" else min(HTTP2_IDLE_SECONDS, config.idle_seconds)
    foreign = () if config.collector is None or config.collector.callers else tracing.CONTEXT
    traced = tracing.manager(config.collector) if config.collector else {}
    return extension(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=NAME,
        codec_type=codec,
        rds={"route_config_name": NAME, "config_source": file_source(rds_path)},
        http_filters=http_filters(config),
        access_log=[access_log(config.access_log_path), grpc_failures(), *([payloads()] if config.recorder else [])],
        local_reply_config=local_replies(config.max_body_bytes),
        early_header_mutation_extensions=[
            extension(
                "envoy.http.early_header_mutation.header_mutation",
                "http.early_header_mutation.header_mutation.v3.HeaderMutation",
                mutations=[{"remove": header} for header in (*OURS, *foreign)],
            )
        ],
        server_name="argosy",
        generate_request_id=True,
        preserve_external_request_id=True,
        always_set_request_id_in_response=True,
        use_remote_address=True,
        internal_address_config={},
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action="REJECT_REQUEST",
        request_headers_timeout=seconds(config.headers_seconds),
        stream_idle_timeout=seconds(config.idle_seconds),
        stream_flush_timeout=seconds(UNREAD_SECONDS),
        drain_timeout="2s",
        delayed_close_timeout="1s",
        common_http_protocol_options={"idle_timeout": seconds(idle), "max_headers_count": 100},
        http_protocol_options={"accept_http_10": True, "default_host_for_http_10": NAME},
        http2_protocol_options=HTTP2,
        max_request_headers_kb=HEADERS_KB,
        **traced,
    )


def http_filters(config: GatewayConfig) -> list[Resource]:
    """In order. What is off is there only where a route asks for it."""
    return [
        _off(extension(FIRST, "filters.http.lua.v3.Lua", clear_route_cache=False)),
        _off(
            extension(
                EXTRACTION,
                "filters.http.grpc_field_extraction.v3.GrpcFieldExtractionConfig",
                descriptor_set={"inline_bytes": grpc_names.descriptor_set()},
                extractions_by_method=grpc_names.extractions(),
            )
        ),
        extension(LUA, "filters.http.lua.v3.Lua", clear_route_cache=False),
        _off(extension(WHOLE, "filters.http.buffer.v3.Buffer", max_request_bytes=config.max_body_bytes)),
        # Its script has no keys in it, so that what it holds of leases outlives every change of routes and keys.
        _off(
            extension(
                LANGUAGE, "filters.http.lua.v3.Lua", clear_route_cache=False, default_source_code=language(config)
            )
        ),
        # What it knows of caches and of requests in flight outlives every change of routes.
        _off(
            extension(
                AFFINITY,
                "filters.http.lua.v3.Lua",
                clear_route_cache=False,
                default_source_code={"inline_string": lua("affinity")},
            )
        ),
        extension(
            "envoy.filters.http.body_size_limit",
            "filters.http.body_size_limit.v3.BodySizeLimit",
            max_request_bytes=str(config.max_body_bytes),
        ),
        _off(extension(RATE_LIMIT, "filters.http.local_ratelimit.v3.LocalRateLimit", stat_prefix=NAME)),
        extension("envoy.filters.http.router", "filters.http.router.v3.Router", suppress_envoy_headers=True),
    ]


def _off(part: Resource) -> Resource:
    return {**part, "disabled": True}


def _transport(sds_path: str) -> Resource:
    return extension(
        "envoy.transport_sockets.tls",
        "transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificate_sds_secret_configs": [{"name": SECRET, "sds_config": file_source(sds_path)}],
        },
    )
