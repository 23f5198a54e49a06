"""Error answers of any server, read back into the error table."""

from typing import Any

import msgspec

from argosy.spec.errors import ArgosyError, InvalidArgument, from_http, table

FOREIGN: dict[int, type[ArgosyError]] = {422: InvalidArgument}
"""Statuses that mean something else where the answer has no code of ours: FastAPI's 422 is about the request."""


def from_answer(status: int, body: bytes, where: str, retry_after: float | None = None) -> ArgosyError:
    """The exception for an answer that is no success: `{"error"[, "code"]}`, FastAPI's `detail`, or plain text."""
    message, code = _read(body)
    message = message or f"{where} answered {status} without saying why"
    cls = table().get(code)
    if cls is None or cls.http != status:
        cls = FOREIGN.get(status)
    error = cls(message) if cls else from_http(status, message)
    error.retry_after = retry_after
    return error


def _read(body: bytes) -> tuple[str, str]:
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _plain(body), ""
    for key in ("error", "detail", "message"):
        if found.get(key):
            value = found[key]
            return value if isinstance(value, str) else msgspec.json.encode(value).decode(), str(found.get("code", ""))
    return _plain(body), ""


def _plain(body: bytes) -> str:
    text = " ".join(body[:2000].decode(errors="replace").split())
    return text[:500]
