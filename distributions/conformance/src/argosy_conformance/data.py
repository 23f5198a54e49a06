"""Tensor data in JSON: shapes, datatypes, borders, nested and flat. Every identity model must give back what it got."""

from functools import partial

from argosy_conformance.check import Failed, Skipped, check
from argosy_conformance.expect import error_body, same, same_all, that
from argosy_conformance.rest import binary_body, json_body, read
from argosy_conformance.subject import Subject
from argosy_conformance.tensors import DATATYPES, EXTREMES, Tensor, made, tensor
from argosy_conformance.transport import Answer

SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (5,), (2, 3), (0, 3), (1, 1), (2, 0, 3))
SLICE = ("FP32", "INT64", "BYTES", "BOOL")


def echoed(subject: Subject, sent: Tensor, model: str, output: str, *, nested: bool = False) -> None:
    """The identity model gives back exactly this tensor over JSON."""
    found = subject.ask([sent], model=model, nested=nested).tensors
    that(output in found, f"model '{model}' answers {list(found)}, not '{output}'")
    same(found[output], sent)


def _border(subject: Subject, datatype: str) -> str | None:
    values = EXTREMES[datatype]
    rank, (model, taken, given) = _any_rank(subject, datatype)
    sent = tensor(taken, datatype, (len(values),) if rank == 1 else (1, len(values)), values)
    echoed(subject, sent, model, given)
    echoed(subject, sent, model, given, nested=True)
    return None


def _any_rank(subject: Subject, datatype: str) -> tuple[int, tuple[str, str, str]]:
    try:
        return 2, subject.identity(datatype, 2)
    except Skipped:
        return 1, subject.identity(datatype, 1)


for _datatype in DATATYPES:
    if _datatype != "FP16":
        check(f"data.{_datatype}", f"{_datatype} borders survive JSON, nested and flat")(
            partial(_border, datatype=_datatype)
        )


def _shape(subject: Subject, shape: tuple[int, ...]) -> str | None:
    judged: list[str] = []
    for datatype in SLICE:
        try:
            model, taken, given = subject.identity(datatype, len(shape))
        except Skipped:
            continue
        sent = made(taken, datatype, shape)
        echoed(subject, sent, model, given)
        echoed(subject, sent, model, given, nested=True)
        judged.append(datatype)
    if not judged:
        raise Skipped(f"no identity model takes rank {len(shape)}")
    return None


for _shape_ in SHAPES:
    _label = "x".join(map(str, _shape_)) or "scalar"
    check(f"data.shape_{_label}", f"shape {list(_shape_)}: nested equals flat")(partial(_shape, shape=_shape_))


@check("data.nested", "the model answers nested data as it answers flat data", needs=("model",))
def nested(subject: Subject) -> str | None:
    flat, deep = subject.ask(subject.sample), subject.ask(subject.sample, nested=True)
    same_all(deep.tensors, flat.tensors, "nested against flat")
    return None


@check("data.outputs", "outputs carry the declared datatypes and shapes that fit", needs=("model",))
def outputs(subject: Subject) -> str | None:
    found = subject.ask(subject.sample).tensors
    for port in subject.ports("outputs"):
        that(port.name in found, f"the declared output '{port.name}' is missing from {list(found)}")
        seen = found[port.name]
        that(seen.datatype == port.datatype, f"output '{port.name}' is {seen.datatype}, declared {port.datatype}")
        fits = len(seen.shape) == len(port.shape) and all(
            want in (-1, axis) for want, axis in zip(port.shape, seen.shape, strict=True)
        )
        that(fits, f"output '{port.name}' has shape {list(seen.shape)}, declared {list(port.shape)}")
    return None


@check("data.FP16", "FP16 has no JSON form: refused, naming the binary extension")
def half(subject: Subject) -> str | None:
    _, (model, taken, _) = _any_rank(subject, "FP16")
    shape = [-1, 1] if subject.ports("inputs", model)[0].shape != (-1,) else [-1]
    item = {"name": taken, "datatype": "FP16", "shape": [1] * len(shape), "data": [1.5]}
    answer = subject.http.post(subject.path(model), {"inputs": [item]})
    if answer.status == 200:
        return "FP16 is taken as JSON numbers"
    that(answer.status == 400, f"expected 400, saw {answer.seen()}")
    that("binary" in error_body(answer).lower(), f"the message does not name the binary extension: {answer.seen()}")
    return None


@check("data.not_a_number", "NaN and infinity in an answer never make invalid JSON", needs=("binary",))
def not_a_number(subject: Subject) -> str | None:
    model, taken, _ = subject.any_identity()
    rank = len(subject.ports("inputs", model)[0].shape)
    sent = tensor(taken, "FP32", (3,) if rank == 1 else (1, 3), (float("nan"), float("inf"), float("-inf")))
    answer = _binary_in_json_out(subject, sent, model)
    if answer.status != 200:
        error_body(answer)
        return None
    read(answer)
    return "non-finite numbers are answered as null or as text, which loses which one it was"


def _binary_in_json_out(subject: Subject, sent: Tensor, model: str) -> Answer:
    body, headers = binary_body([sent], back=False)
    return subject.http.send("POST", subject.path(model), body, headers)


def _nan_literal(subject: Subject) -> str | None:
    model, taken, _ = subject.any_identity()
    rank = len(subject.ports("inputs", model)[0].shape)
    shape = b"[1]" if rank == 1 else b"[1,1]"
    text = b'{"inputs":[{"name":"%s","datatype":"FP32","shape":%s,"data":[NaN]}]}' % (taken.encode(), shape)
    answer = subject.http.send("POST", subject.path(model), text, {"content-type": "application/json"})
    if answer.status == 200:
        try:
            read(answer)
        except Failed as failed:
            raise Failed(f"the literal NaN is taken, and the answer is no JSON: {failed}") from None
        return "the literal NaN is taken, though it is no JSON"
    error_body(answer)
    return None


check("data.nan_literal", "the literal NaN is no JSON: refused")(_nan_literal)


@check("data.model_name", "the unknown key 'model_name' is tolerated", needs=("model",))
def model_name(subject: Subject) -> str | None:
    read(subject.judge({"model_name": subject.model, **json_body(subject.sample)}))
    return None


@check("data.response", "the answer names the model, and its version is a string", needs=("model",))
def response(subject: Subject) -> str | None:
    found = subject.ask(subject.sample)
    that(found.model_name == subject.model, f"model_name is {found.model_name!r}, asked for {subject.model!r}")
    return None
