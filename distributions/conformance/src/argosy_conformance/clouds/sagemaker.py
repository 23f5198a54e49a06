"""Amazon SageMaker: real-time, batch and asynchronous inference, and multi-model endpoints.

Sources: "Use Your Own Inference Code with Hosting Services", "… with Batch Transform", "Build Your Own Container for
SageMaker Multi-Model Endpoints" of the developer guide.
"""

from typing import Any, cast
from urllib.parse import quote

import msgspec

from argosy_conformance.check import Need, Skipped, check
from argosy_conformance.clouds import calls
from argosy_conformance.expect import ok, that
from argosy_conformance.subject import Subject
from argosy_conformance.transport import JSON

INVOKE = "/invocations"
ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
MODELS: tuple[Need, ...] = ("models",)
NAMES = ("conformance-a", "conformance-b")


@check("sagemaker.ping", "GET /ping is 200 within 2 s", needs=("single",))
def ping(subject: Subject) -> str | None:
    answer = calls.healthy(subject, "/ping", 2)
    return None if not answer.body else f"the body is not empty: {answer.seen()}"


@check("sagemaker.rows", "POST /invocations answers each row, in order", needs=("single",))
def rows(subject: Subject) -> str | None:
    calls.alone_and_together(subject, INVOKE)
    return None


@check("sagemaker.csv", "text/csv without a header is taken, as batch transform sends it", needs=("single",))
def csv(subject: Subject) -> str | None:
    calls.predictions(subject.http.send("POST", INVOKE, calls.csv(subject), calls.CSV), 2)
    return None


@check("sagemaker.accept_csv", "Accept: text/csv is answered with a line for each row", needs=("single",))
def accept_csv(subject: Subject) -> str | None:
    answer = ok(subject.http.send("POST", INVOKE, calls.csv(subject), {**calls.CSV, "accept": "text/csv"}))
    if "csv" not in answer.headers.get("content-type", ""):
        return f"answered as {answer.headers.get('content-type')!r}"
    that(len(answer.body.splitlines()) == 2, f"expected two lines, saw {answer.seen()}")
    return None


@check("sagemaker.lines", "application/jsonlines is taken", needs=("single",))
def lines(subject: Subject) -> str | None:
    body = b"\n".join(msgspec.json.encode(row) for row in calls.rows(subject))
    kind = {"content-type": "application/jsonlines", "accept": "application/jsonlines"}
    answer = subject.http.send("POST", INVOKE, body, kind)
    if 400 <= answer.status < 500:
        return f"lines of JSON are refused: {answer.seen()}"
    that(len(ok(answer).body.splitlines()) == 2, f"expected two lines, saw {answer.seen()}")
    return None


@check("sagemaker.tensors", "the Open Inference Protocol passes through /invocations", needs=("single",))
def tensors(subject: Subject) -> str | None:
    return calls.tensors(subject, INVOKE)


@check("sagemaker.attributes", "the custom attributes of a request may be answered, unchanged", needs=("single",))
def attributes(subject: Subject) -> str | None:
    body = msgspec.json.encode({"instances": calls.rows(subject)})
    answer = ok(subject.http.send("POST", INVOKE, body, {**JSON, ATTRIBUTES: "trace=7f"}))
    seen = answer.headers.get(ATTRIBUTES)
    that(seen in (None, "trace=7f"), f"{ATTRIBUTES} is {seen!r}")
    return None if seen else "the answer has no custom attributes"


@check("sagemaker.payload", "a payload of 6 MiB is taken", needs=("single",))
def payload(subject: Subject) -> str | None:
    calls.padded(subject, INVOKE, 6 * 1024 * 1024)
    return None


@check("sagemaker.nonsense", "what is no request is a 4xx", needs=("single",))
def nonsense(subject: Subject) -> str | None:
    calls.nonsense(subject, INVOKE)
    return None


@check("sagemaker.at_once", "requests at one time are all answered", needs=("single",))
def at_once(subject: Subject) -> str | None:
    calls.at_once(subject, INVOKE)
    return None


@check("sagemaker.chunked", "a body without a length is taken", needs=("single",))
def chunked(subject: Subject) -> str | None:
    calls.chunked(subject, INVOKE)
    return None


@check("sagemaker.execution_parameters", "GET /execution-parameters says how batch transform is to call")
def execution_parameters(subject: Subject) -> str | None:
    answer = subject.http.get("/execution-parameters")
    if answer.status == 404:
        return "it says nothing, and the job's own settings hold"
    found = ok(answer).object()
    that(isinstance(found.get("MaxConcurrentTransforms"), int), f"MaxConcurrentTransforms: {answer.seen()}")
    that(found.get("BatchStrategy") in ("MULTI_RECORD", "SINGLE_RECORD"), f"BatchStrategy: {answer.seen()}")
    most = found.get("MaxPayloadInMB")
    that(isinstance(most, int) and 0 <= most <= 100, f"MaxPayloadInMB: {answer.seen()}")
    return None


@check("sagemaker.models", "models are loaded, listed and described; one that is loaded is a 409", needs=MODELS)
def models(subject: Subject) -> str | None:
    before = _listed(subject)
    _load_all(subject)
    try:
        listed = _listed(subject)
        for name, url in zip(NAMES, subject.models_given, strict=False):
            that(listed.get(name) == url, f"GET /models lists {listed}, without '{name}' at {url}")
            found = ok(subject.http.get(f"/models/{quote(name)}")).object()
            that((found.get("modelName"), found.get("modelUrl")) == (name, url), f"GET /models/{name}: {found}")
        again = subject.http.post("/models", {"model_name": NAMES[0], "url": subject.models_given[0]})
        that(again.status == 409, f"loaded again: expected 409, saw {again.seen()}")
    finally:
        _unload_all(subject)
    that(_listed(subject) == before, f"after unloading, GET /models lists {_listed(subject)}")
    return None


@check("sagemaker.models_invoke", "a loaded model answers at its path, an unloaded one is a 404", needs=MODELS)
def models_invoke(subject: Subject) -> str | None:
    if subject.rows_given is None:
        raise Skipped("needs rows that the models take: give them with --rows")
    _load_all(subject)
    try:
        calls.alone_and_together(subject, f"/models/{NAMES[0]}/invoke")
    finally:
        _unload_all(subject)
    gone = subject.http.post(f"/models/{NAMES[0]}/invoke", {"instances": calls.rows(subject)})
    that(gone.status == 404, f"after unloading: expected 404, saw {gone.seen()}")
    return None


@check("sagemaker.models_unknown", "a model that is not loaded is a 404; the server stays healthy", needs=MODELS)
def models_unknown(subject: Subject) -> str | None:
    for method, tail in (("GET", ""), ("DELETE", ""), ("POST", "/invoke")):
        answer = subject.http.send(method, f"/models/conformance-none{tail}", b"[]" if tail else b"", JSON)
        that(answer.status == 404, f"{method} /models/conformance-none{tail}: expected 404, saw {answer.seen()}")
    calls.healthy(subject, "/ping", 2)
    return None


def _listed(subject: Subject) -> dict[str, Any]:
    found = ok(subject.http.get("/models")).object().get("models")
    that(isinstance(found, list), f"GET /models: 'models' must be a list, saw {found!r}")
    entries = cast("list[dict[str, Any]]", found)
    return {entry["modelName"]: entry["modelUrl"] for entry in entries}


def _load_all(subject: Subject) -> None:
    for name, url in zip(NAMES, subject.models_given, strict=False):
        answer = subject.http.post("/models", {"model_name": name, "url": url})
        that(answer.status == 200, f"loading {url}: expected 200, saw {answer.seen()}")


def _unload_all(subject: Subject) -> None:
    for name, _ in zip(NAMES, subject.models_given, strict=False):
        answer = subject.http.send("DELETE", f"/models/{name}")
        that(answer.status == 200, f"unloading '{name}': expected 200, saw {answer.seen()}")
