"""MLflow's scoring server: what its clients and its own deployment tools send and read."""

from typing import Any, cast

from argosy_conformance.check import Skipped, check
from argosy_conformance.clouds import calls
from argosy_conformance.expect import ok, that
from argosy_conformance.subject import Subject

INVOKE = "/invocations"


@check("mlflow.health", "GET /ping and /health are 200, /version has a version")
def health(subject: Subject) -> str | None:
    for path in ("/ping", "/health"):
        calls.healthy(subject, path, 5)
    that(ok(subject.http.get("/version")).body.strip(), "/version has no text")
    return None


@check("mlflow.instances", "instances are answered with predictions, in order")
def instances(subject: Subject) -> str | None:
    calls.alone_and_together(subject, INVOKE)
    return None


@check("mlflow.inputs", "inputs are taken")
def inputs(subject: Subject) -> str | None:
    calls.alone_and_together(subject, INVOKE, "inputs")
    return None


@check("mlflow.dataframe_split", "a data frame in split form is taken")
def dataframe_split(subject: Subject) -> str | None:
    calls.predictions(subject.http.post(INVOKE, {"dataframe_split": _split(subject)}), 2)
    return None


@check("mlflow.dataframe_records", "records are taken, by the names of their columns")
def dataframe_records(subject: Subject) -> str | None:
    split = _split(subject)
    if not all(isinstance(name, str) for name in split["columns"]):
        raise Skipped("the model knows no names of columns")
    records = [dict(zip(split["columns"], row, strict=True)) for row in split["data"]]
    calls.predictions(subject.http.post(INVOKE, {"dataframe_records": records}), 2)
    return None


@check("mlflow.errors", "an error has error_code and message, and is a 4xx")
def errors(subject: Subject) -> str | None:
    answer = subject.http.post(INVOKE, {"nonsense": 1})
    that(400 <= answer.status < 500, f"expected a 4xx, saw {answer.seen()}")
    found = answer.object()
    that(isinstance(found.get("error_code"), str) and isinstance(found.get("message"), str), f"saw {answer.seen()}")
    return None


@check("mlflow.content", "a content type that nobody speaks is a 415")
def content(subject: Subject) -> str | None:
    answer = subject.http.send("POST", INVOKE, b"x", {"content-type": "image/png"})
    that(400 <= answer.status < 500, f"expected 415, saw {answer.seen()}")
    return None if answer.status == 415 else f"{answer.status} instead of 415"


def _split(subject: Subject) -> dict[str, list[Any]]:
    """The rows as a data frame; columns without a name are numbered, as pandas does."""
    found = calls.rows(subject)
    data = [calls.cells_of(row) for row in found]
    if any(isinstance(cell, list) for row in data for cell in row):
        raise Skipped("the model takes no table")
    return {
        "columns": list(cast("dict[str, Any]", found[0])) if isinstance(found[0], dict) else list(range(len(data[0]))),
        "data": data,
    }
