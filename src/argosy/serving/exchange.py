"""A request on its way, as the connection hands it to whoever answers, and its answer as bytes."""

from collections.abc import Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from argosy.spec.errors import ArgosyError, openai_error

if TYPE_CHECKING:
    from asyncio import BaseTransport

    from argosy.serving.connection import Connection
    from argosy.serving.offload import Reservation

Headers = Sequence[tuple[str, str]]

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MOST_MESSAGE = 4096
"""Characters of an error that are answered: what it repeats of the request may be long."""
INVOCATIONS = "/invocations"
"""What the path of MLflow's scoring server ends with."""
OPENAI = ("/v1/embeddings", "/v1/rerank")
MLFLOW_CODES = {
    404: "RESOURCE_DOES_NOT_EXIST",
    429: "REQUEST_LIMIT_EXCEEDED",
    501: "NOT_IMPLEMENTED",
    503: "TEMPORARILY_UNAVAILABLE",
}
"""HTTP status → MLflow's name of an error."""
_JSON = b"content-type: application/json\r\n"
_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class _Date:
    line = b""


def renew_date() -> None:
    """Bring the Date header up to date; called once a second."""
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


def error_reply(error: ArgosyError, path: str = "") -> tuple[int, bytes, Headers]:
    """Status, body `{"error": …}` and headers of an error; at the paths of MLflow and OpenAI with the keys that their
    clients read."""
    headers: Headers = ()
    if error.retry_after is not None:
        headers = (("retry-after", str(max(1, round(error.retry_after)))),)
    body: dict[str, Any] = {"error": error.message[:MOST_MESSAGE]}
    if path.removesuffix("/").endswith(OPENAI):
        body = openai_error(body["error"], error.http)
    elif path.removesuffix("/").endswith(INVOCATIONS):
        code = MLFLOW_CODES.get(error.http, "INTERNAL_ERROR" if error.http >= 500 else "BAD_REQUEST")
        body |= {"error_code": code, "message": body["error"]}
    return error.http, msgspec.json.encode(body), headers


class Exchange:
    """A request and the way to answer it, once. `cancelled` is called when its client goes away before that. `reserved`
    is released with the answer.
    """

    __slots__ = ("_connection", "answered", "body", "cancelled", "headers", "keep_alive", "method", "path", "reserved")

    def __init__(
        self, connection: "Connection", method: str, target: str, headers: dict[bytes, bytes], body: bytes
    ) -> None:
        self._connection = connection
        self.method = method
        self.path = target
        self.headers = headers
        self.body = body
        self.keep_alive = True
        self.answered = False
        self.cancelled: Callable[[], object] | None = None
        self.reserved: Reservation | None = None

    def answer(self, status: int, body: bytes | bytearray, headers: Headers = ()) -> None:
        """Send the answer; JSON unless a content-type is among the headers."""
        if not self.answered:
            self.answered = True
            self._connection.send(self, status, body, headers)
            if self.reserved is not None:
                self.reserved.release()

    def upgrade(self) -> "BaseTransport":
        """Give the connection away instead of an answer."""
        self.answered = True
        return self._connection.hand_over()

    def refuse(self, error: ArgosyError, headers: Headers = ()) -> None:
        """Send an error in the protocol's form."""
        status, body, extra = error_reply(error, self.path)
        self.answer(status, body, (*extra, *headers))
