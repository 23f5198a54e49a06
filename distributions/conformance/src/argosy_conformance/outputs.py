"""Requested outputs: only those asked for, in the order asked for."""

from argosy_conformance.check import Skipped, check
from argosy_conformance.expect import error, same, that
from argosy_conformance.rest import json_body, read
from argosy_conformance.subject import Subject


def _asked(subject: Subject, *names: str) -> list[str]:
    want = subject.ask(subject.sample).tensors
    found = subject.ask(subject.sample, outputs=[{"name": name} for name in names]).tensors
    for name, tensor in found.items():
        same(tensor, want[name], f"output '{name}'")
    return list(found)


def _names(subject: Subject) -> list[str]:
    names = list(subject.ask(subject.sample).tensors)
    if len(names) < 2:
        raise Skipped(f"model '{subject.model}' has one output")
    return names


@check("outputs.one", "a named output is answered alone", needs=("model",))
def one(subject: Subject) -> str | None:
    name = list(subject.ask(subject.sample).tensors)[-1]
    that((seen := _asked(subject, name)) == [name], f"asked for ['{name}'], got {seen}")
    return None


@check("outputs.subset", "a subset is answered without the rest", needs=("model",))
def subset(subject: Subject) -> str | None:
    name = _names(subject)[1]
    that((seen := _asked(subject, name)) == [name], f"asked for ['{name}'], got {seen}")
    return None


@check("outputs.order", "outputs come in the requested order", needs=("model",))
def order(subject: Subject) -> str | None:
    names = _names(subject)[::-1]
    that((seen := _asked(subject, *names)) == names, f"asked for {names}, got {seen}")
    return None


@check("outputs.empty", "an empty list of outputs means all of them", needs=("model",))
def empty(subject: Subject) -> str | None:
    names = list(subject.ask(subject.sample).tensors)
    answer = subject.judge(json_body(subject.sample, outputs=[]))
    if answer.status == 400:
        error(answer, (400,))
        return "an empty list is refused"
    that((seen := list(read(answer).tensors)) == names, f"with outputs [] got {seen}, without it {names}")
    return None


@check("outputs.unknown", "an unknown output is refused", needs=("model",))
def unknown(subject: Subject) -> str | None:
    return error(subject.judge(json_body(subject.sample, outputs=[{"name": "no-such-output"}])), (400,), (404,))


@check("outputs.duplicate", "an output asked for twice is refused or answered once", needs=("model",))
def duplicate(subject: Subject) -> str | None:
    name = next(iter(subject.ask(subject.sample).tensors))
    answer = subject.judge(json_body(subject.sample, outputs=[{"name": name}, {"name": name}]))
    if answer.status != 200:
        return error(answer, (400,))
    that(list(read(answer).tensors) == [name], f"asked twice for '{name}', got {list(read(answer).tensors)}")
    return f"answered once: {answer.status}"
