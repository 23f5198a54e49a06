"""gRPC calls in the activator: they wait as HTTP requests do, then are passed on message by message.

A call's messages are left in the stream until there is a replica; metadata, status and details come back as they are.
"""

import asyncio
import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from argosy.activator.queue import Destination, Queues
from argosy.spec.address import Address

CONNECT = 1.0
"""Seconds for a connection to a replica that is said to be ready."""
AGAIN = 0.05
WELL = b"\x08\x01"
"""`true` as the first field of a message: that the server is live or ready, or, of the health service, SERVING."""
ANSWERED = (
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/grpc.health.v1.Health/Check",
)
OUR_OWN = ("argosy-endpoint", "user-agent")
UNBOUNDED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
"""The gateway has bounded what comes, and the replica bounds what it answers."""
AS_IS = (("grpc.per_message_decompression", 0),)
"""A compressed message is passed on as it came: the replica decompresses it, with a bound."""
HASTY = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
)


class Calls(grpc.GenericRpcHandler):
    """A gRPC server whose calls wait for a replica of the endpoint that the gateway names."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    async def start(self, path: Path) -> None:
        """Listen, for as long as the process lives."""
        path.unlink(missing_ok=True)
        self._server = grpc.aio.server(handlers=(self,), options=[*UNBOUNDED, *AS_IS, ("grpc.so_reuseport", 0)])
        self._server.add_insecure_port(f"unix:{path}")
        await self._server.start()

    def service(self, handler_call_details: Any) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """The same for every method, unary or not."""
        served: Any = functools.partial(self._serve, handler_call_details.method)
        return grpc.stream_stream_rpc_method_handler(served)

    async def _serve(self, method: str, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        sent = [(key, value) for key, value in context.invocation_metadata() if key not in OUR_OWN]
        name = dict(context.invocation_metadata()).get("argosy-endpoint", "")
        if method in ANSWERED and not name:
            yield WELL
            return
        while isinstance(outcome := await self._queues.wait(name), Destination):
            with self._queues.served(name):
                async with _channel(outcome.grpc or outcome.http) as channel:
                    if await _connected(channel):
                        call: Any = channel.stream_stream(method)(
                            requests, metadata=sent, timeout=context.time_remaining()
                        )
                        async for answer in _answers(call, outcome, context):
                            yield answer
                        return
            await asyncio.sleep(AGAIN)
        await context.abort(grpc.StatusCode.UNAVAILABLE, f"{outcome.reason}; come again in {outcome.retry_after} s")


async def _connected(channel: Any) -> bool:
    try:
        async with asyncio.timeout(CONNECT):
            await channel.channel_ready()
    except TimeoutError:
        return False
    return True


async def _answers(call: Any, to: Destination, context: Any) -> AsyncIterator[bytes]:
    """What the replica answers, to its end or its error."""
    try:
        await context.send_initial_metadata((*await call.initial_metadata(), ("x-argosy-revision", to.revision)))
        async for answer in call:
            yield answer
        context.set_trailing_metadata(tuple(await call.trailing_metadata()))
    except grpc.aio.AioRpcError as error:
        await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))
    finally:
        call.cancel()


def _channel(address: Address) -> Any:
    """Raises OSError where a file of the TLS identity cannot be read."""
    options: list[tuple[str, Any]] = [*UNBOUNDED, *HASTY]
    if address.tls is None:
        return grpc.aio.insecure_channel(str(address), options)
    trusted, own = (Path(name).read_bytes() for name in (address.tls.authorities, address.tls.own("activator")))
    credentials = grpc.ssl_channel_credentials(trusted, own, own)
    options.append(("grpc.ssl_target_name_override", address.tls.host))
    return grpc.aio.secure_channel(str(address), credentials, options)
