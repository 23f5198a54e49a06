"""Hugging Face Inference Endpoints with a custom container."""

from argosy_conformance.check import check
from argosy_conformance.clouds import calls
from argosy_conformance.subject import Subject


def root(subject: Subject) -> str:
    return subject.routes.get("predict", "/")


@check("huggingface.health", "GET of the health route is 200")
def health(subject: Subject) -> str | None:
    calls.healthy(subject, subject.routes.get("health", "/health"), 5)
    return None


@check("huggingface.inputs", "rows under inputs are answered, in order")
def inputs(subject: Subject) -> str | None:
    calls.alone_and_together(subject, root(subject), "inputs")
    return None


@check("huggingface.parameters", "parameters that are empty change nothing")
def parameters(subject: Subject) -> str | None:
    calls.alone_and_together(subject, root(subject), "inputs", parameters={})
    return None


@check("huggingface.nonsense", "what is no request is a 4xx")
def nonsense(subject: Subject) -> str | None:
    calls.nonsense(subject, root(subject))
    return None


@check("huggingface.name", "it answers to the name of the endpoint")
def name(subject: Subject) -> str | None:
    calls.any_name(subject, subject.routes.get("health", "/health"))
    return None
