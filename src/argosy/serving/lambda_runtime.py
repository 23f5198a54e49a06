"""Lambda's Runtime API: events are fetched, answered as requests of the data plane, and their answers sent back."""

import asyncio
import base64
import contextlib
import http.client
import logging
import os
import signal
import socket
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from argosy.serving.contract_app import ContractApp, Relay
from argosy.serving.contracts import Binding
from argosy.serving.dataplane import DataPlane
from argosy.serving.exchange import Headers
from argosy.serving.http import TIMEOUT_HEADER
from argosy.spec.errors import InvalidArgument

log = logging.getLogger("argosy.serving")

BASE = "/2018-06-01/runtime"
MARGIN_MS = 200
"""Before the deadline of an event: what it takes to send an answer that says that it passed."""
Reply = tuple[int, bytes, Headers]


class _Http(msgspec.Struct, frozen=True):
    method: str = ""


class _Context(msgspec.Struct, frozen=True):
    http: _Http = _Http()
    stage: str = ""


class _Event(msgspec.Struct, frozen=True):
    """A request as API Gateway, function URLs and load balancers write it."""

    request_context: _Context = msgspec.field(name="requestContext")
    raw_path: str = msgspec.field(name="rawPath", default="")
    http_method: str = msgspec.field(name="httpMethod", default="")
    path: str = ""
    headers: dict[str, str] | None = None
    body: str | None = None
    encoded: bool = msgspec.field(name="isBase64Encoded", default=False)


_decode = msgspec.json.Decoder(_Event).decode


class RuntimeApi:
    """Lambda's side, at `HOST:PORT`. Calls block; `close` ends one that waits for an event. Raises OSError,
    HTTPException."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._waiting: socket.socket | None = None
        self._closed = False

    def next(self) -> tuple[Mapping[str, str], bytes]:
        """The headers of the next event, by their names in lower case, and its body."""
        with contextlib.closing(http.client.HTTPConnection(self._address)) as connection:
            connection.request("GET", f"{BASE}/invocation/next")
            self._waiting = connection.sock
            if self._closed:  # looked at after `_waiting` is there for `close`, which sets it before it looks
                raise ConnectionAbortedError("no more events are wanted")
            answer = connection.getresponse()
            return {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def send(self, path: str, body: bytes) -> None:
        """Send an answer. One that is too large for Lambda is reported to the caller by it."""
        with contextlib.closing(http.client.HTTPConnection(self._address, timeout=30)) as connection:
            connection.request("POST", f"{BASE}{path}", body, {"content-type": "application/json"})
            if (status := connection.getresponse().status) not in (202, 413):
                raise http.client.HTTPException(f"{path} is answered {status}")

    def close(self) -> None:
        """End the wait for an event, and those to come."""
        self._closed = True
        if self._waiting is not None:
            with contextlib.suppress(OSError):
                self._waiting.shutdown(socket.SHUT_RDWR)


class LambdaApp(ContractApp):
    """The data plane behind Lambda's Runtime API, one event at a time, as Lambda sends them.

    An event of API Gateway (1.0 and 2.0), a function URL or a load balancer is a request with a path, and is answered
    as one. Any other is the body of an invocation; its answer is what the body of that would be.
    """

    def __init__(self, plane: DataPlane, binding: Binding, api: str) -> None:
        super().__init__(plane, binding)
        self._api = RuntimeApi(api)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._api.close()

    async def _run(self) -> None:
        try:
            while True:
                headers, body = await asyncio.to_thread(self._api.next)
                path, answer = await self._event(headers, body)
                await asyncio.to_thread(self._api.send, path, answer)
        except (OSError, http.client.HTTPException, KeyError) as error:
            log.error("Lambda's Runtime API: %s: %s", type(error).__name__, error)
            os.kill(os.getpid(), signal.SIGTERM)

    async def _event(self, about: Mapping[str, str], event: bytes) -> tuple[str, bytes]:
        """Where the answer of an event goes, and the answer."""
        place = f"/invocation/{about['lambda-runtime-aws-request-id']}"
        left = int(about.get("lambda-runtime-deadline-ms", 0)) - int(time.time() * 1000) - MARGIN_MS
        try:
            request = _request(event)
        except InvalidArgument as error:
            return f"{place}/error", _failure(error.message, "InvalidArgument")
        method, path, headers, body = request or ("POST", "/", {}, event)
        if left > 0:
            headers.setdefault(TIMEOUT_HEADER, str(left).encode())
        status, data, extra = await self._ask(method, path, headers, body)
        if request is not None:
            return f"{place}/response", msgspec.json.encode(_response(status, data, extra))
        if status < 400:
            return f"{place}/response", data
        return f"{place}/error", _failure(msgspec.json.decode(data, type=dict[str, Any])["error"], f"HTTP{status}")

    async def _ask(self, method: str, path: str, headers: dict[bytes, bytes], body: bytes) -> Reply:
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        relay = Relay(
            method, path, headers, body, lambda status, data, extra: future.set_result((status, bytes(data), extra))
        )
        self.handle(relay)
        return await future


def report_failure(api: str, error: Exception) -> None:
    """Tell Lambda that the start failed, and why."""
    try:
        RuntimeApi(api).send("/init/error", _failure(str(error), type(error).__name__))
    except (OSError, http.client.HTTPException) as failure:
        log.warning("Lambda's Runtime API: %s", failure)


def _failure(message: str, kind: str) -> bytes:
    return msgspec.json.encode({"errorMessage": message, "errorType": kind})


def _request(data: bytes) -> tuple[str, str, dict[bytes, bytes], bytes] | None:
    """Method, path, headers and body of an event that is a request; None of any other. Raises InvalidArgument."""
    try:
        event = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    method, path = event.request_context.http.method or event.http_method, event.raw_path or event.path
    if not (method and path):
        return None
    if event.raw_path and path.startswith(stage := f"/{event.request_context.stage}/"):
        path = path[len(stage) - 1 :]
    headers = {
        name.lower().encode(): value.encode("latin-1", "replace") for name, value in (event.headers or {}).items()
    }
    try:
        body = base64.b64decode(event.body or "", validate=True) if event.encoded else (event.body or "").encode()
    except ValueError as error:
        raise InvalidArgument(f"the event's body is no base64: {error}") from None
    return method, path, headers, body


def _response(status: int, data: bytes, headers: Headers) -> dict[str, Any]:
    """A response as API Gateway and load balancers read it."""
    named = {"content-type": "application/json", **dict(headers)}
    try:
        text, encoded = data.decode(), False
    except UnicodeDecodeError:
        text, encoded = base64.b64encode(data).decode(), True
    return {"statusCode": status, "headers": named, "body": text, "isBase64Encoded": encoded}
