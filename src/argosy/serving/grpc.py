"""gRPC transport of the data plane: `inference.GRPCInferenceService`, `grpc.health.v1` and reflection."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import msgspec
from google.protobuf import json_format

from argosy.protocol import compression, jsondata
from argosy.protocol import grpc as wire
from argosy.protocol.bounds import LARGE, Bounds
from argosy.protocol.rest import Request, Response
from argosy.serving.dataplane import DataPlane
from argosy.serving.internal_headers import KEY, RATE, SERVER
from argosy.serving.model import NO_HEADERS, ServedModel
from argosy.serving.offload import Reservation, size_of
from argosy.spec.address import Address
from argosy.spec.errors import ArgosyError, Conflict, InvalidArgument, NotFound

if TYPE_CHECKING:
    from argosy.serving.tls import ServerTls

MOST_KEYS = 4096


class Bucket:
    """Holds `burst` tokens at most and gets `rate` new ones a second."""

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self.rate, self.burst = rate, burst
        self.tokens, self.then = float(burst), now

    def take(self, now: float) -> bool:
        self.tokens = min(self.burst, self.tokens + (now - self.then) * self.rate)
        self.then = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Rates:
    """The buckets of all keys that have a limit."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def of(self, metadata: Iterable[tuple[str, str | bytes]]) -> Callable[[], bool] | None:
        """What each message of a call asks for its token; None where the gateway states no limit."""
        given = dict(metadata)
        rate = given.get(RATE)
        if not isinstance(rate, str):
            return None
        key = str(given.get(KEY, ""))
        try:
            each, _, burst = rate.partition(";")
            limit = float(each), int(burst)
        except ValueError:
            return None
        bucket = self._buckets.get(key)
        if bucket is None or (bucket.rate, bucket.burst) != limit:
            if len(self._buckets) >= MOST_KEYS:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[key] = Bucket(*limit, self._clock())
        return lambda: bucket.take(self._clock())


log = logging.getLogger("argosy.serving")

STREAMS = 512
"""Calls at one time on one connection."""
IDLE_MS = 120_000
MOST_DETAILS = 1024
"""Characters of an error's message: they go as a header."""
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_OPERATIONS = {
    "ServerLive": "live",
    "ServerReady": "ready",
    "ModelReady": "model_ready",
    "ServerMetadata": "server",
    "ModelMetadata": "model",
    "ModelConfig": "config",
    "ModelStatistics": "stats",
    "RepositoryIndex": "index",
    "RepositoryModelLoad": "load",
    "RepositoryModelUnload": "unload",
}
"""Method → operation of the data plane."""
Handler = Callable[[DataPlane, bytes, Any], Awaitable[bytes]]
Write = Callable[[Response, bool], bytes]


class GrpcServer:
    """The gRPC endpoint of one data plane. `calls`: the most at one time.

    gRPC hands messages over as they came, and they are decompressed here, with a bound on what they may become.
    """

    def __init__(self, plane: DataPlane, address: Address, calls: int, tls: "ServerTls | None" = None) -> None:
        from grpc_health.v1 import health_pb2
        from grpc_reflection.v1alpha import reflection, reflection_pb2

        self._plane = plane
        self._rates = Rates()
        self._health: Any = health_pb2
        self.address, self._tls = address, tls
        options = [
            ("grpc.max_receive_message_length", plane.limit),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            ("grpc.per_message_decompression", 0),
            ("grpc.max_concurrent_streams", STREAMS),
        ]
        if tls is not None:
            options.append(("grpc.server_handshake_timeout_ms", tls.milliseconds))
        elif not address.path:
            options.append(("grpc.max_connection_idle_ms", IDLE_MS))
        self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=calls)
        health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(wire.SERVICE, self._handlers()),
                grpc.method_handlers_generic_handler(
                    health,
                    {
                        "Check": grpc.unary_unary_rpc_method_handler(self._unary(self._check)),
                        "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
                    },
                ),
            )
        )
        for module in (health_pb2, reflection_pb2):
            with contextlib.suppress(TypeError):
                wire.POOL.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        names = (wire.SERVICE, health, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server, pool=wire.POOL)

    def bind(self) -> Address:
        """Take the address; with the port that was taken. Who connects waits for `start`. Raises Conflict."""
        if self.address.path:
            Path(self.address.path).unlink(missing_ok=True)
        try:
            if self._tls is not None:
                port = self._server.add_secure_port(str(self.address), self._tls.credentials())
            else:
                port = self._server.add_insecure_port(str(self.address))
        except RuntimeError:
            raise Conflict(f"the gRPC address {self.address} is in use or cannot be bound") from None
        if not self.address.path:
            self.address = Address(host=self.address.host, port=port, tls=self.address.tls)
        return self.address

    async def start(self) -> None:
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Finish calls in flight, at most `grace` seconds."""
        await self._server.stop(grace)

    def _handlers(self) -> dict[str, "grpc.RpcMethodHandler[bytes, bytes]"]:
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            method: grpc.unary_unary_rpc_method_handler(self._unary(_asking(method))) for method in _OPERATIONS
        }
        handlers["ModelInfer"] = grpc.unary_unary_rpc_method_handler(self._unary(_infer))
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self._stream)
        return handlers

    def _unary(self, method: Handler) -> Any:
        async def call(data: bytes, context: Any) -> bytes:
            try:
                return await method(self._plane, data, context)
            except ArgosyError as error:
                await context.abort(_CODES[error.grpc], error.message[:MOST_DETAILS])
            except (asyncio.CancelledError, grpc.aio.AbortError):
                raise
            except Exception:
                log.exception("a bug answered a gRPC call")
                await context.abort(grpc.StatusCode.INTERNAL, "internal error; see the log of the replica")
            raise AssertionError("abort does not return")

        return call

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        take = self._rates.of(context.invocation_metadata())
        async for data in requests:
            if take is not None and not take():
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the rate limit of this API key is spent")
            reservation = self._plane.offload.reserve(0)
            try:
                yield await _infer(self._plane, data, context, _encode_in_stream, reservation)
            except ArgosyError as error:
                yield wire.StreamResponse(error_message=error.message[:MOST_DETAILS]).SerializeToString()
            finally:
                reservation.release()

    async def _check(self, plane: DataPlane, data: bytes, context: Any) -> bytes:
        return self._status(data, context)

    async def _watch(self, data: bytes, context: Any) -> AsyncIterator[bytes]:
        last: bytes | None = None
        while True:
            try:
                now = self._status(data, context)
            except NotFound:
                now = self._health.HealthCheckResponse(status="SERVICE_UNKNOWN").SerializeToString()
            if now != last:
                last = now
                yield now
            await asyncio.sleep(0.5)

    def _status(self, data: bytes, context: Any) -> bytes:
        """The health of a service: '' is the server, other names are models. Raises ArgosyError."""
        service = wire.parse(self._health.HealthCheckRequest, _decompress(data)).service
        if service in ("", wire.SERVICE):
            good = self._plane.ready() and self._plane.live()
        elif (SERVER, "1") in context.invocation_metadata():
            raise NotFound("the gateway answers for the server here; ask ModelReady about a model")
        else:
            good = self._plane.ask("model_ready", service)["ready"]
        return self._health.HealthCheckResponse(status="SERVING" if good else "NOT_SERVING").SerializeToString()


def _asking(method: str) -> Handler:
    """A method that asks the data plane, by small messages."""
    kinds = wire.METHODS[method]
    request_type, response_type = wire.message(kinds.input_type.name), wire.message(kinds.output_type.name)
    fields = request_type.DESCRIPTOR.fields_by_name
    name = next((field for field in ("name", "model_name") if field in fields), None)

    async def call(plane: DataPlane, data: bytes, context: Any) -> bytes:
        message = wire.parse(request_type, _decompress(data))
        answer = plane.ask(
            _OPERATIONS[method],
            getattr(message, name) if name else "",
            message.version if "version" in fields else "",
            message.ready if "ready" in fields else False,
        )
        return json_format.ParseDict(answer, response_type(), ignore_unknown_fields=True).SerializeToString()

    return call


def _decompress(data: bytes, limit: int = LARGE) -> bytes:
    """A message; what begins like `deflate` may be none. Raises InvalidArgument, PayloadTooLarge."""
    if (encoding := compression.of_message(data)) is not None:
        with contextlib.suppress(InvalidArgument):
            data = compression.decompress(data, encoding, limit)
    if len(data) > limit:
        raise InvalidArgument(f"the message has {len(data)} bytes; at most {limit} are taken here")
    return data


def _encode(response: Response, use_raw: bool) -> bytes:
    return wire.serialize(response, use_raw)


def _encode_in_stream(response: Response, use_raw: bool) -> bytes:
    return wire.StreamResponse(infer_response=wire.encode_response(response, use_raw)).SerializeToString()


async def _infer(
    plane: DataPlane, data: bytes, context: Any, write: Write = _encode, reservation: Reservation | None = None
) -> bytes:
    """Bytes → bytes. What a large message takes is given back at the end of the call, or by the owner of
    `reservation`."""
    headers = NO_HEADERS if plane.answers is None else _headers(context)
    wired = -1  # a small message
    if len(data) <= LARGE and not (data and data[0] in compression.FIRST_BYTES):
        try:
            message = wire.InferRequest.FromString(data)
        except Exception:
            message = wire.parse(wire.InferRequest, data)  # which says what is wrong
    else:
        if reservation is None:
            reservation = plane.offload.reserve(0)
            context.add_done_callback(reservation.done)
        reservation.more(len(data))
        message, wired = await plane.offload.run(partial(_parse_large, data, plane.limit))
    model = plane.model(message.model_name, message.model_version)
    try:
        if wired >= 0 and reservation is not None:
            bounds = msgspec.structs.replace(model.bounds, wire=wired)
            request, use_raw = await plane.offload.run(partial(_decode_large, model, message, bounds))
            reservation.more(size_of(request.tensors))
        else:
            request, use_raw = wire.decode_request(message, None, model.runtime.strict)
    except ArgosyError as error:
        model.refused(error, headers)
        raise
    del message  # it may be several times as large as its tensors
    response = await model.infer(request, context.time_remaining(), headers)
    tensors = response.tensors
    size = tensors[0].array.size if len(tensors) == 1 else sum(tensor.array.size for tensor in tensors)
    if size > jsondata.WINDOW:
        return await plane.offload.run(partial(write, response, use_raw))
    return write(response, use_raw)


def _parse_large(data: bytes, limit: int) -> tuple[Any, int]:
    """The message, and the bytes it came in if those were compressed, else 0. Raises ArgosyError."""
    plain = _decompress(data, limit)
    wired = 0 if plain is data else len(data)
    return wire.parse(wire.InferRequest, plain, wired), wired


def _decode_large(model: ServedModel, message: Any, bounds: Bounds) -> tuple[Request, bool]:
    request, use_raw = wire.decode_request(message, bounds, bounds.strict)
    request.tensors = model.fit(request.tensors)
    return request, use_raw


def _headers(context: Any) -> Mapping[bytes, bytes]:
    return {
        key.encode(): value if isinstance(value, bytes) else value.encode()
        for key, value in context.invocation_metadata() or ()
    }
