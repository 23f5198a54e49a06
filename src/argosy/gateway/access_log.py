"""The JSON access log: one line a request; durations are milliseconds, absent values null. `region` is another that
answered, `peer` true where another asked. The count of failed gRPC
calls, which Envoy's own statistics count as successes. And what is recorded of requests to language models, which goes
to the recorder at a Unix socket, in Fluentd's format (MessagePack), once a request has ended, however it did."""

from argosy.process.envoy import Resource, extension, typed

LUA = "envoy.filters.http.lua"
MODEL = "argosy"
"""The metadata namespace of clusters and hosts."""
TOKENS = "argosy.language"
"""The metadata namespace in which `lua/language.lua` counts, at each part of an answer: one that is aborted has what
was counted so far."""
PAYLOAD = "argosy.payload"
"""The metadata namespace in which it gathers what is recorded."""
RECORDER = "@recorder"
"""The cluster of the recorder, part of the bootstrap."""
PING = b"\xc0"
"""What it is asked to say back: nothing at all, in MessagePack."""
WAITING_BYTES = 4 * 1024 * 1024
"""Of each worker, for a recorder that is not there; what is more is lost, and counted in `entries_lost`."""
GRPC_FAILURES = "argosy.grpc_failures.cluster"
"""The statistic of `grpc_failures`, before the cluster's name."""
FAULTS = ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
"""gRPC statuses that are the server's fault, as OpenTelemetry has them. All others are the caller's, as 4xx are."""

FIELDS = {
    "time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "trace_id": "%TRACE_ID%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "protocol": "%PROTOCOL%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS_NUMBER%",
    "endpoint": f"%METADATA(ROUTE:{LUA}:endpoint)%",
    "version": f"%METADATA(CLUSTER:{MODEL}:version)%",
    "revision": f"%METADATA(CLUSTER:{MODEL}:revision)%",
    "replica": f"%METADATA(UPSTREAM_HOST:{MODEL}:replica)%",
    "region": f"%METADATA(UPSTREAM_HOST:{MODEL}:region)%",
    "peer": f"%METADATA(ROUTE:{LUA}:peer)%",
    "key": "%REQ(X-ARGOSY-KEY-ID)%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "ms": "%DURATION%",
    "upstream_ms": "%COMMON_DURATION(US_TX_BEG:US_RX_END:ms)%",
    "first_byte_ms": "%COMMON_DURATION(DS_RX_BEG:US_RX_BODY_BEG:ms)%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "tokens": f"%DYNAMIC_METADATA({TOKENS})%",
}

RECORDED = {
    name: FIELDS[name] for name in ("request_id", "endpoint", "version", "replica", "status", "flags", "ms")
} | {
    "time": "%START_TIME(%s.%6f)%",
    "tokens": FIELDS["tokens"],
    "payload": f"%DYNAMIC_METADATA({PAYLOAD})%",
}


def access_log(path: str) -> Resource:
    """A file logger of `FIELDS`."""
    config = typed(
        "envoy.extensions.access_loggers.file.v3.FileAccessLog", path=path, log_format={"json_format": dict(FIELDS)}
    )
    return {"name": "envoy.access_loggers.file", "typed_config": config}


def grpc_failures() -> Resource:
    """A counter for each cluster of the calls that a replica answered with a status of `FAULTS`. Envoy's filter for
    this, `grpc_stats`, costs 14,000 instructions of a call's 400,000."""
    is_grpc = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    replica = "response.code_details == 'via_upstream'"
    stat = {"name": "grpc_failures", "tags": [{"name": "cluster", "value_format": "%UPSTREAM_CLUSTER%"}]}
    logger = extension(
        "envoy.access_loggers.stats",
        "access_loggers.stats.v3.Config",
        stat_prefix="argosy",
        counters=[{"stat": stat, "value_fixed": 1}],
    )
    filters = [{"header_filter": {"header": is_grpc}}, {"grpc_status_filter": {"statuses": list(FAULTS)}}, cel(replica)]
    return {**logger, "filter": {"and_filter": {"filters": filters}}}


def cel(expression: str) -> Resource:
    """An access log filter."""
    config = typed("envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter", expression=expression)
    return {"extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": config}}


def payloads() -> Resource:
    """A logger of `RECORDED`, for requests of which `lua/language.lua` says so."""
    config = typed(
        "envoy.extensions.access_loggers.fluentd.v3.FluentdAccessLogConfig",
        cluster=RECORDER,
        tag="payload",
        stat_prefix="argosy",
        buffer_flush_interval="0.5s",
        buffer_size_bytes=WAITING_BYTES,
        record=dict(RECORDED),
    )
    matcher = {"filter": PAYLOAD, "path": [{"key": "send"}], "value": {"bool_match": True}}
    asked = {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}
    return {"name": "envoy.access_loggers.fluentd", "filter": asked, "typed_config": config}


def recorder(path: str) -> Resource:
    """Its cluster. A recorder that takes nothing any more is left, with what was written for it: a logger has no bound
    for that."""
    host = {"endpoint": {"address": {"pipe": {"path": path}}}}
    asked = {"send": {"text": PING.hex()}, "receive": [{"text": PING.hex()}]}
    often = {"interval": "3s", "no_traffic_interval": "3s", "timeout": "3s"}
    return {
        "name": RECORDER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "health_checks": [{**often, "healthy_threshold": 1, "unhealthy_threshold": 3, "tcp_health_check": asked}],
        "close_connections_on_host_health_failure": True,
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "load_assignment": {"cluster_name": RECORDER, "endpoints": [{"lb_endpoints": [host]}]},
    }
