"""gRPC tensors: raw and typed contents of every datatype, and large messages."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from argosy_conformance.binary import SPECIAL
from argosy_conformance.check import Skipped, check
from argosy_conformance.expect import same, same_all, that
from argosy_conformance.rpc import CONTENTS, Refused, request
from argosy_conformance.subject import Subject
from argosy_conformance.tensors import DATATYPES, EXTREMES, Tensor, made, tensor


def any_rank(subject: Subject, datatype: str, size: int) -> tuple[str, str, str, tuple[int, ...]]:
    """The identity model of a datatype, its input, its output, and a shape of `size` elements."""
    try:
        return *subject.identity(datatype, 2), (1, size)
    except Skipped:
        return *subject.identity(datatype, 1), (size,)


def _echo(subject: Subject, datatype: str, raw: bool) -> str | None:
    values: Sequence[Any] = (*EXTREMES[datatype], *SPECIAL.get(datatype, ()))
    model, taken, given, shape = any_rank(subject, datatype, len(values))
    sent = tensor(taken, datatype, shape, values)
    found = subject.rpc.infer(request(model, [sent], raw=raw))
    that(given in found.tensors, f"model '{model}' answers {list(found.tensors)}, not '{given}'")
    same(found.tensors[given], sent)
    return None


for _datatype in DATATYPES:
    check(f"grpc_data.raw_{_datatype}", f"{_datatype} in raw contents, bit by bit", needs=("grpc",))(
        partial(_echo, datatype=_datatype, raw=True)
    )
    if _datatype in CONTENTS:
        check(f"grpc_data.typed_{_datatype}", f"{_datatype} in typed contents, bit by bit", needs=("grpc",))(
            partial(_echo, datatype=_datatype, raw=False)
        )


@check("grpc_data.form", "the answer is raw if the request was", needs=("grpc", "model"))
def form(subject: Subject) -> str | None:
    found = subject.rpc.infer(request(subject.model, subject.sample, raw=True))
    return None if found.binary else "a raw request got typed contents"


@check("grpc_data.outputs", "only the requested outputs, in that order", needs=("grpc", "model"))
def outputs(subject: Subject) -> str | None:
    every = subject.rpc.infer(request(subject.model, subject.sample)).tensors
    names = list(every)[::-1]
    found = subject.rpc.infer(request(subject.model, subject.sample, names=names)).tensors
    same_all(found, {name: every[name] for name in names}, "requested outputs")
    return None


@check("grpc_data.zero_size", "a tensor without elements, raw and typed", needs=("grpc",))
def zero_size(subject: Subject) -> str | None:
    model, taken, given, shape = any_rank(subject, "FP32", 3)
    sent = made(taken, "FP32", (0, *shape[1:]))
    for raw in (True, False):
        same(subject.rpc.infer(request(model, [sent], raw=raw)).tensors[given], sent, f"raw={raw}")
    return None


@check("grpc_data.large", "a tensor of 64 MiB passes", needs=("grpc",))
def large(subject: Subject) -> str | None:
    elements = 16 * 1024 * 1024
    model, taken, given, shape = any_rank(subject, "FP32", elements)
    sent = Tensor(taken, "FP32", shape, bytes(range(256)) * (elements * 4 // 256))
    try:
        response = subject.rpc.call("ModelInfer", request(model, [sent]))
    except Refused as refused:
        if refused.status.code == "RESOURCE_EXHAUSTED":
            return f"refused: {refused.status.seen()}"
        raise
    that(list(response.raw_output_contents) == [sent.raw], f"output '{given}' differs")
    return None
