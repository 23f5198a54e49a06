"""HTTP transport of the data plane.

The path of a request: route → decode → data plane → encode → answer. Every failure is `{"error": …}`. On its Unix
socket a replica also answers the platform: `GET /argosy/counts` → `{MODEL: {VERSION: ReplicaCounts}}` in JSON, and
`POST /argosy/answers` → `RecordedAnswers` in msgpack; `GET /argosy/records`, upgraded to `argosy-records` where it is
reached over the network, is a connection for frames. The gateway routes nothing there.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

import argosy
from argosy.packaging.rows import read_rows, to_tensors
from argosy.protocol import compression, jsondata, openai, rest, rows
from argosy.protocol.bounds import LARGE, Bounds
from argosy.protocol.rest import HEADER_LENGTH, JSON, OCTETS, Request, Response
from argosy.serving import embeddings, metrics, openapi
from argosy.serving.dataplane import DataPlane
from argosy.serving.exchange import Exchange, Headers
from argosy.serving.line import upgraded
from argosy.serving.model import ServedModel
from argosy.serving.offload import size_of
from argosy.serving.port import check_host
from argosy.spec.errors import (
    ArgosyError,
    Internal,
    InvalidArgument,
    MethodNotAllowed,
    NotFound,
    PermissionDenied,
    UnsupportedEncoding,
)
from argosy.spec.signature import Signature
from argosy.spec.strict import parse as parse_json

log = logging.getLogger("argosy.serving")

PLATFORM = "/argosy/"
LONGEST = 1024
"""Characters of the longest path there is: names have at most 63, each of at most three."""
TIMEOUT_HEADER = b"x-request-timeout-ms"
_LENGTH = HEADER_LENGTH.encode()
_ENCODING = b"content-encoding"
_ACCEPTED = b"accept-encoding"
_INNER = {"index": "models", "config": "config"}
"""Operations whose answer over HTTP is this field of the message over gRPC."""
_ROUTES = {tuple(route.path.split("/")): route for route in openapi.ROUTES}
_KEYS = {"predict": rows.V1, "invocations": rows.MLFLOW, **dict.fromkeys(openai.KINDS)}
"""Operations that take rows → the keys of their protocol; None for those that take texts as OpenAI has it."""
CSV = "text/csv"
Encoded = tuple[bytes | bytearray, Headers]
Decode = Callable[[ServedModel, Mapping[bytes, bytes], bytes, Bounds | None], tuple[Request, float | None]]
Encode = Callable[[Exchange, Signature, Response], Encoded]
Answer = Callable[[Exchange, ServedModel, Request, Response | Exception], None]


class ParsedPath(NamedTuple):
    """An operation, the method it takes, and the model it is about."""

    operation: str
    method: str
    model: str = ""
    version: str = ""


@lru_cache(maxsize=1024)
def parse(path: str) -> ParsedPath | None:
    """Parse a percent-encoded path of at most `LONGEST` characters, which may end with a slash; None when there is
    nothing at it. Paths for rows may stand below `/endpoints/NAME`, as they do at the gateway, and are about this model
    then."""
    parts = [unquote(part) for part in path.removesuffix("/").split("/")]
    if parts[1:2] == ["endpoints"] and len(parts) > 3:
        route = _parse(["", *parts[3:]])
        named = route is not None and route.operation in openapi.BELOW and route.model in ("", parts[2])
        return route._replace(model=parts[2]) if route is not None and named else None
    return _parse(parts)


def _parse(parts: list[str]) -> ParsedPath | None:
    model = version = ""
    if tuple(parts) not in _ROUTES:
        place = 4 if parts[2:4] == ["repository", "models"] else 3
        if len(parts) <= place or not parts[place] or parts[place - 1] != "models":
            return None
        model, colon, verb = parts[place].partition(":")
        parts[place] = f"{{model}}{colon}{verb}"
        if parts[1] == "v2" and place == 3 and len(parts) > 5 and parts[4] == "versions" and parts[5]:
            version = parts[5]
            del parts[4:6]
    route = _ROUTES.get(tuple(parts))
    if route is None or ("{model}" in route.path and not model):
        return None
    return ParsedPath(route.operation, route.method, model, version)


class HttpApp:
    """The REST endpoints of one data plane."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def start(self) -> None:
        """Called once the models are loaded, on the event loop."""

    def stop(self) -> None:
        """Called before the replica drains."""

    def handle(self, exchange: Exchange) -> None:
        """Answer one request, now or when its model has."""
        try:
            if self._plane.answers is not None and exchange.path.startswith(PLATFORM):
                self._answer_platform(exchange)
                return
            route = parse(exchange.path) if len(exchange.path) <= LONGEST else None
            if route is None:
                raise NotFound(f"there is nothing at {exchange.path[:200]}; the API begins at /v2, and /docs shows it")
            if route.method != exchange.method and (route.method, exchange.method) != ("GET", "HEAD"):
                message = f"{exchange.path[:200]} takes {route.method}, not {exchange.method}"
                allowed = "GET, HEAD" if route.method == "GET" else route.method
                exchange.refuse(MethodNotAllowed(message), (("allow", allowed),))
            elif route.operation == "infer":
                self.infer(self._plane.model(route.model, route.version), exchange, decode_tensors, self.answer_tensors)
            elif route.operation in _KEYS:
                self._infer_rows(exchange, route)
            elif route.operation == "ping":
                exchange.answer(200 if self._plane.ready() else 503, b"\n")
            elif route.operation == "version":
                exchange.answer(200, argosy.__version__.encode(), (("content-type", "text/plain"),))
            elif route.operation == "metrics":
                exchange.answer(200, metrics.render(self._plane), (("content-type", metrics.CONTENT_TYPE),))
            elif route.operation == "openapi":
                exchange.answer(200, msgspec.json.encode(openapi.served(self._plane, exchange.path.removesuffix("/"))))
            elif route.operation == "docs":
                exchange.answer(200, *openapi.page())
            else:
                self._answer_asked(exchange, route)
        except Exception as error:
            refuse(exchange, error)

    def _answer_asked(self, exchange: Exchange, route: ParsedPath) -> None:
        only_ready = route.method == "POST" and _json_object(exchange.body).get("ready") is True
        answer = self._plane.ask(route.operation, route.model, route.version, only_ready)
        status = 200 if answer.get("ready", answer.get("live", True)) else 503
        inner = _INNER.get(route.operation)
        if exchange.path.startswith("/v1/"):
            answer |= self._as_openai(route)
        exchange.answer(status, msgspec.json.encode(answer[inner] if inner else answer))

    def handle_health(self, exchange: Exchange) -> None:
        """Answer whether it lives and is ready, and nothing else: for those that have no certificate."""
        if exchange.path.startswith("/v2/health/"):
            self.handle(exchange)
        else:
            refuse(exchange, NotFound("there is nothing here but /v2/health/live and /v2/health/ready"))

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

    def _answer_platform(self, exchange: Exchange) -> None:
        asked = (exchange.method, exchange.path)
        if asked == ("GET", f"{PLATFORM}counts"):
            exchange.answer(200, msgspec.json.encode(self._plane.counts()))
        elif asked == ("POST", f"{PLATFORM}answers") and self._plane.answers is not None:
            exchange.answer(200, self._plane.answers.take(), (("content-type", "application/msgpack"),))
        elif self._plane.door is not None and asked == ("GET", f"{PLATFORM}records") and b"upgrade" in exchange.headers:
            self._plane.door.give(upgraded(exchange.upgrade()))
        else:
            raise NotFound(f"a replica has no {exchange.method} {exchange.path[:200]}")

    def infer(self, model: ServedModel, exchange: Exchange, decode: Decode, answer: Answer) -> None:
        """Decode a request, ask the model, answer. Raises ArgosyError for what can be refused at once."""
        headers = exchange.headers
        if len(exchange.body) > LARGE or _ENCODING in headers:
            model.inflight += 1
            exchange.cancelled = asyncio.ensure_future(self._infer_large(model, exchange, decode, answer)).cancel
            return
        try:
            request, timeout = decode(model, headers, exchange.body, None)
        except Exception as error:
            model.refused(error, headers)
            raise
        done = partial(answer, exchange, model, request)
        exchange.cancelled = model.start(request, timeout, done, headers=headers).cancel

    def _infer_rows(self, exchange: Exchange, route: ParsedPath) -> None:
        if (keys := _KEYS[route.operation]) is not None:
            model = self._plane.model(route.model) if route.model else self._plane.only()
            self.infer(model, exchange, partial(decode_rows, keys), self.answer_rows)
            return
        model = embeddings.chosen(self._plane, exchange, route.operation, route.model)

        def answer(exchange: Exchange, model: ServedModel, request: Request, result: Response | Exception) -> None:
            self.answer_rows(exchange, model, request, result, partial(embeddings.encode, request, model, compress))

        self.infer(model, exchange, partial(embeddings.decode, route.operation, _timeout), answer)

    def _as_openai(self, route: ParsedPath) -> dict[str, Any]:
        """What OpenAI's clients read in a list of models, or of one, where there are language models."""
        known = {model.name: openai.listed(model.name) for model in self._plane.models() if model.language is not None}
        if route.operation == "names":
            return {"object": "list", "data": list(known.values())} if known else {}
        return known.get(route.model, {})

    async def _infer_large(self, model: ServedModel, exchange: Exchange, decode: Decode, answer: Answer) -> None:
        """Decode in a thread, then proceed as for a small request. The caller has counted it in."""
        try:
            reservation = exchange.reserved = self._plane.offload.reserve(len(exchange.body))
            try:
                request, timeout = await self._plane.offload.run(partial(self._decode_large, model, exchange, decode))
            except Exception as error:
                model.refused(error, exchange.headers)
                raise
            reservation.more(size_of(request.tensors))
            done = partial(answer, exchange, model, request)
            exchange.cancelled = model.start(request, timeout, done, headers=exchange.headers).cancel
        except Exception as error:
            refuse(exchange, error)
        finally:
            model.leave()

    def _decode_large(self, model: ServedModel, exchange: Exchange, decode: Decode) -> tuple[Request, float | None]:
        headers, body, bounds = exchange.headers, exchange.body, model.bounds
        if _ENCODING in headers:
            bounds = msgspec.structs.replace(bounds, wire=len(body))
            body = compression.decompress(body, headers[_ENCODING].decode("latin-1"), self._plane.limit)
        request, timeout = decode(model, headers, body, bounds)
        request.tensors = model.fit(request.tensors)
        return request, timeout

    def answer_tensors(
        self, exchange: Exchange, model: ServedModel, request: Request, result: Response | Exception
    ) -> None:
        """Answer with tensors, or refuse with the error."""
        if isinstance(result, Exception):
            refuse(exchange, result)
            return
        tensors = result.tensors
        size = tensors[0].array.size if len(tensors) == 1 else sum(tensor.array.size for tensor in tensors)
        try:
            if size > jsondata.WINDOW:
                self._answer_offloaded(exchange, partial(_encode_large, exchange, request, result))
                return
            binary = _binary(request, result) if request.outputs or request.parameters else None
            data, length = rest.encode_response(result, binary)
            if length is None and (len(data) < compression.SMALLEST or _ACCEPTED not in exchange.headers):
                exchange.answer(200, data)
            elif len(data) > LARGE:
                self._answer_offloaded(exchange, partial(compress, exchange, data, length))
            else:
                exchange.answer(200, *compress(exchange, data, length))
        except Exception as error:
            refuse(exchange, error)

    def answer_rows(
        self,
        exchange: Exchange,
        model: ServedModel,
        request: Request,
        result: Response | Exception,
        encode: Encode | None = None,
    ) -> None:
        """Answer with rows, or refuse with the error. `encode` makes the body, where it is no JSON of predictions."""
        if isinstance(result, Exception):
            refuse(exchange, result)
            return
        work = partial(encode or encode_rows, exchange, model.signature, result)
        if sum(tensor.array.size for tensor in result.tensors) > jsondata.WINDOW:
            self._answer_offloaded(exchange, work)
            return
        try:
            exchange.answer(200, *work())
        except Exception as error:
            refuse(exchange, error)

    def _answer_offloaded(self, exchange: Exchange, work: Callable[[], Encoded]) -> None:
        def answer(future: "asyncio.Future[Encoded]") -> None:
            try:
                exchange.answer(200, *future.result())
            except Exception as error:
                refuse(exchange, error)

        self._plane.offload.run(work).add_done_callback(answer)


def decode_tensors(
    model: ServedModel, headers: Mapping[bytes, bytes], body: bytes, bounds: Bounds | None
) -> tuple[Request, float | None]:
    """The request, and the seconds that its caller gives it."""
    length = None
    if _LENGTH in headers:
        length = rest.parse_header_length(headers[_LENGTH].decode("latin-1"), len(body))
    request = rest.decode_request(body, length, model.signature, bounds, model.runtime.strict)
    return request, _timeout(headers)


def decode_rows(
    keys: tuple[str, ...],
    model: ServedModel,
    headers: Mapping[bytes, bytes],
    body: bytes,
    bounds: Bounds | None,
    most: int = rows.MOST,
) -> tuple[Request, float | None]:
    """`decode_tensors` for rows in at most `most` bytes; CSV is taken where MLflow takes it. What their tensors may
    hold, the queue checks."""
    kind, *parameters = headers.get(b"content-type", JSON.encode()).decode("latin-1").lower().split(";")
    charsets = [one.partition("=")[2].strip(' "') for one in parameters if one.strip().startswith("charset=")]
    if odd := [charset for charset in charsets if charset not in ("utf-8", "utf8", "us-ascii")]:
        raise UnsupportedEncoding(f"the content type has the charset '{odd[0][:80]}'; rows are UTF-8")
    if kind.strip() == CSV and keys is not rows.V1:
        rows.check_size(body, most)
        tensors = read_rows(body, ".csv", model.signature)
    elif kind.strip() in (JSON, "application/x-www-form-urlencoded", "text/plain", ""):  # of curl and fetch by default
        tensors = to_tensors(rows.decode(body, model.signature, keys, most), model.signature.inputs, lenient=False)
    else:
        known = f"{JSON} or {CSV}" if keys is not rows.V1 else JSON
        raise UnsupportedEncoding(f"the content type is '{kind.strip()[:80]}'; rows are {known}")
    return Request(tensors), _timeout(headers)


def _timeout(headers: Mapping[bytes, bytes]) -> float | None:
    return timeout_of(headers) if TIMEOUT_HEADER in headers else None


def timeout_of(headers: Mapping[bytes, bytes]) -> float:
    """The seconds that a caller gives. Raises InvalidArgument."""
    value = headers[TIMEOUT_HEADER]
    if not (value.isdigit() and len(value) < 16):
        name, text = TIMEOUT_HEADER.decode(), value[:40].decode("latin-1")
        raise InvalidArgument(f"{name} is '{text}'; it must be a whole number of milliseconds")
    return int(value) / 1000


def _binary(request: Request, response: Response) -> list[bool]:
    default = request.parameters.get("binary_data_output", False) is True
    asked = {output.name: output.parameters.get("binary_data", default) is True for output in request.outputs}
    return [asked.get(tensor.name, default) for tensor in response.tensors]


def _encode_large(exchange: Exchange, request: Request, response: Response) -> Encoded:
    return compress(exchange, *rest.encode_large(response, _binary(request, response)))


def encode_rows(exchange: Exchange, signature: Signature, response: Response) -> Encoded:
    return compress(exchange, rows.encode(response, signature), None)


def compress(exchange: Exchange, data: bytes | bytearray, length: int | None) -> Encoded:
    """An answer in the encoding that its caller takes, and the headers that say so."""
    headers = [] if length is None else [("content-type", OCTETS), (HEADER_LENGTH, str(length))]
    accepted = exchange.headers.get(_ACCEPTED, b"").decode("latin-1")
    encoding = compression.choose(accepted) if len(data) >= compression.SMALLEST else None
    if encoding is not None:
        data = compression.compress(data, encoding)
        headers.append(("content-encoding", encoding))
    return data, headers


def _json_object(body: bytes) -> dict[str, Any]:
    wrong = "the request body is no JSON object"
    return parse_json(body, dict[str, Any], wrong, InvalidArgument) if body.strip() else {}


def refuse(exchange: Exchange, error: Exception) -> None:
    """Answer with an error; of a bug with nothing of its text."""
    if not isinstance(error, ArgosyError):
        log.error("a bug answered %s %s", exchange.method, exchange.path, exc_info=error)
        error = Internal("internal error; see the log of the replica")
    elif error.http >= 500:
        log.warning("%s %s → %d %s", exchange.method, exchange.path, error.http, error.message)
    exchange.refuse(error)
