"""Cloud Run: "Container runtime contract"."""

from argosy_conformance.check import check
from argosy_conformance.clouds import calls
from argosy_conformance.expect import ok
from argosy_conformance.subject import Subject


def invoke(subject: Subject) -> str:
    return subject.routes.get("predict", "/invocations")


def health(subject: Subject) -> str:
    return subject.routes.get("health", "/health")


@check("cloudrun.health", "GET of the probe's path is 200 within 1 s")
def probe(subject: Subject) -> str | None:
    calls.healthy(subject, health(subject), 1)
    return None


@check("cloudrun.name", "it answers to the name of the service, behind the proxy's headers")
def name(subject: Subject) -> str | None:
    calls.any_name(subject, health(subject), {"x-forwarded-proto": "https", "x-cloud-trace-context": "0/0;o=0"})
    return None


@check("cloudrun.rows", "rows are answered, in order")
def rows(subject: Subject) -> str | None:
    calls.alone_and_together(subject, invoke(subject))
    return None


@check("cloudrun.chunked", "a body without a length is taken")
def chunked(subject: Subject) -> str | None:
    calls.chunked(subject, invoke(subject))
    return None


@check("cloudrun.at_once", "requests at one time are all answered")
def at_once(subject: Subject) -> str | None:
    calls.at_once(subject, invoke(subject))
    return None


@check("cloudrun.unknown", "a path that is not there is a 404, and the server answers on")
def unknown(subject: Subject) -> str | None:
    answer = subject.http.get("/no-such-path-3f9c")
    ok(subject.http.get(health(subject)))
    return None if answer.status == 404 else f"{answer.status} instead of 404"
