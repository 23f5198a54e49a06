"""Metadata: R4 and R5 of the contract, configuration and statistics."""

from typing import Any, cast

from argosy_conformance.check import Skipped, check
from argosy_conformance.expect import error, field, ok, that
from argosy_conformance.health import ABSENT
from argosy_conformance.subject import Subject
from argosy_conformance.tensors import DATATYPES


@check("metadata.server", "GET /v2 has name, version and extensions")
def server(subject: Subject) -> str | None:
    return _server(subject, "/v2")


@check("metadata.server_slash", "GET /v2/ answers the same, without a redirect")
def server_slash(subject: Subject) -> str | None:
    return _server(subject, "/v2/")


def _server(subject: Subject, path: str) -> str | None:
    value = ok(subject.http.get(path)).object()
    field(value, "name", str, path)
    field(value, "version", str, path)
    extensions = field(value, "extensions", list, path)
    that(all(isinstance(item, str) for item in extensions), f"{path}: extensions are no strings: {extensions!r}")
    return None


@check("metadata.model", "GET /v2/models/{m} has name, platform, inputs and outputs", needs=("model",))
def model(subject: Subject) -> str | None:
    return _model(ok(subject.http.get(subject.path(tail=""))).object(), subject.model)


@check("metadata.version", "GET /v2/models/{m}/versions/{v} answers too", needs=("model",))
def version(subject: Subject) -> str | None:
    return _model(ok(subject.http.get(subject.path(version=subject.version(), tail=""))).object(), subject.model)


def _model(value: dict[str, Any], name: str) -> str | None:
    that(field(value, "name", str, "metadata") == name, f"metadata: name is {value['name']!r}, asked for {name!r}")
    field(value, "platform", str, "metadata")
    versions = value.get("versions")
    if versions is not None:
        that(
            isinstance(versions, list) and all(isinstance(v, str) for v in cast("list[Any]", versions)),
            f"metadata: versions must be strings: {versions!r}",
        )
    for side in ("inputs", "outputs"):
        for item in field(value, side, list, "metadata"):
            _port(item, side)
    return None


def _port(item: Any, side: str) -> None:
    that(isinstance(item, dict), f"metadata: an element of {side} is no object: {item!r}")
    name = field(item, "name", str, f"metadata {side}")
    datatype = field(item, "datatype", str, f"metadata {side} '{name}'")
    that(datatype in (*DATATYPES, "BF16"), f"metadata {side} '{name}': '{datatype}' is no datatype of the protocol")
    shape = field(item, "shape", list, f"metadata {side} '{name}'")
    that(all(type(axis) is int and axis >= -1 for axis in shape), f"metadata {side} '{name}': shape {shape!r}")


@check("metadata.unknown_model", "an unknown model is 404 with an error body")
def unknown_model(subject: Subject) -> str | None:
    return error(subject.http.get(subject.path(ABSENT, tail="")), (404,), (400,))


@check("metadata.unknown_version", "an unknown version is 404 with an error body", needs=("model",))
def unknown_version(subject: Subject) -> str | None:
    return error(subject.http.get(subject.path(version="918273", tail="")), (404,), (400, 501))


@check("metadata.config", "GET /v2/models/{m}/config answers (extension model_configuration)", needs=("model",))
def config(subject: Subject) -> str | None:
    _advertised(subject, "model_configuration")
    value = ok(subject.http.get(subject.path(tail="/config"))).object()
    that(value.get("name") == subject.model, f"config: name is {value.get('name')!r}")
    return None


@check("metadata.stats", "GET /v2/models/{m}/stats counts inferences (extension statistics)", needs=("model",))
def stats(subject: Subject) -> str | None:
    _advertised(subject, "statistics")
    before = _count(subject)
    subject.ask(subject.sample)
    that(_count(subject) > before, f"inference_count stays at {before} after an inference")
    ok(subject.http.get("/v2/models/stats"))
    return None


def _count(subject: Subject) -> int:
    value = ok(subject.http.get(subject.path(tail="/stats"))).object()
    listed = field(value, "model_stats", list, "stats")
    that(listed and isinstance(listed[0], dict), f"stats: model_stats is {listed!r}")
    that(listed[0].get("name") == subject.model, f"stats: name is {listed[0].get('name')!r}")
    return sum(int(item.get("inference_count", 0)) for item in listed)


def _advertised(subject: Subject, extension: str) -> None:
    if extension not in subject.extensions:
        raise Skipped(f"the server does not advertise '{extension}'")
