"""A request on its way, as the connection hands it to whoever answers."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from argosy.serving.replies import Headers, error_reply
from argosy.spec.errors import ArgosyError

if TYPE_CHECKING:
    from argosy.serving.connection import Connection
    from argosy.serving.offload import Hold


class Exchange:
    """A request and the way to answer it, once. `cancelled` is called when its client goes away before that. `held`:
    what it holds for as long as it is not answered.
    """

    __slots__ = ("_connection", "answered", "body", "cancelled", "headers", "held", "keep_alive", "method", "path")

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
        self.held: Hold | None = None

    def answer(self, status: int, body: bytes | bytearray, headers: Headers = ()) -> None:
        """Send the answer; JSON unless a content-type is among the headers."""
        if not self.answered:
            self.answered = True
            self._connection.send(self, status, body, headers)
            if self.held is not None:
                self.held.release()

    def refuse(self, error: ArgosyError, headers: Headers = ()) -> None:
        """Send an error in the protocol's form."""
        status, body, extra = error_reply(error)
        self.answer(status, body, (*extra, *headers))
