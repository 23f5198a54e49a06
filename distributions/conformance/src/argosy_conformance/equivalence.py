"""Equivalence: the four ways to ask return the same bits."""

from functools import partial

from argosy_conformance.check import Skipped, check
from argosy_conformance.expect import same_all
from argosy_conformance.rest import Outputs
from argosy_conformance.rpc import request
from argosy_conformance.subject import Subject
from argosy_conformance.tensors import DATATYPES, Tensor, made


def answers(subject: Subject, model: str, sent: list[Tensor]) -> dict[str, Outputs]:
    """The answer of every way that the server has, by its name."""
    found: dict[str, Outputs] = {}
    half = any(item.datatype == "FP16" for item in sent)
    if not half:
        found["REST JSON"] = subject.ask(sent, model=model)
    if subject.binary:
        found["REST binary"] = subject.ask_binary(sent, model=model)
    if subject.maybe_rpc:
        found["gRPC raw"] = subject.rpc.infer(request(model, sent, raw=True))
        if not half:
            found["gRPC typed"] = subject.rpc.infer(request(model, sent, raw=False))
    if len(found) < 2:
        raise Skipped("the server has one way to ask only (no binary extension, no --grpc)")
    return found


def agree(found: dict[str, Outputs]) -> None:
    """Every answer equals the first."""
    (first, want), *rest = found.items()
    for name, seen in rest:
        same_all(seen.tensors, want.tensors, f"{name} against {first}")


def _note(found: dict[str, Outputs]) -> str | None:
    absent = [way for way in ("REST JSON", "REST binary", "gRPC raw", "gRPC typed") if way not in found]
    return f"judged without {', '.join(absent)}" if absent else None


@check("equivalence.model", "the model answers the same bits over JSON, binary, gRPC raw and typed", needs=("model",))
def model(subject: Subject) -> str | None:
    found = answers(subject, subject.model, subject.sample)
    agree(found)
    return _note(found)


@check("equivalence.rows", "so it does for many different rows", needs=("model",))
def rows(subject: Subject) -> str | None:
    for seed in range(1, 9):
        agree(answers(subject, subject.model, subject.rows(seed, rows=1 + seed % 3)))
    return None


def _identity(subject: Subject, datatype: str) -> str | None:
    try:
        name, taken, _ = subject.identity(datatype, 2)
        sent = made(taken, datatype, (2, 3), seed=5)
    except Skipped:
        name, taken, _ = subject.identity(datatype, 1)
        sent = made(taken, datatype, (6,), seed=5)
    agree(answers(subject, name, [sent]))
    return None


for _datatype in DATATYPES:
    check(f"equivalence.{_datatype}", f"{_datatype}: the same bits every way")(partial(_identity, datatype=_datatype))
