"""gRPC failures: each malformed request has its status."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from argosy_conformance.check import check
from argosy_conformance.expect import that
from argosy_conformance.grpc_data import any_rank
from argosy_conformance.health import ABSENT
from argosy_conformance.messages import message
from argosy_conformance.rpc import CONTENTS, Refused, expect, request
from argosy_conformance.subject import Subject

BAD, MISSING = ("INVALID_ARGUMENT",), ("NOT_FOUND",)


def _mixed(sent: Any) -> None:
    item = sent.inputs[0]
    field = CONTENTS[item.datatype]
    value = {"bool_contents": True, "bytes_contents": b"a"}.get(field, 1)
    getattr(item.contents, field).append(value)


def _wrong_field(sent: Any) -> None:
    field = "bytes_contents" if sent.inputs[0].datatype != "BYTES" else "fp32_contents"
    contents = sent.inputs[0].contents
    contents.Clear()
    getattr(contents, field).append(b"a" if field == "bytes_contents" else 1.0)


def _rename(sent: Any) -> None:
    sent.inputs[0].name = "no-such-input"


def _negative(sent: Any) -> None:
    sent.inputs[0].shape[0] = -1


def _datatype(sent: Any, name: str) -> None:
    sent.inputs[0].datatype = name


def _duplicate(sent: Any) -> None:
    sent.inputs.add().CopyFrom(sent.inputs[0])
    sent.raw_input_contents.append(sent.raw_input_contents[0])


def _truncate(sent: Any) -> None:
    sent.raw_input_contents[0] = sent.raw_input_contents[0][:-1]


BROKEN: dict[str, tuple[str, bool, Callable[[Any], object]]] = {
    "mixed": ("raw and typed contents together", True, _mixed),
    "raw_count_more": ("more raw contents than inputs", True, lambda sent: sent.raw_input_contents.append(b"")),
    "raw_count_less": ("fewer raw contents than inputs", True, lambda sent: sent.inputs.add().CopyFrom(sent.inputs[0])),
    "raw_truncated": ("raw contents that do not fit the shape", True, _truncate),
    "typed_field": ("typed contents in the field of another datatype", False, _wrong_field),
    "typed_count": ("fewer elements than the shape says", False, lambda sent: sent.inputs[0].shape.__setitem__(0, 99)),
    "no_inputs": ("no inputs", False, lambda sent: sent.ClearField("inputs")),
    "misnamed_input": ("an input the model does not have", True, _rename),
    "duplicate_input": ("an input given twice", True, _duplicate),
    "negative_axis": ("a negative axis", True, _negative),
    "huge_shape": ("a shape far beyond its data", True, lambda sent: sent.inputs[0].shape.__setitem__(0, 2**60)),
    "datatype": ("a datatype that does not exist", True, partial(_datatype, name="FLOAT32")),
    "datatype_case": ("a datatype in lower case", True, lambda sent: _datatype(sent, sent.inputs[0].datatype.lower())),
    "output": ("an output the model does not have", True, lambda sent: sent.outputs.add(name="no-such-output")),
}  # fmt: skip


def _broken(subject: Subject, raw: bool, change: Callable[[Any], object]) -> str | None:
    sent = request(subject.model, subject.sample, raw=raw)
    change(sent)
    if change is _rename and len(subject.sample) == 1 and subject.mode != "strict":
        with suppress(Refused):
            subject.rpc.infer(sent)
            return "the one input goes by any name"
    note = expect(subject.rpc, "ModelInfer", sent, BAD)
    that(subject.rpc.call("ServerLive").live, "the server is no longer live")
    return note


for _name, (_title, _raw, _change) in BROKEN.items():
    check(f"grpc_errors.{_name}", f"{_title}: INVALID_ARGUMENT", needs=("grpc", "model"))(
        partial(_broken, raw=_raw, change=_change)
    )


@check("grpc_errors.unknown_model", "an unknown model: NOT_FOUND, in every call", needs=("grpc",))
def unknown_model(subject: Subject) -> str | None:
    expect(subject.rpc, "ModelInfer", message("ModelInferRequest")(model_name=ABSENT), MISSING, BAD)
    return expect(subject.rpc, "ModelMetadata", message("ModelMetadataRequest")(name=ABSENT), MISSING, BAD)


@check("grpc_errors.unknown_ready", "an unknown model is not ready: false or NOT_FOUND", needs=("grpc",))
def unknown_ready(subject: Subject) -> str | None:
    try:
        that(not subject.rpc.call("ModelReady", message("ModelReadyRequest")(name=ABSENT)).ready, "it is ready")
    except Refused as refused:
        that(refused.status.code in (*MISSING, "UNAVAILABLE"), f"expected NOT_FOUND, saw {refused.status.seen()}")
    return None


@check("grpc_errors.unknown_version", "an unknown version: NOT_FOUND", needs=("grpc", "model"))
def unknown_version(subject: Subject) -> str | None:
    sent = request(subject.model, subject.sample, model_version="918273")
    return expect(subject.rpc, "ModelInfer", sent, MISSING, (*BAD, "UNIMPLEMENTED"))


@check("grpc_errors.method", "a method that does not exist: UNIMPLEMENTED", needs=("grpc",))
def method(subject: Subject) -> str | None:
    try:
        subject.rpc.call("NoSuchMethod", message("ServerLiveRequest")(), answer="ServerLiveResponse")
    except Refused as refused:
        that(refused.status.code == "UNIMPLEMENTED", f"expected UNIMPLEMENTED, saw {refused.status.seen()}")
    else:
        that(False, "the call succeeded")
    return None


@check("grpc_errors.half_typed", "FP16 has no typed contents: INVALID_ARGUMENT", needs=("grpc",))
def half_typed(subject: Subject) -> str | None:
    model, taken, _, shape = any_rank(subject, "FP16", 1)
    sent = message("ModelInferRequest")(model_name=model)
    sent.inputs.add(name=taken, datatype="FP16", shape=shape).contents.fp32_contents.append(1.5)
    return expect(subject.rpc, "ModelInfer", sent, BAD)
