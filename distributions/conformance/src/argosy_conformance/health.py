"""Health: R1 to R3 of the contract."""

from argosy_conformance.check import Failed, check
from argosy_conformance.expect import error, ok, that
from argosy_conformance.subject import Subject
from argosy_conformance.transport import Answer, read_answer

ABSENT = "no-such-model-3f9c"


@check("health.live", "GET /v2/health/live is 200")
def live(subject: Subject) -> str | None:
    return _told(ok(subject.http.get("/v2/health/live")), "live")


@check("health.ready", "GET /v2/health/ready is 200")
def ready(subject: Subject) -> str | None:
    return _told(ok(subject.http.get("/v2/health/ready")), "ready")


@check("health.model_ready", "GET /v2/models/{m}/ready is 200 with {name, ready: true}", needs=("model",))
def model_ready(subject: Subject) -> str | None:
    return _ready_body(ok(subject.http.get(subject.path(tail="/ready"))), subject.model)


@check("health.version_ready", "GET /v2/models/{m}/versions/{v}/ready is 200", needs=("model",))
def version_ready(subject: Subject) -> str | None:
    version = subject.version()
    return _ready_body(ok(subject.http.get(subject.path(version=version, tail="/ready"))), subject.model)


@check("health.keep_alive", "many requests pass over one connection")
def keep_alive(subject: Subject) -> str | None:
    with subject.http.connect() as connection:
        for place in range(20):
            connection.sendall(subject.http.head("GET", "/v2/health/live", {}))
            answer = read_answer(connection)
            that(answer is not None, f"the connection was closed after {place} requests")
    return None


@check("health.unknown_model", "an unknown model is not ready: 404")
def unknown_model(subject: Subject) -> str | None:
    return error(subject.http.get(subject.path(ABSENT, tail="/ready")), (404,), (400, 503))


@check("health.unknown_version", "an unknown version is not ready: 404", needs=("model",))
def unknown_version(subject: Subject) -> str | None:
    return error(subject.http.get(subject.path(version="918273", tail="/ready")), (404,), (400, 501, 503))


@check("health.case", "model names are case-sensitive", needs=("model",))
def case(subject: Subject) -> str | None:
    other = subject.model.swapcase()
    if other == subject.model or any(entry.get("name") == other for entry in subject.index or []):
        other = ABSENT.upper()
    return error(subject.http.get(subject.path(other, tail="/ready")), (404,), (400, 503))


def _told(answer: Answer, key: str) -> str | None:
    """An empty body is legal; a JSON body must not contradict the status."""
    if not answer.body:
        return "the body is empty; JSON clients expect an object"
    try:
        value = answer.object()
    except Failed:
        return f"the body is no JSON object: {answer.seen()}"
    that(value.get(key, True) is True, f"status 200, but {answer.seen()}")
    return None if key in value else f"the body has no '{key}': {answer.seen()}"


def _ready_body(answer: Answer, model: str) -> str | None:
    if not answer.body:
        return "the body is empty; KServe's client expects {name, ready}"
    try:
        value = answer.object()
    except Failed:
        return f"the body is no JSON object: {answer.seen()}"
    that(value.get("ready", True) is True, f"status 200, but {answer.seen()}")
    that(value.get("name", model) == model, f"the name is not '{model}': {answer.seen()}")
    return None if {"name", "ready"} <= set(value) else f"the body has no name or no ready: {answer.seen()}"
