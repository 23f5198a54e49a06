"""Readiness: what says ready answers, and what does not say so does not."""

import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import msgspec

from argosy_conformance.cancellation import SLOW, slow
from argosy_conformance.check import Failed, Skipped, check
from argosy_conformance.expect import error, ok, that
from argosy_conformance.health import ABSENT
from argosy_conformance.rest import json_body
from argosy_conformance.subject import Subject
from argosy_conformance.transport import Answer


@check("readiness.agrees", "server ready means every model of the index is ready", needs=("repository",))
def agrees(subject: Subject) -> str | None:
    ok(subject.http.get("/v2/health/ready"))
    for entry in subject.index or []:
        name = str(entry.get("name"))
        status = subject.http.get(subject.path(name, tail="/ready")).status
        listed = entry.get("state") == "READY"
        that((status == 200) is listed, f"model '{name}' is {entry.get('state')} in the index, its ready says {status}")
    return None


@check("readiness.answers", "a ready model answers at once", needs=("model",))
def answers(subject: Subject) -> str | None:
    for _ in range(5):
        ok(subject.http.get(subject.path(tail="/ready")))
        subject.ask(subject.sample)
    return None


@check("readiness.failed_load", "a model that cannot be loaded never becomes ready", needs=("repository",))
def failed_load(subject: Subject) -> str | None:
    answer = subject.http.post(f"/v2/repository/models/{ABSENT}/load", {})
    note = _denied(answer)
    that(subject.http.get(subject.path(ABSENT, tail="/ready")).status != 200, "it is ready after the failed load")
    ok(subject.http.get("/v2/health/ready"))
    return note


@check("readiness.unloaded", "an unloaded model is not ready and not answered; loaded again it is",
       needs=("model", "repository", "disruption"))  # fmt: skip
def unloaded(subject: Subject) -> str | None:
    control(subject, "unload")
    try:
        status = subject.http.get(subject.path(tail="/ready")).status
        that(status in (400, 404, 503), f"ready answers {status} after an unload")
        note = error(
            subject.http.post(subject.path(), {"inputs": [t.json() for t in subject.sample]}), (404, 503), (400,)
        )
    finally:
        control(subject, "load")
    ok(subject.http.get(subject.path(tail="/ready")))
    subject.ask(subject.sample)
    return note


def control(subject: Subject, action: str) -> None:
    """Load or unload the model as tritonclient does. Skipped where the server does not allow it."""
    body = {"parameters": {"unload_dependents": False}} if action == "unload" else {}
    answer = subject.http.post(f"/v2/repository/models/{quote(subject.model)}/{action}", body)
    if 400 <= answer.status < 500 or answer.status == 501:
        raise Skipped(f"{action} is not allowed here: {answer.seen()}")
    ok(answer)


def _denied(answer: Answer) -> str | None:
    """Loading nonsense must fail, whether the name or the wish is at fault."""
    return error(answer, (404, 400, 403, 405, 501), (409, 500, 503))


@check("readiness.drain", "draining answers what is in flight and refuses what is new", needs=("drain",))
def drain(subject: Subject) -> str | None:
    assert subject.drain is not None
    sent = slow(subject)
    started = time.monotonic()
    want = subject.ask(sent, model=SLOW).tensors
    half = (time.monotonic() - started) / 2
    with ThreadPoolExecutor(1) as pool:
        in_flight = pool.submit(subject.ask, sent, model=SLOW)
        time.sleep(half)
        subject.drain()
        time.sleep(0.05)
        refused = _refuses(subject)
        that(in_flight.result().tensors == want, "the answer in flight changed")
    that(refused, "after the drain began, new requests are still answered 200")
    return None


def _refuses(subject: Subject) -> bool:
    """Whether a new connection is told that the server is not ready, or finds nobody there."""
    body = msgspec.json.encode(json_body(slow(subject)))
    fields = {"content-type": "application/json", "content-length": str(len(body))}
    try:
        ready = subject.http.raw(subject.http.head("GET", "/v2/health/ready", {}))
        answer = subject.http.raw(subject.http.head("POST", subject.path(SLOW), fields) + body)
    except Failed:
        return True
    that(ready is None or ready.status != 200, "ready is still 200 after the drain began")
    if answer is not None and answer.status != 200:
        error(answer, (503,))
    return answer is None or answer.status != 200


@check("readiness.loading", "a server that still loads says so")
def loading(subject: Subject) -> str | None:
    raise Skipped("needs the server's start; a URL does not permit it")
