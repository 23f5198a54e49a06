"""Requests that fit the model only by another name, shape, datatype or field: answered as the right ones, or refused.

The protocol demands neither. Without a mode both pass, with a note; with one (`--mode tolerant`, `--mode strict`) the
server has to do what it says, over REST and gRPC alike.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from argosy_conformance import rest
from argosy_conformance.check import Failed, Skipped, check
from argosy_conformance.expect import error, same_all
from argosy_conformance.rest import Outputs
from argosy_conformance.rpc import Refused, request
from argosy_conformance.subject import Subject
from argosy_conformance.tensors import Tensor, tensor

Pair = tuple[list[Tensor], list[Tensor]]
"""What is right, and what means the same."""
NARROW = {"FP64": "INT32", "FP32": "INT32", "INT64": "INT32"}
NEIGHBOURS = {"FP64": "fp32_contents", "FP32": "fp64_contents", "INT64": "int_contents"}


def _name(subject: Subject) -> Pair:
    if len(subject.sample) != 1:
        raise Skipped(f"model '{subject.model}' has {len(subject.sample)} inputs, which go by name")
    return subject.sample, [subject.sample[0].renamed("no-such-input")]


def _axis(subject: Subject) -> Pair:
    first, *more = subject.sample
    return subject.sample, [Tensor(first.name, first.datatype, (*first.shape, 1), first.raw), *more]


def _datatype(subject: Subject) -> Pair:
    place, values = _whole(subject)
    first = subject.sample[place]
    right, other = list(subject.sample), list(subject.sample)
    right[place] = tensor(first.name, first.datatype, first.shape, values)
    other[place] = tensor(first.name, NARROW[first.datatype], first.shape, values)
    return right, other


def _whole(subject: Subject) -> tuple[int, list[int]]:
    """An input whose datatype has all that a narrower one has, and small whole numbers for it."""
    for place, one in enumerate(subject.sample):
        if one.datatype in NARROW:
            return place, [number % 2 for number in range(len(one.values()))]
    raise Skipped(f"model '{subject.model}' has no input of {', '.join(NARROW)}")


def _judged(subject: Subject, right: Outputs, found: Outputs | None, note: str | None) -> str | None:
    """By what became of the request: an answer, or a refusal with its note."""
    if found is None:
        if subject.mode == "tolerant":
            raise Failed("the server refuses it, and is to be tolerant")
        return None if subject.mode else note or "the server refuses it"
    if subject.mode == "strict":
        raise Failed("the server answers it, and is to be strict")
    same_all(found.tensors, right.tensors, "the request that fits")
    return None if subject.mode else "the server answers it"


def _over_rest(
    subject: Subject, pair: Callable[[Subject], Pair], change: Callable[[dict[str, Any]], object] | None = None
) -> str | None:
    right, other = pair(subject)
    body = rest.json_body(other)
    if change is not None:
        change(body)
    answer = subject.judge(body)
    if answer.status != 200:
        return _judged(subject, subject.ask(right), None, error(answer, (400,), (422,)))
    return _judged(subject, subject.ask(right), rest.read(answer), None)


def _over_grpc(subject: Subject, pair: Callable[[Subject], Pair]) -> str | None:
    right, other = pair(subject)
    return _sent(subject, right, request(subject.model, other))


def _sent(subject: Subject, right: list[Tensor], sent: Any) -> str | None:
    want = subject.rpc.infer(request(subject.model, right))
    try:
        return _judged(subject, want, subject.rpc.infer(sent), None)
    except Refused as refused:
        if refused.status.code != "INVALID_ARGUMENT":
            raise Failed(f"expected INVALID_ARGUMENT, saw {refused.status.seen()}") from None
        return _judged(subject, want, None, None)


def _plain(subject: Subject) -> Pair:
    return subject.sample, subject.sample


for _id, _title, _pair in (
    ("name", "the one input under another name", _name),
    ("axis", "a last axis of one element more", _axis),
    ("datatype", "a narrower datatype", _datatype),
):
    check(f"tolerance.{_id}", f"REST: {_title}", needs=("model",))(partial(_over_rest, pair=_pair))
    check(f"tolerance.grpc_{_id}", f"gRPC: {_title}", needs=("grpc", "model"))(partial(_over_grpc, pair=_pair))

FIELDS: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "field": ("a field that the protocol does not have", lambda body: body.update(unknown={"a": [1]})),
    "null": ("'parameters' of an input is null", lambda body: body["inputs"][0].update(parameters=None)),
    "null_parameter": ("a parameter is null", lambda body: body.update(parameters={"content_type": None})),
}
for _id, (_title, _change) in FIELDS.items():
    check(f"tolerance.{_id}", f"REST: {_title}", needs=("model",))(partial(_over_rest, pair=_plain, change=_change))


@check("tolerance.grpc_contents", "gRPC: typed contents in a neighbouring field", needs=("grpc", "model"))
def contents(subject: Subject) -> str | None:
    place, values = _whole(subject)
    right, _ = _datatype(subject)
    sent = request(subject.model, right, raw=False)
    item = sent.inputs[place]
    item.ClearField("contents")
    getattr(item.contents, NEIGHBOURS[item.datatype]).extend(values)
    return _sent(subject, right, sent)
