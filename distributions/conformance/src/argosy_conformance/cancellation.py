"""Cancellation: callers that leave, and callers whose time runs out."""

import time
from typing import Any

import msgspec

from argosy_conformance.batching import together
from argosy_conformance.check import Skipped, check
from argosy_conformance.expect import error, that
from argosy_conformance.rest import json_body, read
from argosy_conformance.rpc import Refused, request
from argosy_conformance.subject import Subject
from argosy_conformance.tensors import Tensor, made
from argosy_conformance.transport import JSON

SLOW = "slow"
LEAVERS = 24


def slow(subject: Subject) -> list[Tensor]:
    """Valid input of the model `slow`. Skipped where there is none."""
    if subject.metadata(SLOW) is None:
        raise Skipped(f"no model '{SLOW}' (an identity that takes 0.2 s to 5 s a call)")
    port = subject.ports("inputs", SLOW)[0]
    return [made(port.name, port.datatype, [1 if axis < 0 else axis for axis in port.shape])]


def _leave(subject: Subject, path: str, body: bytes) -> None:
    """Send a whole request and go away without reading."""
    with subject.http.connect() as connection:
        connection.sendall(subject.http.head("POST", path, {**JSON, "content-length": str(len(body))}) + body)


@check("cancellation.leave", "after many callers left early, the model answers as before", needs=("model",))
def leave(subject: Subject) -> str | None:
    want = subject.ask(subject.sample)
    body = msgspec.json.encode(json_body(subject.sample))
    together(LEAVERS, lambda place: _leave(subject, subject.path(), body))
    found = subject.ask(subject.sample)
    that(found.tensors == want.tensors, "the answer changed")
    return None


@check("cancellation.half_body", "callers that leave inside their body cost nothing", needs=("model",))
def half_body(subject: Subject) -> str | None:
    def call(place: int) -> None:
        with subject.http.connect() as connection:
            head = subject.http.head("POST", subject.path(), {**JSON, "content-length": "5000"})
            connection.sendall(head + b'{"inputs": [' + b" " * place)

    together(LEAVERS, call)
    subject.alive()
    return None


def _seconds(subject: Subject, sent: list[Tensor]) -> float:
    """What one call takes."""
    started = time.monotonic()
    subject.ask(sent, model=SLOW)
    return time.monotonic() - started


@check("cancellation.frees", "callers that left free their places in the queue")
def frees(subject: Subject) -> str | None:
    """The better of two rounds counts: either machine may have paused."""
    sent = slow(subject)
    once = min(_seconds(subject, sent) for _ in range(2))
    body = msgspec.json.encode(json_body(sent))
    waited = limit = 4 * once + 1
    for _ in range(2):
        together(LEAVERS, lambda place: _leave(subject, subject.path(SLOW), body))
        time.sleep(0.3)
        if (waited := _seconds(subject, sent)) < limit:
            break
    that(waited < limit, f"one call takes {once:.2f} s; behind {LEAVERS} callers that left it took {waited:.2f} s")
    return None


def _timed(subject: Subject, timeout: Any) -> Any:
    return subject.http.post(subject.path(SLOW), json_body(slow(subject), parameters={"timeout": timeout}))


@check("cancellation.deadline", "parameters.timeout of 50 ms on a slower model: 504")
def deadline(subject: Subject) -> str | None:
    started = time.monotonic()
    answer = _timed(subject, 50_000)
    took = time.monotonic() - started
    if answer.status == 200:
        return f"parameters.timeout is not honoured: answered after {took:.2f} s"
    return error(answer, (504,), (503, 400, 408))


@check("cancellation.in_time", "a timeout of a minute changes nothing", needs=("model",))
def in_time(subject: Subject) -> str | None:
    read(subject.judge(json_body(subject.sample, parameters={"timeout": 60_000_000})))
    return None


@check("cancellation.bad_timeout", "a timeout that is no number: 400", needs=("model",))
def bad_timeout(subject: Subject) -> str | None:
    answer = subject.judge(json_body(subject.sample, parameters={"timeout": "soon"}))
    if answer.status == 200:
        return "the server ignores it"
    return error(answer, (400,), (422,))


@check("cancellation.neighbours", "a caller whose time ran out takes nobody along")
def neighbours(subject: Subject) -> str | None:
    sent = slow(subject)
    want = subject.ask(sent, model=SLOW).tensors

    def call(place: int) -> Any:
        parameters: dict[str, Any] = {"timeout": 1_000} if place == 1 else {}
        return subject.http.post(subject.path(SLOW), json_body(sent, parameters=parameters))

    for place, answer in enumerate(together(3, call)):
        if place != 1:
            that(read(answer).tensors == want, "a neighbour's answer changed")
        elif answer.status != 200:
            error(answer, (504,), (503, 400, 408))
    return None


@check("cancellation.grpc_deadline", "a gRPC timeout parameter of 50 ms: DEADLINE_EXCEEDED", needs=("grpc",))
def grpc_deadline(subject: Subject) -> str | None:
    sent = request(SLOW, slow(subject))
    sent.parameters["timeout"].int64_param = 50_000
    try:
        subject.rpc.call("ModelInfer", sent)
    except Refused as refused:
        that(
            refused.status.code in ("DEADLINE_EXCEEDED", "UNAVAILABLE"),
            f"expected DEADLINE_EXCEEDED, saw {refused.status.seen()}",
        )
        return None
    return "the timeout parameter is not honoured"
