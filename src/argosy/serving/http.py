"""HTTP transport of the data plane: an RSGI application.

The path of a request: route → read the body → decode → data plane → encode → answer. Every failure is `{"error": …}`.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from argosy.protocol import compression, rest
from argosy.protocol.rest import HEADER_LENGTH, JSON, OCTETS, Request
from argosy.serving import metrics, openapi
from argosy.serving.body import BodyReader
from argosy.serving.dataplane import DataPlane
from argosy.serving.paths import Route, parse
from argosy.spec.errors import ArgosyError, InvalidArgument, MethodNotAllowed, NotFound

log = logging.getLogger("argosy.serving")

TIMEOUT_HEADER = "x-request-timeout-ms"
_JSON = [("content-type", JSON)]
_encode = msgspec.json.encode
Answer = tuple[int, Any]


class HttpApp:
    """The REST endpoints of one data plane."""

    def __init__(self, plane: DataPlane, bodies: BodyReader) -> None:
        self._plane = plane
        self._bodies = bodies
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

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one request."""
        try:
            route = parse(scope.path)
            if route is None:
                raise NotFound(f"there is nothing at {scope.path[:200]}; the API begins at /v2")
            if route.method != scope.method:
                raise MethodNotAllowed(f"{scope.path[:200]} takes {route.method}, not {scope.method[:20]}")
            if route.operation == "infer":
                await self._infer(route, scope.headers, protocol)
            elif route.operation == "metrics":
                protocol.response_bytes(200, [("content-type", metrics.CONTENT_TYPE)], metrics.render(self._plane))
            elif route.method == "POST":
                await self._repository(route, scope, protocol)
            else:
                operation = "model_ready" if route.model and route.operation == "ready" else route.operation
                status, answer = self._answers[operation](route)
                protocol.response_bytes(status, _JSON, _encode(answer))
        except ArgosyError as error:
            _refuse(protocol, error, scope)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("a bug answered %s %s", scope.method, scope.path)
            protocol.response_bytes(500, _JSON, b'{"error":"internal error; see the log of the replica"}')

    async def _infer(self, route: Route, headers: Any, protocol: Any) -> None:
        self._plane.model(route.model, route.version)
        body = await self._bodies.read(headers, protocol)
        model = self._plane.repository.get(route.model, route.version)  # it may have been reloaded meanwhile
        length = rest.parse_header_length(headers.get(HEADER_LENGTH), len(body))
        request = rest.decode_request(body, length, model.signature)
        timeout = _timeout(headers.get(TIMEOUT_HEADER))
        if model.batcher.inline:
            response = await model.infer(request, timeout)
        else:
            with _Watch(protocol):
                response = await model.infer(request, timeout)
        plain = not request.outputs and not request.parameters
        binary = None if plain else _binary(request, [tensor.name for tensor in response.tensors])
        data, length = rest.encode_response(response, binary)
        if length is None and (len(data) < compression.SMALLEST or "accept-encoding" not in headers):
            protocol.response_bytes(200, _JSON, data)
        else:
            _answer_large(protocol, headers.get("accept-encoding"), data, length)

    async def _repository(self, route: Route, scope: Any, protocol: Any) -> None:
        body = await self._bodies.read(scope.headers, protocol)
        wanted = _json_object(body)
        if route.operation == "index":
            protocol.response_bytes(200, _JSON, _encode(self._plane.index(wanted.get("ready") is True)))
            return
        repository = self._plane.repository
        await (repository.load(route.model) if route.operation == "load" else repository.unload(route.model))
        protocol.response_bytes(200, _JSON, b"{}")

    def _model_ready(self, route: Route) -> Answer:
        ready = self._plane.model_ready(route.model, route.version)
        return _health(ready, {"name": route.model, "ready": ready})


class _Watch:
    """Cancels the task that answers when its client goes away, so that its place in the queue is free."""

    def __init__(self, protocol: Any) -> None:
        self._task = asyncio.current_task()
        self._gone: asyncio.Future[None] = asyncio.ensure_future(protocol.client_disconnect())

    def __enter__(self) -> None:
        self._gone.add_done_callback(self._cancel)

    def __exit__(self, *_: object) -> None:
        self._gone.remove_done_callback(self._cancel)
        self._gone.cancel()

    def _cancel(self, _: object) -> None:
        if self._task is not None:
            self._task.cancel()


def _health(good: bool, answer: Any) -> Answer:
    return (200 if good else 503), answer


def _binary(request: Request, names: list[str]) -> list[bool]:
    default = request.parameters.get("binary_data_output", False) is True
    asked = {output.name: output.parameters.get("binary_data", default) is True for output in request.outputs}
    return [asked.get(name, default) for name in names]


def _answer_large(protocol: Any, accepted: str | None, data: bytes, length: int | None) -> None:
    headers = [("content-type", JSON)] if length is None else [("content-type", OCTETS), (HEADER_LENGTH, str(length))]
    encoding = compression.choose(accepted) if len(data) >= compression.SMALLEST else None
    if encoding is not None:
        data = compression.compress(data, encoding)
        headers.append(("content-encoding", encoding))
    protocol.response_bytes(200, headers, data)


def _json_object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the request body is no JSON object: {error}") from None


def _timeout(value: str | None) -> float | None:
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 16):
        raise InvalidArgument(f"{TIMEOUT_HEADER} is '{value[:40]}'; it must be a whole number of milliseconds")
    return int(value) / 1000


def _refuse(protocol: Any, error: ArgosyError, scope: Any) -> None:
    headers = list(_JSON)
    if error.retry_after is not None:
        headers.append(("retry-after", str(max(1, round(error.retry_after)))))
    if isinstance(error, MethodNotAllowed) and (route := parse(scope.path)) is not None:
        headers.append(("allow", route.method))
    if error.http >= 500:
        log.warning("%s %s → %d %s", scope.method, scope.path, error.http, error.message)
    protocol.response_bytes(error.http, headers, _encode({"error": error.message}))
