"""One table of errors: exception → code → HTTP status on localhost, exit status of `argosy-edge`.

The names and numbers are those of the platform. What is not an `AgentError` is a bug, and is answered as `internal`.
"""

from typing import ClassVar


class AgentError(Exception):
    """Base of all that can be met. The message says what was wrong, where, and what to do."""

    code: ClassVar[str] = "internal"
    http: ClassVar[int] = 500
    exit: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Internal(AgentError):
    """The model, or the agent, failed."""


class InvalidArgument(AgentError):
    """What was asked does not fit the signature of the model, or cannot be understood."""

    code, http, exit = "invalid_argument", 400, 2


class Unauthenticated(AgentError):
    """The platform knows no session, or no device, of this kind."""

    code, http, exit = "unauthenticated", 401, 3


class PermissionDenied(AgentError):
    """It is understood, and not allowed."""

    code, http, exit = "permission_denied", 403, 3


class NotFound(AgentError):
    """No such model, version, path or file."""

    code, http, exit = "not_found", 404, 4


class MethodNotAllowed(AgentError):
    """The path exists, the method does not."""

    code, http, exit = "method_not_allowed", 405, 2


class RequestTimeout(AgentError):
    """The caller was too slow in sending its request."""

    code, http, exit = "request_timeout", 408, 6


class Conflict(AgentError):
    """A port or a folder that is in use."""

    code, http, exit = "conflict", 409, 5


class PayloadTooLarge(AgentError):
    """A body or file over its limit."""

    code, http, exit = "payload_too_large", 413, 2


class UnsupportedEncoding(AgentError):
    """A content encoding that nobody here reads."""

    code, http, exit = "unsupported_encoding", 415, 2


class BadPackage(AgentError):
    """A package that is broken, or is not what its manifest says."""

    code, http, exit = "bad_package", 422, 7


class GoldenMismatch(BadPackage):
    """The model loads, but does not answer its golden examples as it has to."""

    code = "golden_mismatch"


class OverBudget(BadPackage):
    """The model takes more time or memory than it may."""

    code = "over_budget"


class BadSignature(AgentError):
    """What had to be signed and is not: without a signature, by another key, or over other bytes."""

    code, http, exit = "bad_signature", 422, 8


class RequestTooLarge(AgentError):
    """A request line and headers over the limit."""

    code, http, exit = "request_too_large", 431, 2


class Unsupported(AgentError):
    """The protocol or the format has it, a device does not."""

    code, http, exit = "unsupported", 501, 2


class Unavailable(AgentError):
    """Not ready, or too much waits: try again."""

    code, http, exit = "unavailable", 503, 6


class StorageFull(AgentError):
    """No space left on the device; nothing was changed."""

    code, http, exit = "storage_full", 507, 10
