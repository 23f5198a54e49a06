"""Vertex AI: "Custom container requirements for prediction"."""

from argosy_conformance.check import check
from argosy_conformance.clouds import calls
from argosy_conformance.expect import that
from argosy_conformance.subject import Subject

HEALTH, PREDICT = "/v1/endpoints/0/deployedModels/0", "/v1/endpoints/0/deployedModels/0:predict"
"""Where neither `AIP_HEALTH_ROUTE` nor `AIP_PREDICT_ROUTE` is given to the suite."""


def predict(subject: Subject) -> str:
    return subject.routes.get("predict", PREDICT)


@check("vertex.health", "GET of the health route is 200 within 10 s")
def health(subject: Subject) -> str | None:
    calls.healthy(subject, subject.routes.get("health", HEALTH), 10)
    return None


@check("vertex.instances", "instances are answered with predictions, one for each, in order")
def instances(subject: Subject) -> str | None:
    calls.alone_and_together(subject, predict(subject))
    return None


@check("vertex.parameters", "parameters that are empty change nothing")
def parameters(subject: Subject) -> str | None:
    calls.alone_and_together(subject, predict(subject), parameters={})
    calls.alone_and_together(subject, predict(subject), parameters=None)
    return None


@check("vertex.content", "an answer is JSON by its content type")
def content(subject: Subject) -> str | None:
    answer = subject.http.post(predict(subject), {"instances": calls.rows(subject)})
    calls.predictions(answer, 2)
    that(
        "json" in answer.headers.get("content-type", ""), f"the content type is {answer.headers.get('content-type')!r}"
    )
    return None


@check("vertex.raw", "a raw prediction may hold the Open Inference Protocol")
def raw(subject: Subject) -> str | None:
    return calls.tensors(subject, predict(subject))


@check("vertex.payload", "a request of 1.5 MB is taken")
def payload(subject: Subject) -> str | None:
    calls.padded(subject, predict(subject), 1_500_000)
    return None


@check("vertex.nonsense", "what is no request is a 4xx")
def nonsense(subject: Subject) -> str | None:
    calls.nonsense(subject, predict(subject))
    return None


@check("vertex.at_once", "requests at one time are all answered")
def at_once(subject: Subject) -> str | None:
    calls.at_once(subject, predict(subject))
    return None
