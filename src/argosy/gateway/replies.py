"""What Envoy itself answers when something fails: `{"error": …}` for HTTP, the bare sentence for gRPC."""

from typing import Any

from argosy.gateway.xds import CONTENT_JSON, Resource, set_header, typed

SAID = "%LOCAL_REPLY_BODY%"

SHORTLY = "try again shortly"
SENTENCES: tuple[tuple[str, Resource], ...] = (
    ("no replica of this endpoint is ready; " + SHORTLY, {"flags": ["UH"]}),
    ("this endpoint has too many requests waiting; " + SHORTLY, {"flags": ["UO"]}),
    ("the endpoint did not answer within its time limit", {"flags": ["UT"]}),
    ("the request took too long to arrive or to be answered", {"flags": ["SI", "DT"]}),
    ("no replica of this endpoint could be reached; " + SHORTLY, {"flags": ["UF", "UC", "UR", "LR", "URX"]}),
    ("the rate limit of this API key is spent; see Retry-After", {"flags": ["RL"]}),
    ("there is nothing at this path", {"flags": ["NR"]}),
    ("the request body is larger than this gateway allows", {"status": 413}),
)
"""The first that fits is said. Flags are Envoy's response flags."""

OUR_OWN = ("direct_response", "lua_response")
"""Details of answers that already have the right body."""


def local_replies() -> Resource:
    """The `local_reply_config`: every answer of Envoy's own making, once for gRPC and once for HTTP."""
    mappers = [_keep()]
    for sentence, when in SENTENCES:
        mappers += [_mapper([_is_grpc(), *_filters(when)], sentence), _mapper(_filters(when), sentence, json=True)]
    anything: Resource = {"status_code_filter": _comparison("GE", 100)}
    mappers += [_mapper([_is_grpc(), anything], SAID), _mapper([anything], f"gateway: {SAID}", json=True)]
    return {"mappers": mappers}


def _keep() -> Resource:
    said = " || ".join(f"response.code_details == '{details}'" for details in OUR_OWN)
    cel = typed("envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter", expression=said)
    return {"filter": {"extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": cel}}}


def _mapper(filters: list[Resource], sentence: str, *, json: bool = False) -> Resource:
    form: Resource = {"json_format": {"error": sentence}, "content_type": CONTENT_JSON}
    if not json:
        form = {"text_format_source": {"inline_string": sentence}, "content_type": "text/plain"}
    mapper: Resource = {"filter": _all(filters), "body_format_override": form}
    if sentence.endswith(SHORTLY):
        mapper["headers_to_add"] = [set_header("retry-after", "1")]
    return mapper


def _all(filters: list[Resource]) -> Resource:
    return filters[0] if len(filters) == 1 else {"and_filter": {"filters": filters}}


def _filters(when: Resource) -> list[Resource]:
    if "status" in when:
        return [{"status_code_filter": _comparison("EQ", when["status"])}]
    return [{"response_flag_filter": {"flags": when["flags"]}}]


def _comparison(operator: str, value: int) -> Resource:
    return {"comparison": {"op": operator, "value": {"default_value": value, "runtime_key": "argosy.unused"}}}


def _is_grpc() -> Resource:
    match: dict[str, Any] = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    return {"header_filter": {"header": match}}
