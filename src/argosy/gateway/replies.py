"""What Envoy itself answers when something fails: `{"error": …}` for HTTP, the bare sentence for gRPC."""

from typing import Any

from argosy.gateway.access_log import cel
from argosy.process.envoy import CONTENT_JSON, Resource, set_header
from argosy.serving.internal_headers import KEY
from argosy.spec.errors import FAILED, INVALID, OPENAI

SAID = "%LOCAL_REPLY_BODY%"

UNREACHED = ["UF", "UR", "LR", "URX"]
UNKNOWN, INVALID_ARGUMENT, DEADLINE, EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 2, 3, 4, 8, 12, 13, 14
"""gRPC statuses."""

LABEL_BYTES = 1024 * 1024
"""Of one request's labels."""
LANGUAGE_BYTES = 16 * 1024 * 1024
"""Of one request to a language model, which is read whole: its model's name is in it."""
LANGUAGE = r"(/v1/|/endpoints/[^/]+/v1/(chat|completions|responses|embeddings|rerank)).*"
FILES = r"/v1/files(\?.*)?"
LABELS = r"/v2/models/[^/]+/feedback(\?.*)?"

SHORTLY = "try again shortly"
SENTENCES: tuple[tuple[str, int, Resource], ...] = (
    (f"no replica of this endpoint is ready; {SHORTLY}", UNAVAILABLE, {"flags": ["UH"]}),
    (f"this endpoint has as many requests as its limits allow; {SHORTLY}", UNAVAILABLE, {"flags": ["UO"]}),
    ("the endpoint did not answer within its time limit", DEADLINE, {"flags": ["UT"]}),
    ("the request took too long to arrive or to be answered", DEADLINE, {"flags": ["SI", "DT"]}),
    ("the replica ended before it answered; this request may be what crashes the model", INTERNAL, {"flags": ["UC"]}),
    (f"no replica of this endpoint could be reached; {SHORTLY}", UNAVAILABLE, {"flags": UNREACHED}),
    (
        "the rate limit of this API key, or of callers without one, is spent; see Retry-After",
        EXHAUSTED,
        {"status": 429},
    ),
    ("the path has an escaped slash: no name here has one", INVALID_ARGUMENT, {"details": "path_normalization_failed"}),
    ("the gateway upgrades no connection: send a plain request", UNIMPLEMENTED, {"details": "upgrade_failed"}),
    ("there is nothing at this path", UNIMPLEMENTED, {"flags": ["NR"]}),
    ("the file is larger than this gateway allows (gateway.max_body_bytes)", EXHAUSTED, {"status": 413, "path": FILES}),
    (f"a request of over {LANGUAGE_BYTES} bytes to a language model", EXHAUSTED, {"status": 413, "path": LANGUAGE}),
    (f"labels of over {LABEL_BYTES} bytes: send them in parts", EXHAUSTED, {"status": 413, "path": LABELS}),
)
"""What is said, its gRPC status and when: the first that fits. Flags are Envoy's response flags."""

BY_STATUS = {
    UNKNOWN: (FAILED, "gateway_error"),
    INVALID_ARGUMENT: OPENAI[400],
    DEADLINE: (FAILED, "timeout"),
    EXHAUSTED: OPENAI[429],
    UNIMPLEMENTED: (INVALID, "not_found"),
    INTERNAL: (FAILED, "engine_failed"),
    UNAVAILABLE: OPENAI[503],
}
"""gRPC's status → type and code of an error of OpenAI's API."""

ERROR = "argosy-error"
OUR_OWN = ("direct_response", "lua_response")
"""Details of answers that already have the right body."""


def local_replies(max_body_bytes: int) -> Resource:
    """The `local_reply_config`: every answer of Envoy's own making, once for gRPC and once for HTTP."""
    own = cel(" || ".join(f"response.code_details == '{each}'" for each in OUR_OWN))
    mappers = [_bare([own]), {"filter": own}]
    too_large = (
        f"the request body is larger than the {max_body_bytes} bytes this gateway allows (gateway.max_body_bytes)"
    )
    for sentence, grpc_status, when in (*SENTENCES, (too_large, EXHAUSTED, {"status": 413})):
        filters = _filters(when)
        mappers += [_bare(filters, sentence), _grpc(filters, sentence, grpc_status)]
        openai = OPENAI[413] if when.get("status") == 413 else BY_STATUS[grpc_status]
        mappers += [_http([_path(LANGUAGE), *filters], sentence, openai), _http(filters, sentence)]
    anything: Resource = {"status_code_filter": _comparison("GE", 100)}
    last = [_bare([anything]), _grpc([anything], SAID, UNKNOWN)]
    last += [_http([_path(LANGUAGE)], f"gateway: {SAID}", BY_STATUS[UNKNOWN]), _http([anything], f"gateway: {SAID}")]
    return {"mappers": [*mappers, *last]}


def _bare(filters: list[Resource], sentence: str = "") -> Resource:
    """For callers without a key over HTTP/2: the message is a header, since a stream whose body nobody takes stays."""
    nobody: Resource = {"header_filter": {"header": {"name": KEY, "present_match": True, "invert_match": True}}}
    bare = [cel("request.protocol == 'HTTP/2' && response.code >= 400"), nobody, _is_grpc(invert=True), *filters]
    form = {"text_format_source": {"inline_string": ""}}
    mapper: Resource = {"filter": _all(bare), "body_format_override": form}
    return {**mapper, "headers_to_add": [set_header(ERROR, sentence)]} if sentence else mapper


def _path(regex: str) -> Resource:
    path: Resource = {"name": ":path", "string_match": {"safe_regex": {"regex": regex}}}
    return {"header_filter": {"header": path}}


def _http(filters: list[Resource], sentence: str, openai: tuple[str, str] | None = None) -> Resource:
    said: Any = sentence if openai is None else {"message": sentence, "type": openai[0], "code": openai[1]}
    form = {"json_format": {"error": said}, "content_type": CONTENT_JSON}
    mapper: Resource = {"filter": _all(filters), "body_format_override": form}
    return {**mapper, "headers_to_add": [set_header("retry-after", "1")]} if SHORTLY in sentence else mapper


def _grpc(filters: list[Resource], sentence: str, status: int) -> Resource:
    form = {"text_format_source": {"inline_string": sentence}}
    mapper: Resource = {"filter": _all([_is_grpc(), *filters]), "body_format_override": form}
    return {**mapper, "headers_to_add": [set_header("grpc-status", str(status))]} if status != UNKNOWN else mapper


def _all(filters: list[Resource]) -> Resource:
    return filters[0] if len(filters) == 1 else {"and_filter": {"filters": filters}}


def _filters(when: Resource) -> list[Resource]:
    if "details" in when:
        return [cel(f"response.code_details == '{when['details']}'")]
    if "status" in when:
        also = [_path(when["path"])] if "path" in when else []
        return [{"status_code_filter": _comparison("EQ", when["status"])}, *also]
    return [{"response_flag_filter": {"flags": when["flags"]}}]


def _comparison(operator: str, value: int) -> Resource:
    return {"comparison": {"op": operator, "value": {"default_value": value, "runtime_key": "argosy.unused"}}}


def _is_grpc(*, invert: bool = False) -> Resource:
    """What Envoy takes for gRPC, and answers with a head alone."""
    form = {"safe_regex": {"regex": r"application/grpc(\+.*)?"}}
    match: dict[str, Any] = {"name": "content-type", "string_match": form}
    match |= {"invert_match": True, "treat_missing_header_as_empty": True} if invert else {}
    return {"header_filter": {"header": match}}
