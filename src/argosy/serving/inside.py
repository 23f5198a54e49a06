"""What the platform asks of a replica, on its Unix socket alone: its counts, and the answers it was told to keep.

`GET /argosy/counts` → `{MODEL: {VERSION: ReplicaCounts}}` in JSON; `POST /argosy/answers` → `Handed` in msgpack. The
gateway routes nothing here.
"""

import contextlib
import time
from typing import Any

import msgspec

from argosy.protocol.rest import Request, Response
from argosy.serving import internal_headers
from argosy.serving.answers import Answers
from argosy.serving.counts import ReplicaCounts
from argosy.serving.dataplane import DataPlane
from argosy.serving.exchange import Exchange
from argosy.serving.model import request_id
from argosy.spec.errors import ArgosyError, NotFound

PREFIX = "/argosy/"
RECORD = internal_headers.RECORD.encode()
"""A request that carries it has its answer kept."""
MSGPACK = (("content-type", "application/msgpack"),)


def handle(plane: DataPlane, answers: Answers, exchange: Exchange) -> None:
    """Answer one request of the platform. Raises NotFound."""
    asked = (exchange.method, exchange.path)
    if asked == ("GET", f"{PREFIX}counts"):
        exchange.answer(200, msgspec.json.encode(counts(plane)))
    elif asked == ("POST", f"{PREFIX}answers"):
        exchange.answer(200, answers.hand_out(), MSGPACK)
    else:
        raise NotFound(f"a replica has no {exchange.method} {exchange.path[:200]}")


def counts(plane: DataPlane) -> dict[str, dict[str, ReplicaCounts]]:
    """Model → version → what it counted."""
    found: dict[str, dict[str, ReplicaCounts]] = {}
    for model in plane.repository.models():
        found.setdefault(model.name, {})[model.version] = model.counts()
    return found


async def infer(
    plane: DataPlane, answers: Answers, name: str, version: str, request: Request, timeout: float | None, context: Any
) -> Response:
    """A gRPC call with its metadata, its answer kept where that was asked for. Raises ArgosyError."""
    headers = _headers(context)
    if RECORD not in headers:
        return await plane.infer(name, version, request, timeout, headers)
    id, start = request_id(headers), time.perf_counter_ns()
    try:
        response = await plane.infer(name, version, request, timeout, headers)
    except Exception as error:
        answers.keep(id, time.perf_counter_ns() - start, error)
        raise
    answers.keep(id, time.perf_counter_ns() - start, response)
    return response


def refused(plane: DataPlane, name: str, version: str, error: ArgosyError, context: Any) -> None:
    """Note a gRPC call that could not be read, where its model is known."""
    with contextlib.suppress(ArgosyError):
        headers = _headers(context)
        plane.model(name, version).refused(request_id(headers), error, headers)


def _headers(context: Any) -> dict[bytes, bytes]:
    return {key.encode(): _bytes(value) for key, value in context.invocation_metadata() or ()}


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
