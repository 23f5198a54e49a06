"""gRPC transport of the data plane: `inference.GRPCInferenceService`, `grpc.health.v1` and reflection."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import msgspec
from google.protobuf import json_format

from argosy.protocol import compression, jsondata
from argosy.protocol import grpc as wire
from argosy.protocol.bounds import LARGE
from argosy.protocol.rest import Request, Response
from argosy.serving import inside
from argosy.serving.dataplane import DataPlane
from argosy.serving.internal_headers import KEY, RATE, SERVER
from argosy.serving.offload import Hold, size_of
from argosy.spec.address import Address
from argosy.spec.errors import ArgosyError, Conflict, InvalidArgument, NotFound

MOST_KEYS = 4096


class Bucket:
    """Holds `burst` tokens at most and gets `rate` new ones a second."""

    def __init__(self, rate: float, burst: int, now: float) -> None:
        self.rate, self.burst = rate, burst
        self.tokens, self.then = float(burst), now

    def take(self, now: float) -> bool:
        """Whether there was a token."""
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
        """What each message of a call asks for its token; None where the gateway tells of no limit."""
        told = dict(metadata)
        rate = told.get(RATE)
        if not isinstance(rate, str):
            return None
        key = str(told.get(KEY, ""))
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
Handler = Callable[[DataPlane, Any, Any], Awaitable[Any]]
Read = tuple[str, str, Request | ArgosyError, bool]
Write = Callable[[Response, bool], bytes]


def _alone(response: Response, use_raw: bool) -> bytes:
    return wire.encode_response(response, use_raw).SerializeToString()


def _in_stream(response: Response, use_raw: bool) -> bytes:
    return wire.StreamResponse(infer_response=wire.encode_response(response, use_raw)).SerializeToString()


class GrpcServer:
    """The gRPC endpoint of one data plane. `limit`: bytes of the largest message; `calls`: the most at one time.

    gRPC hands messages over as they came, and they are decompressed here, with a bound on what they may become.
    """

    def __init__(self, plane: DataPlane, address: Address, limit: int, calls: int) -> None:
        self._plane = plane
        self._rates = Rates()
        self.address = address
        options = [
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            ("grpc.per_message_decompression", 0),
            ("grpc.max_concurrent_streams", STREAMS),
        ]
        if not address.path:
            options.append(("grpc.max_connection_idle_ms", IDLE_MS))
        self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=calls)
        self._server.add_generic_rpc_handlers((self._inference(), _Health(plane)))
        self._add_reflection()

    def bind(self) -> Address:
        """Take the address; with the port that was taken. Who connects waits for `start`. Raises Conflict."""
        if self.address.path:
            Path(self.address.path).unlink(missing_ok=True)
        try:
            port = self._server.add_insecure_port(str(self.address))
        except RuntimeError:
            raise Conflict(f"the gRPC address {self.address} is in use or cannot be bound") from None
        if not self.address.path:
            self.address = Address(host=self.address.host, port=port)
        return self.address

    async def start(self) -> None:
        """Begin to answer."""
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Finish calls in flight, at most `grace` seconds."""
        await self._server.stop(grace)

    def _inference(self) -> grpc.GenericRpcHandler:
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {}
        for name, method in _METHODS.items():
            request = wire.message(wire.METHODS[name].input_type.name)
            handlers[name] = grpc.unary_unary_rpc_method_handler(self._unary(_small(method, request)))
        handlers["ModelInfer"] = grpc.unary_unary_rpc_method_handler(self._unary(_infer))
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self._stream)
        return grpc.method_handlers_generic_handler(wire.SERVICE, handlers)

    def _unary(self, method: Callable[[DataPlane, bytes, Any], Awaitable[bytes]]) -> Any:
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
            holds: list[Hold] = []
            try:
                yield await _infer(self._plane, data, context, _in_stream, holds)
            except ArgosyError as error:
                yield wire.StreamResponse(error_message=error.message[:MOST_DETAILS]).SerializeToString()
            finally:
                for hold in holds:
                    hold.release()

    def _add_reflection(self) -> None:
        from grpc_health.v1 import health_pb2
        from grpc_reflection.v1alpha import reflection, reflection_pb2

        for module in (health_pb2, reflection_pb2):
            with contextlib.suppress(TypeError):
                wire.POOL.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        names = (wire.SERVICE, health, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server, pool=wire.POOL)


def _small(method: Handler, request_type: Any) -> Callable[[DataPlane, bytes, Any], Awaitable[bytes]]:
    """A method whose messages are small."""

    async def call(plane: DataPlane, data: bytes, context: Any) -> bytes:
        answer = await method(plane, wire.parse(request_type, _plain(data)), context)
        return answer.SerializeToString()

    return call


def _plain(data: bytes) -> bytes:
    """A small message, decompressed. Raises InvalidArgument, PayloadTooLarge."""
    if (encoding := compression.of_message(data)) is not None:
        with contextlib.suppress(InvalidArgument):
            data = compression.decompress(data, encoding, LARGE)
    if len(data) > LARGE:
        raise InvalidArgument(f"the message has {len(data)} bytes; at most {LARGE} are taken here")
    return data


async def _infer(
    plane: DataPlane, data: bytes, context: Any, write: Write = _alone, holds: list[Hold] | None = None
) -> bytes:
    """Bytes → bytes. What a large message holds is let go at the end of the call, or by whoever gives `holds`."""
    if len(data) <= LARGE and not (data and data[0] in compression.FIRST_BYTES):
        name, version, request, use_raw = _read(data)
    else:
        hold = plane.offload.hold(len(data))
        if holds is None:
            context.add_done_callback(hold.done)
        else:
            holds.append(hold)
        name, version, request, use_raw = await plane.offload.run(partial(_read_large, plane, data))
        if not isinstance(request, ArgosyError):
            hold.more(size_of(request.tensors))
    if isinstance(request, ArgosyError):
        inside.refused(plane, name, version, request, context)
        raise request
    timeout = context.time_remaining()
    if plane.answers is None:
        response = await plane.infer(name, version, request, timeout)
    else:
        response = await inside.infer(plane, plane.answers, name, version, request, timeout, context)
    tensors = response.tensors
    size = tensors[0].array.size if len(tensors) == 1 else sum(tensor.array.size for tensor in tensors)
    if size > jsondata.WINDOW:
        return await plane.offload.run(partial(write, response, use_raw))
    return write(response, use_raw)


def _read(data: bytes) -> Read:
    """Name and version of the model asked for, and the request, or why it is none. Raises InvalidArgument where even
    these cannot be read."""
    try:
        message = wire.InferRequest.FromString(data)
    except Exception:
        message = wire.parse(wire.InferRequest, data)  # which says what is wrong
    try:
        request, use_raw = wire.decode_request(message)
    except ArgosyError as error:
        return message.model_name, message.model_version, error, False
    return message.model_name, message.model_version, request, use_raw


def _read_large(plane: DataPlane, data: bytes) -> Read:
    """`_read`, of a large or compressed message; `deflate` may be taken for what it is not. Raises ArgosyError."""
    wired = 0
    if (encoding := compression.of_message(data)) is not None:
        with contextlib.suppress(InvalidArgument):
            data, wired = compression.decompress(data, encoding, plane.limit), len(data)
    message = wire.parse(wire.InferRequest, data, wired)
    name, version = message.model_name, message.model_version
    try:
        bounds = msgspec.structs.replace(plane.model(name, version).bounds, wire=wired)
        return name, version, *wire.decode_request(message, bounds)
    except ArgosyError as error:
        return name, version, error, False


async def _server_live(plane: DataPlane, message: Any, context: Any) -> Any:
    return wire.message("ServerLiveResponse")(live=plane.live())


async def _server_ready(plane: DataPlane, message: Any, context: Any) -> Any:
    return wire.message("ServerReadyResponse")(ready=plane.ready())


async def _model_ready(plane: DataPlane, message: Any, context: Any) -> Any:
    return wire.message("ModelReadyResponse")(ready=plane.model_ready(message.name, message.version))


async def _server_metadata(plane: DataPlane, message: Any, context: Any) -> Any:
    return wire.message("ServerMetadataResponse")(**plane.server_metadata())


async def _model_metadata(plane: DataPlane, message: Any, context: Any) -> Any:
    found = plane.model_metadata(message.name, message.version)
    return json_format.ParseDict(found, wire.message("ModelMetadataResponse")(), ignore_unknown_fields=True)


async def _model_config(plane: DataPlane, message: Any, context: Any) -> Any:
    config = {"config": plane.model_config(message.name, message.version)}
    return json_format.ParseDict(config, wire.message("ModelConfigResponse")())


async def _statistics(plane: DataPlane, message: Any, context: Any) -> Any:
    found = {"model_stats": plane.statistics(message.name, message.version)}
    return json_format.ParseDict(found, wire.message("ModelStatisticsResponse")())


async def _index(plane: DataPlane, message: Any, context: Any) -> Any:
    return wire.message("RepositoryIndexResponse")(models=plane.index(message.ready))


async def _load(plane: DataPlane, message: Any, context: Any) -> Any:
    await plane.repository.load(message.model_name)
    return wire.message("RepositoryModelLoadResponse")()


async def _unload(plane: DataPlane, message: Any, context: Any) -> Any:
    await plane.repository.unload(message.model_name)
    return wire.message("RepositoryModelUnloadResponse")()


_METHODS: dict[str, Handler] = {
    "ServerLive": _server_live,
    "ServerReady": _server_ready,
    "ModelReady": _model_ready,
    "ServerMetadata": _server_metadata,
    "ModelMetadata": _model_metadata,
    "ModelConfig": _model_config,
    "ModelStatistics": _statistics,
    "RepositoryIndex": _index,
    "RepositoryModelLoad": _load,
    "RepositoryModelUnload": _unload,
}


class _Health(grpc.GenericRpcHandler):
    """`grpc.health.v1.Health`, answered from the data plane: '' is the server, other names are models."""

    def __init__(self, plane: DataPlane) -> None:
        from grpc_health.v1 import health_pb2

        self._plane = plane
        self._pb2: Any = health_pb2

    def service(self, handler_call_details: Any) -> Any:
        """The handler of Check and Watch; None for other methods."""
        method, write = handler_call_details.method, self._pb2.HealthCheckResponse.SerializeToString
        if method == "/grpc.health.v1.Health/Check":
            return grpc.unary_unary_rpc_method_handler(self._check, self._read, write)
        if method == "/grpc.health.v1.Health/Watch":
            return grpc.unary_stream_rpc_method_handler(self._watch, self._read, write)
        return None

    def _read(self, data: bytes) -> Any:
        return self._pb2.HealthCheckRequest.FromString(_plain(data))

    async def _check(self, request: Any, context: Any) -> Any:
        try:
            return self._status(request.service, context)
        except ArgosyError as error:
            await context.abort(_CODES[error.grpc], error.message)

    async def _watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        last: Any = None
        while True:
            try:
                now = self._status(request.service, context)
            except ArgosyError:
                now = self._pb2.HealthCheckResponse(status="SERVICE_UNKNOWN")
            if now != last:
                last = now
                yield now
            await asyncio.sleep(0.5)

    def _status(self, service: str, context: Any) -> Any:
        if service in ("", wire.SERVICE):
            good = self._plane.ready() and self._plane.live()
        elif (SERVER, "1") in context.invocation_metadata():
            raise NotFound("the gateway tells of the server here; ask ModelReady about a model")
        else:
            good = self._plane.model_ready(service)
        return self._pb2.HealthCheckResponse(status="SERVING" if good else "NOT_SERVING")
