"""A KServe runtime: protocol V1 at the name that the InferenceService has. V2 is the groups that are run beside."""

from urllib.parse import quote

from argosy_conformance.check import check
from argosy_conformance.clouds import calls
from argosy_conformance.expect import ok, that
from argosy_conformance.subject import Subject


def path(subject: Subject) -> str:
    return f"/v1/models/{quote(subject.model)}"


@check("kserve.names", "GET /v1/models lists the model")
def names(subject: Subject) -> str | None:
    listed = ok(subject.http.get("/v1/models")).object().get("models")
    that(isinstance(listed, list) and subject.model in listed, f"the models are {listed!r}")
    return None


@check("kserve.ready", "GET /v1/models/{m} says that it is ready")
def ready(subject: Subject) -> str | None:
    found = ok(subject.http.get(path(subject))).object()
    that(found.get("name") == subject.model, f"the name is {found.get('name')!r}")
    that(found.get("ready") in (True, "True"), f"ready is {found.get('ready')!r}")
    return None


@check("kserve.predict", "POST /v1/models/{m}:predict answers each instance, in order")
def predict(subject: Subject) -> str | None:
    calls.alone_and_together(subject, f"{path(subject)}:predict")
    return None


@check("kserve.unknown", "a model that is not there is a 404")
def unknown(subject: Subject) -> str | None:
    answer = subject.http.post("/v1/models/no-such-model-3f9c:predict", {"instances": calls.rows(subject)})
    that(answer.status == 404, f"expected 404, saw {answer.seen()}")
    return None


@check("kserve.nonsense", "what is no request is a 4xx")
def nonsense(subject: Subject) -> str | None:
    calls.nonsense(subject, f"{path(subject)}:predict")
    return None


@check("kserve.name", "it answers to the name of the service")
def name(subject: Subject) -> str | None:
    calls.any_name(subject, "/v2/health/live")
    return None
