"""Batching transparency: concurrent callers cannot tell that they share the engine."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argosy_conformance.check import Failed, check
from argosy_conformance.expect import close_all, error, same, that
from argosy_conformance.rest import Outputs, json_body, read
from argosy_conformance.rpc import request
from argosy_conformance.subject import Subject
from argosy_conformance.tensors import made
from argosy_conformance.transport import Answer

CALLERS = 32
T = TypeVar("T")


def together(count: int, call: Callable[[int], T]) -> list[T]:
    """`call(0)` … `call(count - 1)` at the same time, each in its own thread, in order."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def _compare(subject: Subject, found: Sequence[Outputs], alone: Sequence[Outputs], what: str) -> str | None:
    note = None
    for place, (seen, want) in enumerate(zip(found, alone, strict=True)):
        note = close_all(seen.tensors, want.tensors, f"{what}: caller {place}") or note
    return note


@check("batching.alone", "concurrent requests get what they get alone, with their own ids", needs=("model",))
def alone(subject: Subject) -> str | None:
    asked = [subject.rows(seed) for seed in range(CALLERS)]
    want = [subject.ask(tensors) for tensors in asked]
    found = together(CALLERS, lambda place: subject.ask(asked[place], id=f"caller-{place}"))
    for place, seen in enumerate(found):
        that(seen.id == f"caller-{place}", f"caller {place} got the id {seen.id!r}")
    return _compare(subject, found, want, "together against alone")


@check("batching.sizes", "requests of different numbers of rows are cut apart correctly", needs=("model",))
def sizes(subject: Subject) -> str | None:
    asked = [subject.rows(seed, rows=1 + seed % 5) for seed in range(CALLERS)]
    want = [subject.ask(tensors) for tensors in asked]
    found = together(CALLERS, lambda place: subject.ask(asked[place]))
    return _compare(subject, found, want, "together against alone")


@check("batching.grpc", "gRPC callers too", needs=("grpc", "model"))
def over_grpc(subject: Subject) -> str | None:
    asked = [subject.rows(seed) for seed in range(CALLERS)]
    want = [subject.rpc.infer(request(subject.model, tensors)) for tensors in asked]
    found = together(CALLERS, lambda place: subject.rpc.infer(request(subject.model, asked[place], id=str(place))))
    for place, seen in enumerate(found):
        that(seen.id == str(place), f"caller {place} got the id {seen.id!r}")
    return _compare(subject, found, want, "together against alone")


@check("batching.one_bad", "one bad request among good ones fails alone", needs=("model",))
def one_bad(subject: Subject) -> str | None:
    good = json_body(subject.sample)
    bad = json_body(subject.sample, outputs=[{"name": "no-such-output"}])
    answers = together(CALLERS, lambda place: subject.judge(bad if place % 8 == 3 else good))
    want = read(subject.judge(good))
    note = None
    for place, answer in enumerate(answers):
        seen = error(answer, (400,), (422,)) if place % 8 == 3 else _good(answer, want, place)
        note = seen or note
    return note


def _good(answer: Answer, want: Outputs, place: int) -> str | None:
    try:
        return close_all(read(answer).tensors, want.tensors, f"caller {place}")
    except Failed as failed:
        raise Failed(f"a good request beside a bad one: {failed}") from None


@check("batching.shapes", "different inner shapes are never merged")
def shapes(subject: Subject) -> str | None:
    model, taken, given = subject.identity("FP32", 2)
    sent = [made(taken, "FP32", (1 + place % 2, 1 + place % 4), seed=place) for place in range(CALLERS)]
    found = together(CALLERS, lambda place: subject.ask([sent[place]], model=model))
    for place, seen in enumerate(found):
        same(seen.tensors[given], sent[place], f"caller {place}")
    return None


@check("batching.outputs", "callers who ask for different outputs get their own", needs=("model",))
def outputs(subject: Subject) -> str | None:
    names = list(subject.ask(subject.sample).tensors)

    def call(place: int) -> Outputs:
        if place % 2:
            return subject.ask(subject.sample)
        return subject.ask(subject.sample, outputs=[{"name": names[0]}])

    for place, seen in enumerate(together(CALLERS, call)):
        want = names if place % 2 else names[:1]
        that(list(seen.tensors) == want, f"caller {place} asked for {want}, got {list(seen.tensors)}")
    return None


@check("batching.parameters", "one caller's parameters never reach another's answer", needs=("model",))
def parameters(subject: Subject) -> str | None:
    def call(place: int) -> Answer:
        return subject.judge(json_body(subject.sample, id=str(place), parameters={"mark": f"mine-{place}-only"}))

    for place, answer in enumerate(together(CALLERS, call)):
        that(answer.status == 200, f"an unknown parameter is refused: {answer.seen()}")
        others = [n for n in range(CALLERS) if n != place and f"mine-{n}-only".encode() in answer.body]
        that(not others, f"caller {place} sees the parameter of caller {others[:1]}")
    return None


@check("batching.mixed", "JSON, binary and gRPC callers at once", needs=("model",))
def mixed(subject: Subject) -> str | None:
    asked = [subject.rows(seed) for seed in range(CALLERS)]
    want = [subject.ask(tensors) for tensors in asked]

    def call(place: int) -> Outputs:
        if place % 3 == 1 and subject.binary:
            return subject.ask_binary(asked[place])
        if place % 3 == 2 and subject.maybe_rpc:
            return subject.rpc.infer(request(subject.model, asked[place]))
        return subject.ask(asked[place])

    return _compare(subject, together(CALLERS, call), want, "mixed callers")
