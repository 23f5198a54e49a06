"""One table of errors: exception → code → HTTP status, gRPC status, exit status of the command line.

Whatever is not an `ArgosyError` is a bug: it is answered as `internal`, with the request id and never with its text.
"""

import importlib
from types import ModuleType
from typing import Any, ClassVar

from argosy.spec.install import extras, pip

INVALID, FAILED = "invalid_request_error", "server_error"
OPENAI = {
    400: (INVALID, "invalid_request"),
    401: (INVALID, "invalid_api_key"),
    403: (INVALID, "permission_denied"),
    404: (INVALID, "model_not_found"),
    413: (INVALID, "request_too_large"),
    429: ("requests", "rate_limit_exceeded"),
    503: (FAILED, "service_unavailable"),
}
"""HTTP status → type and code of an error of OpenAI's API."""
INTERRUPTED = 130
"""The exit status of what SIGINT or SIGTERM has ended in good order: that is no error, so it is not in the table."""


class ArgosyError(Exception):
    """Base of everything a user can cause or meet.

    Subclasses say what went wrong by their `code`; the message says where and what to do.
    """

    code: ClassVar[str] = "internal"
    http: ClassVar[int] = 500
    grpc: ClassVar[int] = 13
    exit: ClassVar[int] = 1

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after


class Internal(ArgosyError):
    """A bug of ours or of the model: 500."""


class InvalidArgument(ArgosyError):
    """The input cannot be understood or does not fit the signature."""

    code, http, grpc, exit = "invalid_argument", 400, 3, 2


class Unauthenticated(ArgosyError):
    """No key, or one that is unknown or revoked."""

    code, http, grpc, exit = "unauthenticated", 401, 16, 3


class PermissionDenied(ArgosyError):
    """The key is good, its scope does not cover this."""

    code, http, grpc, exit = "permission_denied", 403, 7, 3


class NotFound(ArgosyError):
    """No such model, version, alias, endpoint or file."""

    code, http, grpc, exit = "not_found", 404, 5, 4


class MethodNotAllowed(ArgosyError):
    """The path exists, the method does not."""

    code, http, grpc, exit = "method_not_allowed", 405, 12, 2


class RequestTimeout(ArgosyError):
    """The caller was too slow in sending its body."""

    code, http, grpc, exit = "request_timeout", 408, 4, 6


class Conflict(ArgosyError):
    """What is asked contradicts what is there: a name taken, a lock held, a port in use."""

    code, http, grpc, exit = "conflict", 409, 6, 5


class PayloadTooLarge(ArgosyError):
    """A body, file or tensor over its declared limit."""

    code, http, grpc, exit = "payload_too_large", 413, 8, 2


class RequestTooLarge(ArgosyError):
    """A request line and headers over the limit."""

    code, http, grpc, exit = "request_too_large", 431, 8, 2


class UnsupportedEncoding(ArgosyError):
    """A Content-Encoding or media type nobody here speaks."""

    code, http, grpc, exit = "unsupported_encoding", 415, 3, 2


class RateLimited(ArgosyError):
    """The key's limit is spent."""

    code, http, grpc, exit = "rate_limited", 429, 8, 6


class Unsupported(ArgosyError):
    """The protocol or the format has it, this server or package does not."""

    code, http, grpc, exit = "unsupported", 501, 12, 2


class Unavailable(ArgosyError):
    """Not ready, draining, or the queue is full: try again after `retry_after` seconds."""

    code, http, grpc, exit = "unavailable", 503, 14, 6


class DeadlineExceeded(ArgosyError):
    """The caller's time ran out before the answer was there."""

    code, http, grpc, exit = "deadline_exceeded", 504, 4, 6


class BadPackage(ArgosyError):
    """A model file or package that is broken, altered, or does something it must not."""

    code, http, grpc, exit = "bad_package", 422, 9, 7


class GoldenMismatch(BadPackage):
    """The package loads, but does not answer as the model did when it was packaged."""

    code = "golden_mismatch"


class Untrusted(ArgosyError):
    """A scan found code that would run on load; `--trust` is needed."""

    code, http, grpc, exit = "untrusted", 422, 9, 8


class BadSignature(Untrusted):
    """A package that has to be signed and is not: without a signature, by another key, or over other bytes."""

    code = "bad_signature"


class MissingExtra(ArgosyError):
    """An engine, reader or command that is not installed. The message holds the command that installs it."""

    code, http, grpc, exit = "missing_extra", 501, 12, 9

    @classmethod
    def named(cls, extra: str, need: str) -> "MissingExtra":
        """The standard sentence: what needs it, and the command that brings it."""
        return cls(f"{need} needs the extra '{extra}', which is not installed: run  {pip()} {extras(extra)}")


class StorageFull(ArgosyError):
    """No space left under ARGOSY_HOME; nothing was changed."""

    code, http, grpc, exit = "storage_full", 507, 8, 10


class OutOfMemory(ArgosyError):
    """No memory for another model; those that are loaded answer on."""

    code, http, grpc, exit = "out_of_memory", 507, 8, 10


def table() -> dict[str, type[ArgosyError]]:
    """Every code with the class that carries it, in the order of this file."""
    classes = [cls for cls in globals().values() if isinstance(cls, type) and issubclass(cls, ArgosyError)]
    return {cls.code: cls for cls in classes}


def code_of(error: BaseException) -> str:
    """The code of an error; of a bug `internal`."""
    return error.code if isinstance(error, ArgosyError) else "internal"


def from_http(status: int, message: str) -> ArgosyError:
    """The exception a client raises for an HTTP answer: the first of the table with this status."""
    for cls in table().values():
        if cls.http == status and cls is not Internal:
            return cls(message)
    return (InvalidArgument if 400 <= status < 500 else Internal)(message)


def openai_error(message: str, status: int, code: str = "") -> dict[str, Any]:
    """The body of an error of OpenAI's API; `code` where it is not the one of a model's request."""
    kind, usual = OPENAI.get(status, (INVALID, "invalid_request") if status < 500 else (FAILED, "engine_failed"))
    return {"error": {"message": message, "type": kind, "param": None, "code": code or usual}}


def require(module: str, extra: str, need: str) -> ModuleType:
    """Import a framework; MissingExtra with the command that installs it where it is not there."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == module.partition(".")[0]:
            raise MissingExtra.named(extra, need) from None
        raise
