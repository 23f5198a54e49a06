"""HTTP transport of the data plane.

The path of a request: route → decode → data plane → encode → answer. Every failure is `{"error": …}`.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple, cast
from urllib.parse import unquote

import msgspec

from argosy.protocol import compression, jsondata, rest
from argosy.protocol.bounds import LARGE
from argosy.protocol.rest import HEADER_LENGTH, OCTETS, Request, Response
from argosy.serving import inside, metrics, openapi
from argosy.serving.dataplane import DataPlane
from argosy.serving.exchange import Exchange
from argosy.serving.model import ServedModel, request_id
from argosy.serving.offload import size_of
from argosy.serving.port import check_host
from argosy.serving.replies import Headers
from argosy.spec.errors import ArgosyError, Internal, InvalidArgument, MethodNotAllowed, NotFound, PermissionDenied


class Route(NamedTuple):
    """An operation, the methods it takes, and the model it is about."""

    operation: str
    method: str
    model: str = ""
    version: str = ""


_FIXED = {
    "/v2": Route("server", "GET"),
    "/v2/": Route("server", "GET"),
    "/v2/health/live": Route("live", "GET"),
    "/v2/health/ready": Route("ready", "GET"),
    "/v2/models/stats": Route("stats", "GET"),
    "/v2/repository/index": Route("index", "POST"),
    "/metrics": Route("metrics", "GET"),
    "/openapi.json": Route("openapi", "GET"),
}
_OF_MODEL = {"": "GET", "ready": "GET", "config": "GET", "stats": "GET", "infer": "POST"}


LONGEST = 1024
"""Characters of the longest path there is: names have at most 63, each of at most three."""


@lru_cache(maxsize=1024)
def parse(path: str) -> Route | None:
    """A percent-encoded path of at most `LONGEST` characters → what it asks for; None when there is nothing of that
    name."""
    fixed = _FIXED.get(path)
    if fixed is not None:
        return fixed
    parts = [unquote(part) for part in path.split("/")]
    if parts[:3] == ["", "v2", "repository"] and len(parts) == 6 and parts[3] == "models":
        return Route(parts[5], "POST", parts[4]) if parts[5] in ("load", "unload") and parts[4] else None
    if parts[:3] != ["", "v2", "models"] or len(parts) < 4 or not parts[3]:
        return None
    rest = parts[4:]
    version = ""
    if len(rest) >= 2 and rest[0] == "versions" and rest[1]:
        version, rest = rest[1], rest[2:]
    what = rest[0] if rest else ""
    if len(rest) > 1 or what not in _OF_MODEL:
        return None
    return Route(what or "model", _OF_MODEL[what], parts[3], version)


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
            route = parse(exchange.path) if len(exchange.path) <= LONGEST else None
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
        headers, body = exchange.headers, exchange.body
        if len(body) > LARGE or _ENCODING in headers:
            self._infer_large(model, exchange)
            return
        try:
            length = None
            if _LENGTH in headers:
                length = rest.parse_header_length(headers[_LENGTH].decode("latin-1"), len(body))
            request = rest.decode_request(body, length, model.signature)
            timeout = _timeout(headers[TIMEOUT_HEADER]) if TIMEOUT_HEADER in headers else None
        except Exception as error:
            model.refused(request_id(headers), error, headers)
            raise
        self._start(model, exchange, request, timeout)

    def _infer_large(self, model: ServedModel, exchange: Exchange) -> None:
        """Decode in a thread, then proceed as for a small request."""
        exchange.held = self._plane.offload.hold(len(exchange.body))
        future = self._plane.offload.run(partial(self._decoded, exchange, model))
        exchange.cancelled = future.cancel
        model.inflight += 1
        future.add_done_callback(partial(self._decoded_large, model, exchange))

    def _decoded_large(
        self, model: ServedModel, exchange: Exchange, future: "asyncio.Future[tuple[Request, float | None]]"
    ) -> None:
        try:
            if future.cancelled() or exchange.answered:
                return
            if (error := future.exception()) is not None:
                model.refused(request_id(exchange.headers), cast("Exception", error), exchange.headers)
                raise error
            request, timeout = future.result()
            if exchange.held is not None:
                exchange.held.more(size_of(request.tensors))
            self._start(model, exchange, request, timeout)
        except Exception as error:
            _refuse(exchange, error)
        finally:
            model.leave()

    def _start(self, model: ServedModel, exchange: Exchange, request: Request, timeout: float | None) -> None:
        headers = exchange.headers
        done = partial(self._answer, exchange, request)
        if self._plane.answers is not None and inside.RECORD in headers:
            done = self._plane.answers.keeping(request_id(headers), done)
        call = model.start(request, timeout, done, headers=headers)
        exchange.cancelled = call.cancel

    def _decoded(self, exchange: Exchange, model: ServedModel) -> tuple[Request, float | None]:
        headers, body, bounds = exchange.headers, exchange.body, model.bounds
        if _ENCODING in headers:
            bounds = msgspec.structs.replace(bounds, wire=len(body))
            body = compression.decompress(body, headers[_ENCODING].decode("latin-1"), self._limit)
        length = None
        if _LENGTH in headers:
            length = rest.parse_header_length(headers[_LENGTH].decode("latin-1"), len(body))
        request = rest.decode_request(body, length, model.signature, bounds)
        return request, _timeout(headers[TIMEOUT_HEADER]) if TIMEOUT_HEADER in headers else None

    def _answer(self, exchange: Exchange, request: Request, result: Response | Exception) -> None:
        if isinstance(result, Exception):
            _refuse(exchange, result)
            return
        tensors = result.tensors
        size = tensors[0].array.size if len(tensors) == 1 else sum(tensor.array.size for tensor in tensors)
        try:
            if size > jsondata.WINDOW:
                self._answer_offloaded(exchange, partial(_encoded, exchange, request, result))
                return
            binary = _binary(request, result) if request.outputs or request.parameters else None
            data, length = rest.encode_response(result, binary)
            if length is None and (len(data) < compression.SMALLEST or _ACCEPTED not in exchange.headers):
                exchange.answer(200, data)
            elif len(data) > LARGE:
                self._answer_offloaded(exchange, partial(_packed, exchange, data, length))
            else:
                exchange.answer(200, *_packed(exchange, data, length))
        except Exception as error:
            _refuse(exchange, error)

    def _answer_offloaded(self, exchange: Exchange, work: Callable[[], tuple[bytes | bytearray, Headers]]) -> None:
        def answer(future: "asyncio.Future[tuple[bytes | bytearray, Headers]]") -> None:
            try:
                exchange.answer(200, *future.result())
            except Exception as error:
                _refuse(exchange, error)

        self._plane.offload.run(work).add_done_callback(answer)

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


def _binary(request: Request, response: Response) -> list[bool]:
    default = request.parameters.get("binary_data_output", False) is True
    asked = {output.name: output.parameters.get("binary_data", default) is True for output in request.outputs}
    return [asked.get(tensor.name, default) for tensor in response.tensors]


def _encoded(exchange: Exchange, request: Request, response: Response) -> tuple[bytes | bytearray, Headers]:
    return _packed(exchange, *rest.encode_large(response, _binary(request, response)))


def _packed(exchange: Exchange, data: bytes | bytearray, length: int | None) -> tuple[bytes | bytearray, Headers]:
    """An answer in the encoding that its caller takes, and the headers that say so."""
    headers = [] if length is None else [("content-type", OCTETS), (HEADER_LENGTH, str(length))]
    accepted = exchange.headers.get(_ACCEPTED, b"").decode("latin-1")
    encoding = compression.choose(accepted) if len(data) >= compression.SMALLEST else None
    if encoding is not None:
        data = compression.compress(data, encoding)
        headers.append(("content-encoding", encoding))
    return data, headers


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
