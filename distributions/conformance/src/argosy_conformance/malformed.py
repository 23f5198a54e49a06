"""Malformed requests: each gets its status and `{"error": text}`, and the server goes on."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from argosy_conformance.check import Failed, Skipped, check
from argosy_conformance.expect import error, refused, that
from argosy_conformance.health import ABSENT
from argosy_conformance.rest import json_body
from argosy_conformance.subject import Subject
from argosy_conformance.tensors import DATATYPES, Tensor, made
from argosy_conformance.transport import JSON

Body = dict[str, Any]


def _first(change: Callable[[Body], object]) -> Callable[[Body], object]:
    return lambda body: change(body["inputs"][0])


def _set(**fields: Any) -> Callable[[Body], object]:
    return _first(lambda item: item.update(fields))


def _drop(key: str) -> Callable[[Body], object]:
    return _first(lambda item: item.pop(key))


def _nested_ragged(item: Body) -> None:
    item["data"] = [[value] for value in item["data"][:-1]] + [item["data"][-1]]


BROKEN: dict[str, tuple[str, Callable[[Body], object]]] = {
    "no_inputs": ("'inputs' is missing", lambda body: body.pop("inputs")),
    "empty_inputs": ("'inputs' is empty", lambda body: body.update(inputs=[])),
    "inputs_no_list": ("'inputs' is no list", lambda body: body.update(inputs={"a": 1})),
    "input_no_object": ("an input is no object", lambda body: body["inputs"].append(7)),
    "datatype": ("a datatype that does not exist", _set(datatype="FLOAT32")),
    "datatype_case": ("a datatype in lower case", _first(lambda item: item.update(datatype=item["datatype"].lower()))),
    "datatype_type": ("a datatype that is no string", _set(datatype=32)),
    "no_datatype": ("'datatype' is missing", _drop("datatype")),
    "no_shape": ("'shape' is missing", _drop("shape")),
    "no_name": ("'name' is missing", _drop("name")),
    "no_data": ("'data' is missing", _drop("data")),
    "data_null": ("'data' is null", _set(data=None)),
    "data_object": ("an element is an object", _set(data=[{"a": 1}])),
    "negative_axis": ("a negative axis", _first(lambda item: item.update(shape=[-1, *item["shape"][1:]]))),
    "fraction_axis": ("an axis that is no integer", _first(lambda item: item.update(shape=[1.5, *item["shape"][1:]]))),
    "huge_shape": ("a shape far beyond its data", _set(shape=[2**40, 2**40])),
    "overflow_shape": ("a shape whose product wraps to the count", _set(shape=[2**32, 2**32, 0, 2**62])),
    "too_few": ("fewer elements than the shape says", _first(lambda item: item["data"].pop())),
    "too_many": ("more elements than the shape says", _first(lambda item: item["data"].append(item["data"][0]))),
    "ragged": ("ragged nested data", _first(_nested_ragged)),
    "extra_input": ("an input the model does not have", lambda body: body["inputs"].append(
        {"name": "no-such-input", "datatype": "FP32", "shape": [1], "data": [1]})),
    "duplicate_input": ("an input given twice", lambda body: body["inputs"].append(body["inputs"][0])),
    "misnamed_input": ("a required input under another name", _set(name="no-such-input")),
    "parameters": ("'parameters' is no object", lambda body: body.update(parameters=[1])),
    "outputs": ("'outputs' is no list", lambda body: body.update(outputs="all")),
}  # fmt: skip
"""Id → what is wrong, and how to make a valid body wrong that way."""


def _broken(subject: Subject, change: Callable[[Body], object]) -> str | None:
    body: Body = msgspec.json.decode(msgspec.json.encode(json_body(subject.sample)))
    change(body)
    answer = subject.judge(body)
    if answer.status == 200 and change is BROKEN["misnamed_input"][1] and len(subject.sample) == 1:
        that(subject.mode != "strict", "the server takes it, and is to be strict")
        return "the one input goes by any name"
    note = error(answer, (400,), (422, 413))
    subject.alive()
    return note


for _name, (_title, _change) in BROKEN.items():
    check(f"malformed.{_name}", f"{_title}: 400", needs=("model",))(partial(_broken, change=_change))

TEXTS = {
    "not_json": ("a body that is no JSON", b"{inputs: 1"),
    "truncated": ("a JSON body that ends early", b'{"inputs": [{"name": "x", '),
    "empty": ("an empty body", b""),
    "array": ("a body that is a JSON array", b"[1, 2]"),
    "null": ("a body that is JSON null", b"null"),
    "not_utf8": ("a body that is not UTF-8", b'{"id": "\xff\xfe", "inputs": []}'),
    "deep": ("JSON nested 100,000 deep", b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "trailing": ("bytes behind the JSON", b'{"inputs": []} x'),
}


def _text(subject: Subject, body: bytes) -> str | None:
    note = error(subject.http.send("POST", subject.path(), body, JSON), (400,), (422, 413))
    subject.alive()
    return note


for _name, (_title, _bytes) in TEXTS.items():
    check(f"malformed.{_name}", f"{_title}: 400", needs=("model",))(partial(_text, body=_bytes))


def _wrong_value(subject: Subject, kinds: tuple[str, ...], value: Any) -> str | None:
    for model, sent in _candidates(subject, kinds):
        body: Body = json_body(sent)
        for item, tensor in zip(body["inputs"], sent, strict=True):
            if tensor.datatype.startswith(kinds) and tensor.raw:
                item["data"] = [value, *item["data"][1:]]
                return error(subject.http.post(subject.path(model), body), (400,), (422,))
    raise Skipped(f"neither '{subject.model}' nor an identity model has an input of {' or '.join(kinds)}")


def _candidates(subject: Subject, kinds: tuple[str, ...]) -> Iterator[tuple[str, list[Tensor]]]:
    """The judged model with its sample, then the identity models of these kinds."""
    yield subject.model, subject.sample
    for datatype in DATATYPES:
        with suppress(Skipped):
            if datatype.startswith(kinds) and datatype != "FP16":
                model, taken, _ = subject.identity(datatype)
                yield model, [made(taken, datatype, (1, 2))]


check("malformed.text_for_number", "a text where numbers belong: 400", needs=("model",))(
    partial(_wrong_value, kinds=("FP", "INT", "UINT"), value="seven")
)
check("malformed.fraction", "a fraction where integers belong: 400", needs=("model",))(
    partial(_wrong_value, kinds=("INT", "UINT"), value=1.5)
)
check("malformed.range", "an integer beyond its datatype: 400", needs=("model",))(
    partial(_wrong_value, kinds=("INT", "UINT"), value=2**70)
)
check("malformed.float_range", "a number beyond 64-bit floats: 400", needs=("model",))(
    partial(_wrong_value, kinds=("FP",), value=10**400)
)
check("malformed.number_for_text", "a number where texts belong: 400", needs=("model",))(
    partial(_wrong_value, kinds=("BYTES",), value=7)
)


@check("malformed.missing_input", "a missing input: 400", needs=("model",))
def missing_input(subject: Subject) -> str | None:
    if len(subject.sample) < 2:
        raise Skipped(f"model '{subject.model}' has one input")
    return error(subject.judge(json_body(subject.sample[1:])), (400,), (422,))


@check("malformed.wrong_datatype", "a datatype that is not the declared one: 400", needs=("model",))
def wrong_datatype(subject: Subject) -> str | None:
    first, *rest = subject.sample
    other = "BOOL" if first.datatype != "BOOL" else "BYTES"
    values = [True if other == "BOOL" else "a"] * len(first.values())
    item = {"name": first.name, "datatype": other, "shape": list(first.shape), "data": values}
    answer = subject.judge({"inputs": [item, *(tensor.json() for tensor in rest)]})
    if answer.status == 200:
        return "the server casts"
    return error(answer, (400,), (422,))


@check("malformed.wrong_rank", "a rank that is not the declared one: 400", needs=("model",))
def wrong_rank(subject: Subject) -> str | None:
    first, *rest = subject.sample
    deeper = Tensor(first.name, first.datatype, (*first.shape, 1, 1), first.raw)
    return error(subject.judge(json_body([deeper, *rest])), (400,), (422,))


@check("malformed.unknown_model", "an unknown model: 404")
def unknown_model(subject: Subject) -> str | None:
    return error(subject.http.post(subject.path(ABSENT), json_body([])), (404,), (400,))


@check("malformed.unknown_version", "an unknown version: 404", needs=("model",))
def unknown_version(subject: Subject) -> str | None:
    return error(subject.http.post(subject.path(version="918273"), json_body(subject.sample)), (404,), (400, 501))


@check("malformed.unknown_path", "a path that does not exist: 404 with an error body")
def unknown_path(subject: Subject) -> str | None:
    return error(subject.http.get("/v2/no/such/path"), (404,), (400,))


@check("malformed.method", "GET on infer: 405 with an error body", needs=("model",))
def method(subject: Subject) -> str | None:
    return error(subject.http.get(subject.path()), (405,), (400, 404))


@check("malformed.method_health", "POST on health: 405 with an error body")
def method_health(subject: Subject) -> str | None:
    return error(subject.http.send("DELETE", "/v2/health/live"), (405,), (400, 404))


@check("malformed.oversize", "a declared length of a terabyte: 413", needs=("model",))
def oversize(subject: Subject) -> str | None:
    head = subject.http.head("POST", subject.path(), {**JSON, "content-length": str(2**40)})
    answer = subject.http.raw(head + b'{"inputs":', wait=3)
    subject.alive()
    if answer is None:
        raise Skipped("the server waits for the body: it has no limit, or applies it while reading")
    return error(answer, (413,), (400,))


@check(
    "malformed.half_closed",
    "a client that ends inside its body is answered or dropped, and nothing else suffers",
    needs=("model",),
)
def half_closed(subject: Subject) -> str | None:
    head = subject.http.head("POST", subject.path(), {**JSON, "content-length": "1000"})
    answer = subject.http.raw(head + b'{"inputs": [', half_close=True)
    if answer is not None:
        refused(answer)
    subject.alive()
    return None


@check("malformed.http", "bytes that are no HTTP are answered 400 or dropped")
def no_http(subject: Subject) -> str | None:
    answer = subject.http.raw(b"\x16\x03\x01\x00\x00 no http at all\r\n\r\n", wait=3)
    if answer is not None and answer.status != 400:
        raise Failed(f"expected 400 or a closed connection, saw {answer.seen()}")
    subject.alive()
    return None


@check("malformed.content_length", "a Content-Length that is no number is refused", needs=("model",))
def content_length(subject: Subject) -> str | None:
    head = subject.http.head("POST", subject.path(), {**JSON, "content-length": "ten"})
    answer = subject.http.raw(head + b"{}", wait=3)
    if answer is not None and not 400 <= answer.status < 500:
        raise Failed(f"expected a 4xx or a closed connection, saw {answer.seen()}")
    subject.alive()
    return None
