"""The binary tensor extension, and the framings of HTTP that carry it."""

import struct
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from argosy_conformance.check import Skipped, check
from argosy_conformance.expect import error, ok, same, same_all, that
from argosy_conformance.rest import LENGTH, binary_body, described, join, json_body, read
from argosy_conformance.subject import Subject
from argosy_conformance.tensors import DATATYPES, EXTREMES, Tensor, made, tensor
from argosy_conformance.transport import Answer

NEEDS: Any = ("model", "binary")
SPECIAL: dict[str, tuple[Any, ...]] = {
    "BYTES": (b"", b"\x00", b"\xff\xfe\x80", b"a\x00b", b"x" * 70_000),
    **{kind: (float("nan"), float("inf"), float("-inf"), -0.0) for kind in ("FP16", "FP32", "FP64")},
}
"""What JSON cannot carry."""


def _echo(subject: Subject, datatype: str) -> str | None:
    values = (*EXTREMES[datatype], *SPECIAL.get(datatype, ()))
    try:
        model, taken, given = subject.identity(datatype, 2)
        shape: tuple[int, ...] = (1, len(values))
    except Skipped:
        model, taken, given = subject.identity(datatype, 1)
        shape = (len(values),)
    sent = tensor(taken, datatype, shape, values)
    found = subject.ask_binary([sent], model=model)
    same(found.tensors[given], sent)
    that(given in found.binary, "binary_data_output was asked for, the output came as JSON")
    return None


for _datatype in DATATYPES:
    check(f"binary.{_datatype}", f"{_datatype} survives bit by bit, both ways", needs=("binary",))(
        partial(_echo, datatype=_datatype)
    )


@check("binary.BF16", "BF16, where served, survives bit by bit", needs=("binary",))
def bf16(subject: Subject) -> str | None:
    model, taken, given = subject.identity("BF16", 2)
    body, headers = binary_body([Tensor(taken, "BF16", (1, 2), b"\x80\x3f\xc0\x7f")])
    answer = ok(subject.http.send("POST", subject.path(model), body, headers))
    size = int(answer.headers.get(LENGTH, "0"))
    that(answer.body[size:] == b"\x80\x3f\xc0\x7f", f"output '{given}' differs: {answer.body[size:]!r}")
    return None


@check("binary.zero_size", "a tensor without elements: binary_data_size 0, data absent", needs=("binary",))
def zero_size(subject: Subject) -> str | None:
    model, taken, given = subject.any_identity()
    rank = len(subject.ports("inputs", model)[0].shape)
    sent = made(taken, "FP32", (0,) if rank == 1 else (0, 3))
    same(subject.ask_binary([sent], model=model).tensors[given], sent)
    return None


@check("binary.equals_json", "binary and JSON give the same outputs", needs=NEEDS)
def equals_json(subject: Subject) -> str | None:
    same_all(subject.ask_binary(subject.sample).tensors, subject.ask(subject.sample).tensors, "binary against JSON")
    return None


@check("binary.advertised", "'binary_tensor_data' is among the extensions", needs=NEEDS)
def advertised(subject: Subject) -> str | None:
    return None if "binary_tensor_data" in subject.extensions else f"only {list(subject.extensions)} are advertised"


@check("binary.mixed", "JSON data beside binary data consumes no bytes", needs=NEEDS)
def mixed(subject: Subject) -> str | None:
    if len(subject.sample) < 2:
        raise Skipped(f"model '{subject.model}' has one input")
    first, *rest = subject.sample
    body, headers = join(
        {"inputs": [first.json(), *(described(item) for item in rest)]}, b"".join(item.raw for item in rest)
    )
    found = read(subject.http.send("POST", subject.path(), body, headers))
    same_all(found.tensors, subject.ask(subject.sample).tensors, "mixed against JSON")
    return None


@check("binary.in_json_out", "binary input, JSON output when nothing else is asked", needs=NEEDS)
def in_json_out(subject: Subject) -> str | None:
    body, headers = binary_body(subject.sample, back=False)
    found = read(subject.http.send("POST", subject.path(), body, headers))
    that(not found.binary, f"outputs {sorted(found.binary)} came as bytes unasked")
    same_all(found.tensors, subject.ask(subject.sample).tensors, "binary in, JSON out")
    return None


@check("binary.per_output", "outputs[i].parameters.binary_data overrides binary_data_output", needs=NEEDS)
def per_output(subject: Subject) -> str | None:
    want = subject.ask(subject.sample).tensors
    name = next(iter(want))
    for default in (True, False):
        body = json_body(subject.sample, parameters={"binary_data_output": default})
        body["outputs"] = [{"name": name, "parameters": {"binary_data": not default}}]
        found = read(subject.judge(body))
        same(found.tensors[name], want[name])
        that((name in found.binary) is not default, f"default {default}, output {not default}: binary is {default}")
    return None


@check("binary.json_in", "binary output for a JSON request", needs=NEEDS)
def json_in(subject: Subject) -> str | None:
    found = read(subject.judge(json_body(subject.sample, parameters={"binary_data_output": True})))
    that(
        found.binary == frozenset(found.tensors), f"only {sorted(found.binary)} of {list(found.tensors)} came as bytes"
    )
    same_all(found.tensors, subject.ask(subject.sample).tensors, "JSON in, binary out")
    return None


@check("binary.raw_request", "header length 0: the whole body is the one input", needs=("binary",))
def raw_request(subject: Subject) -> str | None:
    model, taken, given = subject.any_identity()
    rank = len(subject.ports("inputs", model)[0].shape)
    sent = made(taken, "FP32", (4,) if rank == 1 else (1, 4))
    answer = subject.http.send("POST", subject.path(model), sent.raw, {LENGTH: "0"})
    if 400 <= answer.status < 500 or answer.status == 501:
        raise Skipped(f"raw binary requests are not served: {answer.seen()}")
    that(read(answer).tensors[given].raw == sent.raw, "the output differs from the input")
    return None


def _send(subject: Subject, change: Any) -> Answer:
    """A binary request altered by `change(header, raw, fields)`, which returns the new bytes behind the header."""
    header: dict[str, Any] = {"inputs": [described(item) for item in subject.sample]}
    raw = b"".join(item.raw for item in subject.sample)
    fields: dict[str, str] = {}
    raw = change(header, raw, fields)
    body, headers = join(header, raw)
    return subject.http.send("POST", subject.path(), body, {**headers, **fields})


def _length(value: str) -> Any:
    def change(header: Any, raw: bytes, fields: dict[str, str]) -> bytes:
        fields[LENGTH] = value
        return raw

    return change


def _size(by: int) -> Any:
    def change(header: Any, raw: bytes, fields: Any) -> bytes:
        header["inputs"][0]["parameters"]["binary_data_size"] += by
        return raw

    return change


def _consistent_size(header: Any, raw: bytes, fields: Any) -> bytes:
    header["inputs"][-1]["parameters"]["binary_data_size"] += 8
    return raw + struct.pack("<q", 0)


def _both(header: Any, raw: bytes, fields: Any) -> bytes:
    header["inputs"][0]["data"] = [1]
    return raw


def _neither(header: Any, raw: bytes, fields: Any) -> bytes:
    size = header["inputs"][0].pop("parameters")["binary_data_size"]
    return raw[size:]


def _size_value(value: Any) -> Any:
    def change(header: Any, raw: bytes, fields: Any) -> bytes:
        header["inputs"][0]["parameters"]["binary_data_size"] = value
        return raw

    return change


REJECTED: dict[str, tuple[str, Any]] = {
    "header_beyond": ("a header length beyond the body", _length("99999999")),
    "header_text": ("a header length that is no integer", _length("ten")),
    "header_negative": ("a negative header length", _length("-5")),
    "header_short": ("a header length that cuts the JSON", _length("7")),
    "size_over": ("a size beyond the body", _size(4)),
    "size_under": ("a size that leaves bytes over", _size(-4)),
    "size_unfit": ("a size that does not fit the shape", _consistent_size),
    "leftover": ("bytes behind the last tensor", lambda header, raw, fields: raw + b"\x00"),  # pyright: ignore[reportUnknownLambdaType]
    "truncated": ("fewer bytes than announced", lambda header, raw, fields: raw[:-1]),  # pyright: ignore[reportUnknownLambdaType]
    "both": ("both data and binary_data_size", _both),
    "neither": ("neither data nor binary_data_size", _neither),
    "size_text": ("a binary_data_size that is no integer", _size_value("8")),
    "size_negative": ("a negative binary_data_size", _size_value(-8)),
    "size_huge": ("a binary_data_size of 2^62", _size_value(2**62)),
}


def _rejected(subject: Subject, change: Any) -> str | None:
    note = error(_send(subject, change), (400,), (422,))
    subject.alive()
    return note


for _name, (_title, _change) in REJECTED.items():
    check(f"binary.{_name}", f"{_title}: 400", needs=NEEDS)(partial(_rejected, change=_change))


@check("binary.bad_bytes", "a BYTES element that runs past its tensor: 400", needs=("binary",))
def bad_bytes(subject: Subject) -> str | None:
    model, taken, _ = subject.identity("BYTES", 2)
    for raw in (struct.pack("<I", 9) + b"abc", b"\x01\x00", struct.pack("<I", 2**32 - 1) + b"abc"):
        body, headers = binary_body([Tensor(taken, "BYTES", (1, 1), raw)])
        error(subject.http.send("POST", subject.path(model), body, headers), (400,), (422,))
    return None


@check("binary.no_content_type", "no Content-Type is needed, neither for JSON nor for bytes", needs=("model",))
def no_content_type(subject: Subject) -> str | None:
    want = subject.ask(subject.sample).tensors
    text = msgspec.json.encode(json_body(subject.sample))
    same_all(read(subject.http.send("POST", subject.path(), text)).tensors, want, "without Content-Type")
    if subject.binary:
        body, headers = binary_body(subject.sample)
        headers.pop("content-type")
        same_all(read(subject.http.send("POST", subject.path(), body, headers)).tensors, want, "without Content-Type")
    return None


@check("binary.chunked", "chunked bodies are read, cut anywhere", needs=("model",))
def chunked(subject: Subject) -> str | None:
    want = subject.ask(subject.sample).tensors
    text = msgspec.json.encode(json_body(subject.sample))
    headers = {"content-type": "application/json"}
    same_all(read(subject.http.send("POST", subject.path(), _pieces(text), headers)).tensors, want, "chunked JSON")
    if subject.binary:
        body, headers = binary_body(subject.sample)
        same_all(read(subject.http.send("POST", subject.path(), _pieces(body), headers)).tensors, want, "chunked bytes")
    return None


def _pieces(body: bytes) -> Iterator[bytes]:
    for at in range(0, len(body), 7):
        yield body[at : at + 7]
