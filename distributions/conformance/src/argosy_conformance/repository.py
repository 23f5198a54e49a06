"""Repository: the index, and loading and unloading under traffic."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, cast

from argosy_conformance.check import Failed, Skipped, check
from argosy_conformance.expect import error, field, ok, same_all, that
from argosy_conformance.health import ABSENT
from argosy_conformance.readiness import control
from argosy_conformance.subject import Subject
from argosy_conformance.transport import Answer

STATES = ("UNKNOWN", "READY", "UNAVAILABLE", "LOADING", "UNLOADING", "")


@check("repository.index", "POST index with an empty body lists the models")
def index(subject: Subject) -> str | None:
    _entries(_index(subject, b""))
    return None


@check("repository.index_object", "POST index with {} lists the same", needs=("repository",))
def index_object(subject: Subject) -> str | None:
    names = sorted(name for name, _ in _entries(_index(subject, b"{}")))
    want = sorted(str(entry.get("name")) for entry in subject.index or [])
    that(names == want, f"an empty object lists {names}, an empty body {want}")
    return None


@check("repository.index_ready", 'POST index with {"ready": true} lists only ready models', needs=("repository",))
def index_ready(subject: Subject) -> str | None:
    for name, state in _entries(_index(subject, b'{"ready": true}')):
        that(state == "READY", f"model '{name}' is {state}")
    return None


@check("repository.index_bad", "POST index with a body that is no JSON: 400", needs=("repository",))
def index_bad(subject: Subject) -> str | None:
    return error(_index(subject, b"{nonsense"), (400,), (422,))


@check("repository.index_model", "the judged model is in the index", needs=("model", "repository"))
def index_model(subject: Subject) -> str | None:
    names = [entry.get("name") for entry in subject.index or []]
    that(subject.model in names, f"'{subject.model}' is not among {names}")
    return None


def _index(subject: Subject, body: bytes) -> Answer:
    answer = subject.http.send("POST", "/v2/repository/index", body)
    if not body and answer.status in (404, 405, 501) and "model_repository" not in " ".join(subject.extensions):
        error(answer, (404, 405, 501))
        raise Skipped(f"no repository extension is advertised: {answer.seen()}")
    return answer


def _entries(answer: Answer) -> list[tuple[str, str]]:
    value = ok(answer).json()
    that(isinstance(value, list), f"the index is no array: {answer.seen()}")
    found: list[tuple[str, str]] = []
    for entry in cast("list[Any]", value):
        that(isinstance(entry, dict), f"the index: an entry is no object: {entry!r}")
        state = field(entry, "state", str, "the index")
        that(state in STATES, f"the index: state {state!r}")
        found.append((field(entry, "name", str, "the index"), state))
    return found


@check("repository.unknown", "loading and unloading an unknown model fails with an error body", needs=("repository",))
def unknown(subject: Subject) -> str | None:
    notes = [
        error(subject.http.post(f"/v2/repository/models/{ABSENT}/{action}", {}), (404, 400, 403, 501), (405, 409, 500))
        for action in ("load", "unload")
    ]
    return notes[0] or notes[1]


@check("repository.reload", "a reload under traffic fails no request", needs=("model", "repository", "disruption"))
def reload(subject: Subject) -> str | None:
    want = subject.ask(subject.sample).tensors
    stop = Event()

    def traffic() -> int:
        answered = 0
        while not stop.is_set():
            same_all(subject.ask(subject.sample).tensors, want, "during a reload")
            answered += 1
        return answered

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(traffic) for _ in range(4)]
        try:
            for _ in range(3):
                control(subject, "load")
        finally:
            stop.set()
        counts = [caller.result() for caller in callers]
    that(sum(counts) > 0, "no request was answered during the reload")
    return None


@check("repository.failed_reload", "after a failed load the model still answers", needs=("model", "repository"))
def failed_reload(subject: Subject) -> str | None:
    want = subject.ask(subject.sample).tensors
    if subject.http.post(f"/v2/repository/models/{ABSENT}/load", {}).status == 200:
        raise Failed("loading a model that does not exist answers 200")
    same_all(subject.ask(subject.sample).tensors, want, "after a failed load")
    return None
