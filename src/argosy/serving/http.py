"""HTTP transport of the data plane.

The path of a request: route → decode → data plane → encode → answer. Every failure is `{"error": …}`.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from argosy.protocol import compression, rest
from argosy.protocol.rest import HEADER_LENGTH, OCTETS, Request, Response
from argosy.serving import inside, metrics, openapi
from argosy.serving.connection import Exchange
from argosy.serving.dataplane import DataPlane
from argosy.serving.model import REQUEST_ID, ServedModel
from argosy.serving.paths import Route, parse
from argosy.serving.port import check_host
from argosy.spec.errors import ArgosyError, Internal, InvalidArgument, MethodNotAllowed, NotFound, PermissionDenied

log = logging.getLogger("argosy.serving")

TIMEOUT_HEADER = b"x-request-timeout-ms"
_LENGTH = HEADER_LENGTH.encode()
_ENCODING = b"content-encoding"
_ACCEPTED = b"accept-encoding"
_encode = msgspec.json.encode
Answer = tuple[int, Any]


class HttpApp:
    """The REST endpoints of one data plane. `limit`: bytes of a decompressed body."""

    def __init__(self, plane: DataPlane, limit: int) -> None:
        self._plane = plane
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: dict[str, Callable[[Route], Answer]] = {
            "server": lambda route: (200, plane.server_metadata()),
            "live": lambda route: _health(plane.live(), {"live": plane.live()}),
            "ready": lambda route: _health(plane.ready(), {"live": plane.live(), "ready": plane.ready()}),
            "model": lambda route: (200, plane.model_metadata(route.model, route.version)),
            "model_ready": self._model_ready,
            "config": lambda route: (200, plane.model_config(route.model, route.version)),
            "stats": lambda route: (200, {"model_stats": plane.statistics(route.model, route.version)}),
            "openapi": lambda route: (200, openapi.document()),
        }

    def handle(self, exchange: Exchange) -> None:
        """Answer one request, now or when its model has."""
        try:
            if self._plane.answers is not None and exchange.path.startswith(inside.PREFIX):
                inside.handle(self._plane, self._plane.answers, exchange)
                return
            route = parse(exchange.path)
            if route is None:
                raise NotFound(f"there is nothing at {exchange.path[:200]}; the API begins at /v2")
            if route.method != exchange.method:
                message = f"{exchange.path[:200]} takes {route.method}, not {exchange.method}"
                exchange.refuse(MethodNotAllowed(message), (("allow", route.method),))
            elif route.operation == "infer":
                self._infer(route, exchange)
            elif route.operation == "metrics":
                exchange.answer(200, metrics.render(self._plane), (("content-type", metrics.CONTENT_TYPE),))
            elif route.method == "POST":
                self._spawn(route, exchange)
            else:
                operation = "model_ready" if route.model and route.operation == "ready" else route.operation
                status, answer = self._answers[operation](route)
                exchange.answer(status, _encode(answer))
        except Exception as error:
            _refuse(exchange, error)

    def handle_local(self, exchange: Exchange) -> None:
        """Answer one request that was sent to a loopback name, and refuse those that a web page leads here by a name of
        its own. A browser sends a Host always; without one, nothing was resolved."""
        try:
            if (host := exchange.headers.get(b"host")) is not None:
                check_host(host.decode("latin-1"), "this server")
        except PermissionDenied as error:
            exchange.refuse(error)
        else:
            self.handle(exchange)

    def _infer(self, route: Route, exchange: Exchange) -> None:
        model = self._plane.model(route.model, route.version)
        headers = exchange.headers
        try:
            request = self._decoded(exchange, model)
            timeout = _timeout(headers[TIMEOUT_HEADER]) if TIMEOUT_HEADER in headers else None
        except Exception as error:
            model.refused(headers.get(REQUEST_ID, b"").decode("latin-1"), error, headers)
            raise
        done = partial(_answer, exchange, request)
        if self._plane.answers is not None and inside.RECORD in headers:
            done = self._plane.answers.keeping(headers.get(REQUEST_ID, b"").decode("latin-1"), done)
        call = model.start(request, timeout, done, headers=headers)
        exchange.cancelled = call.cancel

    def _decoded(self, exchange: Exchange, model: ServedModel) -> Request:
        headers, body = exchange.headers, exchange.body
        if _ENCODING in headers:
            body = compression.decompress(body, headers[_ENCODING].decode("latin-1"), self._limit)
        length = None
        if _LENGTH in headers:
            length = rest.parse_header_length(headers[_LENGTH].decode("latin-1"), len(body))
        return rest.decode_request(body, length, model.signature)

    async def _repository(self, route: Route, exchange: Exchange) -> None:
        try:
            exchange.answer(200, _encode(await self._repository_answer(route, _json_object(exchange.body))))
        except Exception as error:
            _refuse(exchange, error)

    async def _repository_answer(self, route: Route, wanted: dict[str, Any]) -> Any:
        repository = self._plane.repository
        if route.operation == "index":
            return self._plane.index(wanted.get("ready") is True)
        await (repository.load(route.model) if route.operation == "load" else repository.unload(route.model))
        return {}

    def _model_ready(self, route: Route) -> Answer:
        ready = self._plane.model_ready(route.model, route.version)
        return _health(ready, {"name": route.model, "ready": ready})

    def _spawn(self, route: Route, exchange: Exchange) -> None:
        task = asyncio.ensure_future(self._repository(route, exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _health(good: bool, answer: Any) -> Answer:
    return (200 if good else 503), answer


def _answer(exchange: Exchange, request: Request, result: Response | Exception) -> None:
    if isinstance(result, Exception):
        _refuse(exchange, result)
        return
    try:
        binary = _binary(request, result) if request.outputs or request.parameters else None
        data, length = rest.encode_response(result, binary)
    except Exception as error:
        _refuse(exchange, error)
        return
    if length is None and (len(data) < compression.SMALLEST or _ACCEPTED not in exchange.headers):
        exchange.answer(200, data)
    else:
        _answer_large(exchange, data, length)


def _binary(request: Request, response: Response) -> list[bool]:
    default = request.parameters.get("binary_data_output", False) is True
    asked = {output.name: output.parameters.get("binary_data", default) is True for output in request.outputs}
    return [asked.get(tensor.name, default) for tensor in response.tensors]


def _answer_large(exchange: Exchange, data: bytes, length: int | None) -> None:
    headers = [] if length is None else [("content-type", OCTETS), (HEADER_LENGTH, str(length))]
    accepted = exchange.headers.get(_ACCEPTED, b"").decode("latin-1")
    encoding = compression.choose(accepted) if len(data) >= compression.SMALLEST else None
    if encoding is not None:
        data = compression.compress(data, encoding)
        headers.append(("content-encoding", encoding))
    exchange.answer(200, data, headers)


def _json_object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the request body is no JSON object: {error}") from None


def _timeout(value: bytes) -> float:
    if not (value.isdigit() and len(value) < 16):
        name, text = TIMEOUT_HEADER.decode(), value[:40].decode("latin-1")
        raise InvalidArgument(f"{name} is '{text}'; it must be a whole number of milliseconds")
    return int(value) / 1000


def _refuse(exchange: Exchange, error: Exception) -> None:
    if not isinstance(error, ArgosyError):
        log.error("a bug answered %s %s", exchange.method, exchange.path, exc_info=error)
        error = Internal("internal error; see the log of the replica")
    elif error.http >= 500:
        log.warning("%s %s → %d %s", exchange.method, exchange.path, error.http, error.message)
    exchange.refuse(error)
