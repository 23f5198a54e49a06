"""Compressed bodies, both ways."""

import gzip
import zlib
from collections.abc import Callable
from functools import partial

import msgspec

from argosy_conformance.check import Skipped, check
from argosy_conformance.expect import error, ok, same_all, that
from argosy_conformance.rest import binary_body, json_body, read
from argosy_conformance.subject import Subject
from argosy_conformance.tensors import Tensor
from argosy_conformance.transport import JSON, Answer

PACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}


def _json_in(subject: Subject, coding: str) -> str | None:
    body = PACK[coding](msgspec.json.encode(json_body(subject.sample)))
    answer = subject.http.send("POST", subject.path(), body, {**JSON, "content-encoding": coding})
    _served(answer)
    same_all(read(answer).tensors, subject.ask(subject.sample).tensors, coding)
    return None


def _binary_in(subject: Subject, coding: str) -> str | None:
    body, headers = binary_body(subject.sample)
    answer = subject.http.send("POST", subject.path(), PACK[coding](body), {**headers, "content-encoding": coding})
    _served(answer)
    same_all(read(answer).tensors, subject.ask(subject.sample).tensors, f"{coding} with bytes")
    return None


def _served(answer: Answer) -> None:
    if answer.status == 415:
        error(answer, (415,))
        raise Skipped(f"the server does not read this coding: {answer.seen()}")


def _out(subject: Subject, coding: str, binary: bool) -> str | None:
    for count in (500, 5000):
        rows = subject.rows(1, rows=count)
        body, headers = binary_body(rows) if binary else (msgspec.json.encode(json_body(rows)), JSON)
        answer = ok(subject.http.send("POST", subject.path(), body, {**headers, "accept-encoding": coding}))
        applied = answer.headers.get("content-encoding")
        if applied is not None:
            return _unpacked(subject, answer, coding, rows)
    raise Skipped("the server does not compress its answers, not even of 5000 rows")


def _unpacked(subject: Subject, answer: Answer, coding: str, rows: list[Tensor]) -> str | None:
    applied = answer.headers["content-encoding"]
    that(applied == coding, f"asked for {coding}, got {applied}")
    try:
        plain = UNPACK[coding](answer.body)
    except (OSError, EOFError, zlib.error) as failure:
        that(False, f"the answer is no {coding} stream: {failure}")
        raise
    found = read(Answer(answer.status, answer.headers, plain))
    same_all(found.tensors, subject.ask(rows).tensors, f"{coding} answer")
    return None


for _coding in PACK:
    check(f"compression.{_coding}_json", f"a JSON request in {_coding}", needs=("model",))(
        partial(_json_in, coding=_coding)
    )
    check(f"compression.{_coding}_binary", f"a binary request in {_coding}; the header length is uncompressed",
          needs=("model", "binary"))(partial(_binary_in, coding=_coding))  # fmt: skip
    check(f"compression.{_coding}_answer", f"an answer in {_coding} when asked for", needs=("model",))(
        partial(_out, coding=_coding, binary=False)
    )
    check(f"compression.{_coding}_bytes_answer", f"a binary answer in {_coding}", needs=("model", "binary"))(
        partial(_out, coding=_coding, binary=True)
    )


@check("compression.unasked", "an answer is compressed only when asked for", needs=("model",))
def unasked(subject: Subject) -> str | None:
    answer = ok(subject.judge(json_body(subject.sample)))
    applied = answer.headers.get("content-encoding", "identity")
    that(applied == "identity", f"Accept-Encoding was identity, the answer came in {applied}")
    return None


@check("compression.unknown", "an unknown coding: 415", needs=("model",))
def unknown(subject: Subject) -> str | None:
    return error(subject.judge(json_body(subject.sample), **{"content-encoding": "snake-oil"}), (415,), (400,))


def _corrupt(subject: Subject, coding: str) -> str | None:
    packed = PACK[coding](msgspec.json.encode(json_body(subject.sample)))
    note = None
    for body in (packed[:-6], b"no stream at all"):
        answer = subject.http.send("POST", subject.path(), body, {**JSON, "content-encoding": coding})
        note = error(answer, (400,), (415, 422)) or note
    subject.alive()
    return note


for _coding in PACK:
    check(f"compression.{_coding}_corrupt", f"a broken {_coding} stream: 400", needs=("model",))(
        partial(_corrupt, coding=_coding)
    )
