"""The JSON access log: one line a request, numbers as numbers. Durations are milliseconds, absent values null."""

from argosy.gateway.xds import Resource, typed

LUA = "envoy.filters.http.lua"
MODEL = "argosy"
"""The metadata namespace of clusters and hosts."""

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
    "key": "%REQ(X-ARGOSY-KEY-ID)%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "ms": "%DURATION%",
    "upstream_ms": "%COMMON_DURATION(US_TX_BEG:US_RX_END:ms)%",
    "first_byte_ms": "%COMMON_DURATION(DS_RX_BEG:US_RX_BODY_BEG:ms)%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
}


def access_log(path: str) -> Resource:
    """A file logger of `FIELDS`."""
    config = typed(
        "envoy.extensions.access_loggers.file.v3.FileAccessLog", path=path, log_format={"json_format": dict(FIELDS)}
    )
    return {"name": "envoy.access_loggers.file", "typed_config": config}
