"""HTTP answers as bytes."""

from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus

import msgspec

from argosy.spec.errors import ArgosyError

Headers = Sequence[tuple[str, str]]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MOST_MESSAGE = 4096
"""Characters of an error that are told: what it repeats of the request may be long."""
_JSON = b"content-type: application/json\r\n"
_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class _Date:
    """The Date header, renewed once a second by the server's sweep."""

    line = b""


def renew_date() -> None:
    """Bring the Date header up to date."""
    _Date.line = f"date: {formatdate(usegmt=True)}\r\n".encode()


renew_date()


def reply(status: int, body: bytes | bytearray, headers: Headers, keep_alive: bool, head_only: bool = False) -> bytes:
    """A whole answer. The content type is JSON unless the headers name another."""
    lines = b"".join([f"{name}: {value}\r\n".encode("latin-1") for name, value in headers]) if headers else b""
    return b"".join(
        (
            _STATUS[status],
            _Date.line,
            b"" if b"content-type:" in lines else _JSON,
            lines,
            b"content-length: %d\r\n\r\n" % len(body)
            if keep_alive
            else b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body),
            b"" if head_only else body,
        )
    )


def error_reply(error: ArgosyError) -> tuple[int, bytes, Headers]:
    """Status, body `{"error": …}` and headers of an error."""
    headers: Headers = ()
    if error.retry_after is not None:
        headers = (("retry-after", str(max(1, round(error.retry_after)))),)
    return error.http, msgspec.json.encode({"error": error.message[:MOST_MESSAGE]}), headers
