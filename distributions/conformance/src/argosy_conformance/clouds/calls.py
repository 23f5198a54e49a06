"""Requests that the suites of several clouds make, at the path that each has for them."""

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import msgspec

from argosy_conformance.check import Failed, Skipped
from argosy_conformance.expect import ok, that
from argosy_conformance.rest import json_body
from argosy_conformance.subject import Subject
from argosy_conformance.transport import JSON, Answer

CSV = {"content-type": "text/csv"}
AT_ONCE = 16


def rows(subject: Subject) -> list[Any]:
    """Two rows that the model takes: those that were given, else made from its metadata."""
    if subject.rows_given is not None:
        that(len(subject.rows_given) >= 2, "--rows must hold two rows or more")
        return subject.rows_given[:2]
    found: list[Any] = []
    for number in (0, 1):
        row = {tensor.name: _nested(tensor.values(), tensor.shape)[number] for tensor in subject.sample}
        found.append(row if len(row) > 1 else next(iter(row.values())))
    return found


def _nested(values: list[Any], shape: tuple[int, ...]) -> list[Any]:
    plain = [value.decode() if isinstance(value, bytes) else value for value in values]
    for size in reversed(shape[1:]):
        plain = [plain[place : place + size] for place in range(0, len(plain), size)] if size else plain
    return plain


def cells_of(row: Any) -> list[Any]:
    """The values of a row in order; a row that is one value has one."""
    if isinstance(row, dict):
        return list(cast("dict[str, Any]", row).values())
    return cast("list[Any]", row) if isinstance(row, list) else [row]


def csv(subject: Subject) -> bytes:
    """The rows as CSV without a header. Skipped where they are no rows of scalars."""
    lines: list[str] = []
    for row in rows(subject):
        cells = cells_of(row)
        if any(isinstance(cell, list | dict) for cell in cells):
            raise Skipped("the model takes no table, so it has no CSV")
        lines.append(",".join(str(cell) for cell in cells))
    return ("\n".join(lines) + "\n").encode()


def predictions(answer: Answer, count: int) -> list[Any]:
    """The list under `predictions`, one for each row. Raises Failed."""
    found = ok(answer).object().get("predictions")
    that(isinstance(found, list), f'expected {{"predictions": [...]}}, saw {answer.seen()}')
    listed = cast("list[Any]", found)
    that(len(listed) == count, f"{len(listed)} predictions for {count} rows: {answer.seen()}")
    return listed


def alone_and_together(subject: Subject, path: str, key: str = "instances", **more: Any) -> None:
    """A prediction for each row, in the order of the rows."""
    both = rows(subject)
    together = predictions(subject.http.post(path, {key: both, **more}), 2)
    alone = [predictions(subject.http.post(path, {key: [row], **more}), 1)[0] for row in both]
    for number, (seen, want) in enumerate(zip(together, alone, strict=True)):
        that(_near(seen, want), f"row {number} is answered {seen!r} beside another, {want!r} alone")


def _near(left: Any, right: Any) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        left, right = cast("dict[str, Any]", left), cast("dict[str, Any]", right)
        return left.keys() == right.keys() and all(_near(left[name], right[name]) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        left, right = cast("list[Any]", left), cast("list[Any]", right)
        return len(left) == len(right) and all(map(_near, left, right))
    if isinstance(left, int | float) and isinstance(right, int | float):
        return math.isclose(left, right, rel_tol=1e-4, abs_tol=1e-4)
    return left == right


def nonsense(subject: Subject, path: str) -> None:
    """What is no request is a 4xx, and the server answers on."""
    for body in (b"{", b"[]", b'{"instances": []}', b'{"instances": "x"}', b"\xff\xfe"):
        answer = subject.http.send("POST", path, body, JSON)
        that(400 <= answer.status < 500, f"{body!r}: expected a 4xx, saw {answer.seen()}")
    predictions(subject.http.post(path, {"instances": rows(subject)}), 2)


def padded(subject: Subject, path: str, size: int) -> None:
    """A body of `size` bytes, most of them white space."""
    body = msgspec.json.encode({"instances": rows(subject)})
    predictions(subject.http.send("POST", path, body + b" " * (size - len(body)), JSON), 2)


def chunked(subject: Subject, path: str) -> None:
    """A body without a length."""
    body = msgspec.json.encode({"instances": rows(subject)})
    predictions(subject.http.send("POST", path, iter((body[:5], body[5:])), JSON), 2)


def at_once(subject: Subject, path: str) -> None:
    """Requests at one time."""
    body = {"instances": rows(subject)}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for future in [pool.submit(subject.http.post, path, body) for _ in range(4 * AT_ONCE)]:
            predictions(future.result(), 2)


def tensors(subject: Subject, path: str) -> str | None:
    """The Open Inference Protocol in a body, which a server may leave out."""
    try:
        body = json_body(subject.sample)
    except Skipped as skipped:
        raise Skipped(f"the server does not speak the Open Inference Protocol: {skipped}") from None
    answer = subject.http.post(path, body)
    if 400 <= answer.status < 500:
        return f"tensors are refused here: {answer.seen()}"
    that(isinstance(ok(answer).object().get("outputs"), list), f"expected outputs, saw {answer.seen()}")
    return None


def healthy(subject: Subject, path: str, seconds: float) -> Answer:
    """GET a path of health: 200 within the seconds that the place waits. Raises Failed."""
    before, subject.http.timeout = subject.http.timeout, seconds
    try:
        subject.http.fresh()
        return ok(subject.http.get(path))
    finally:
        subject.http.timeout = before
        subject.http.fresh()


def any_name(subject: Subject, path: str, headers: Mapping[str, str] | None = None) -> None:
    """The server answers to whatever name the place gives it."""
    fields = {"host": "service-a1b2.example", **(headers or {})}
    data = subject.http.head("GET", path, {}).split(b"\r\n")
    lines = [line for line in data if not line.lower().startswith(b"host:")][:-2]
    text = b"\r\n".join([*lines, *(f"{name}: {value}".encode() for name, value in fields.items()), b"", b""])
    answer = subject.http.raw(text)
    if answer is None:
        raise Failed("a request with another Host was not answered")
    ok(answer)
