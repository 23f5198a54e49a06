"""gRPC transport of the data plane: `inference.GRPCInferenceService`, `grpc.health.v1` and reflection."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import json_format

from argosy.protocol import grpc as wire
from argosy.serving import inside
from argosy.serving.config import Address
from argosy.serving.dataplane import DataPlane
from argosy.spec.errors import ArgosyError, Conflict, InvalidArgument

log = logging.getLogger("argosy.serving")

_CODES = {code.value[0]: code for code in grpc.StatusCode}
Handler = Callable[[Any, Any], Awaitable[Any]]


class GrpcServer:
    """The gRPC endpoint of one data plane. `limit`: bytes of the largest message."""

    def __init__(self, plane: DataPlane, address: Address, limit: int) -> None:
        self._plane = plane
        self.address = address
        options = [
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((self._inference(), _Health(plane)))
        self._add_reflection()

    async def start(self) -> Address:
        """Begin to listen; the address with the port that was taken. Raises Conflict."""
        if self.address.path:
            Path(self.address.path).unlink(missing_ok=True)
        try:
            port = self._server.add_insecure_port(str(self.address))
        except RuntimeError:
            raise Conflict(f"the gRPC address {self.address} is in use or cannot be bound") from None
        if not self.address.path:
            self.address = Address(host=self.address.host, port=port)
        await self._server.start()
        return self.address

    async def stop(self, grace: float) -> None:
        """Finish calls in flight, at most `grace` seconds."""
        await self._server.stop(grace)

    def _inference(self) -> grpc.GenericRpcHandler:
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {}
        methods = {**_METHODS, "ModelInfer": _infer}
        for name, method in methods.items():
            request = wire.message(wire.METHODS[name].input_type.name)
            handlers[name] = grpc.unary_unary_rpc_method_handler(self._unary(method, request))
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self._stream)
        return grpc.method_handlers_generic_handler(wire.SERVICE, handlers)

    def _unary(self, method: Any, request_type: Any) -> Any:
        async def call(data: bytes, context: Any) -> bytes:
            try:
                answer = await method(self._plane, _parse(request_type, data), context)
                return answer.SerializeToString()
            except ArgosyError as error:
                await context.abort(_CODES[error.grpc], error.message)
            except (asyncio.CancelledError, grpc.aio.AbortError):
                raise
            except Exception:
                log.exception("a bug answered a gRPC call")
                await context.abort(grpc.StatusCode.INTERNAL, "internal error; see the log of the replica")
            raise AssertionError("abort does not return")

        return call

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for data in requests:
            try:
                answer = await _infer(self._plane, _parse(wire.InferRequest, data), context)
                yield wire.StreamResponse(infer_response=answer).SerializeToString()
            except ArgosyError as error:
                yield wire.StreamResponse(error_message=error.message).SerializeToString()

    def _add_reflection(self) -> None:
        from grpc_health.v1 import health_pb2
        from grpc_reflection.v1alpha import reflection, reflection_pb2

        for module in (health_pb2, reflection_pb2):
            with contextlib.suppress(TypeError):
                wire.POOL.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        names = (wire.SERVICE, health, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server, pool=wire.POOL)


def _parse(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except Exception:
        raise InvalidArgument(f"the message is no {kind.DESCRIPTOR.name}") from None


async def _infer(plane: DataPlane, message: Any, context: Any) -> Any:
    name, version, timeout = message.model_name, message.model_version, context.time_remaining()
    try:
        request, use_raw = wire.decode_request(message)
    except ArgosyError as error:
        inside.refused(plane, name, version, error, context)
        raise
    if plane.answers is None:
        response = await plane.infer(name, version, request, timeout)
    else:
        response = await inside.infer(plane, plane.answers, name, version, request, timeout, context)
    return wire.encode_response(response, use_raw)


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


_METHODS = {
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
        method = handler_call_details.method
        if method == "/grpc.health.v1.Health/Check":
            return grpc.unary_unary_rpc_method_handler(
                self._check, self._pb2.HealthCheckRequest.FromString, self._pb2.HealthCheckResponse.SerializeToString
            )
        if method == "/grpc.health.v1.Health/Watch":
            return grpc.unary_stream_rpc_method_handler(
                self._watch, self._pb2.HealthCheckRequest.FromString, self._pb2.HealthCheckResponse.SerializeToString
            )
        return None

    async def _check(self, request: Any, context: Any) -> Any:
        try:
            return self._status(request.service)
        except ArgosyError as error:
            await context.abort(_CODES[error.grpc], error.message)

    async def _watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        last: Any = None
        while True:
            try:
                now = self._status(request.service)
            except ArgosyError:
                now = self._pb2.HealthCheckResponse(status="SERVICE_UNKNOWN")
            if now != last:
                last = now
                yield now
            await asyncio.sleep(0.5)

    def _status(self, service: str) -> Any:
        if service in ("", wire.SERVICE):
            good = self._plane.ready() and self._plane.live()
        else:
            good = self._plane.model_ready(service)
        return self._pb2.HealthCheckResponse(status="SERVING" if good else "NOT_SERVING")
