"""A replica from start to end: load, check, listen, serve, drain."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from argosy.process import sandbox
from argosy.process.limit import LogLimit
from argosy.serving.answers import Answers
from argosy.serving.config import ModelConfig, ReplicaConfig, read
from argosy.serving.dataplane import DataPlane
from argosy.serving.frames import hello
from argosy.serving.http import HttpApp
from argosy.serving.listener import Listener
from argosy.serving.loading import load_model
from argosy.serving.model import ServedModel
from argosy.serving.pipe import listener
from argosy.serving.port import loopback
from argosy.serving.recording import Recording
from argosy.serving.repository import Loader, Repository
from argosy.spec import crash
from argosy.spec.address import Address
from argosy.spec.endpoint import Runtime
from argosy.spec.errors import ArgosyError

if TYPE_CHECKING:
    from argosy.serving.grpc import GrpcServer
    from argosy.serving.tracer import Tracer

log = logging.getLogger("argosy.serving")

LINES = 50
"""Lines of the log in a second."""
OTHER_CALLS = 1024
"""gRPC calls at one time beside those that the queue may hold."""

Started = Callable[[Address, Address | None], None]
Load = Callable[[ModelConfig, Runtime], Awaitable[ServedModel]]


class Replica:
    """One running copy of a revision, inside the current event loop."""

    def __init__(self, config: ReplicaConfig, loader: Loader | None = None, load: Load = load_model) -> None:
        self._config = config
        self._load = load
        self.repository = Repository(loader)
        limit = config.runtime.max_body_bytes
        self.plane = DataPlane(self.repository, limit, Answers() if config.http.path else None, _tracer(config))
        app = HttpApp(self.plane, limit)
        handle = app.handle_local if loopback(config.http.host) and not config.http.path else app.handle
        self._http = Listener(handle, config.http, config.runtime)
        self._grpc: GrpcServer | None = None
        self._door: socket.socket | None = None

    async def start(self) -> tuple[Address, Address | None]:
        """Listen, load the models, become ready; the addresses taken. Raises what loading and binding raise.

        In a sandbox every socket is bound before anything of a model's is touched: from then on none is made.
        """
        for model in self._config.models:
            self.repository.expect(model.name)
        address = await self._http.start()
        grpc_address = self._bind_grpc()
        if self._config.recorder:
            self._door = listener(self._config.recorder)
        sandbox.seal()
        for model in self._config.models:
            served = await self._load(model, self._config.runtime)
            if self.plane.answers is not None or self._config.recorder:
                served.watch(self._recording(model, served))
            if self.plane.tracer is not None:
                served.trace(self.plane.tracer)
            self.repository.add(served)
        if self._grpc is not None:
            await self._grpc.start()
        log.info("replica %s is ready on %s", self._config.replica, address)
        return address, grpc_address

    async def drain(self) -> None:
        """Take nothing new, answer what was taken (at most `runtime.drain_timeout`), and close."""
        await self.repository.drain(self._config.runtime.drain_timeout)
        if self._grpc is not None:
            await self._grpc.stop(1.0)
        await self._http.stop()
        self.plane.offload.close()
        if self.plane.tracer is not None:
            await asyncio.to_thread(self.plane.tracer.close)
        if self._door is not None:
            self._door.close()

    def _recording(self, model: ModelConfig, served: ServedModel) -> Recording | None:
        if self._door is None:
            return None
        return Recording(self._door, hello(self._config, model), served.signature, served.runtime.max_batch_size)

    def _bind_grpc(self) -> Address | None:
        if self._config.grpc is None:
            return None
        from argosy.serving.grpc import GrpcServer

        runtime = self._config.runtime
        calls = runtime.max_queue_size + OTHER_CALLS
        self._grpc = GrpcServer(self.plane, self._config.grpc, runtime.max_body_bytes, calls)
        return self._grpc.bind()


def _tracer(config: ReplicaConfig) -> "Tracer | None":
    """Whoever sends traces, where they go anywhere. Raises MissingExtra, InvalidArgument."""
    if not config.tracing.url:
        return None
    from argosy.serving.tracer import Tracer

    about = {"service.instance.id": config.replica, "argosy.replica": config.replica}
    if revision := config.models[0].revision:
        about["argosy.revision"] = revision
    return Tracer(config.tracing, about)


async def serve(config: ReplicaConfig, started: Started | None = None, loader: Loader | None = None) -> None:
    """Run a replica until SIGTERM or SIGINT, then drain it. `started` is called once it is ready."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    replica = Replica(config, loader)
    try:
        addresses = await replica.start()
        if started is not None:
            started(*addresses)
        await stop.wait()
    finally:
        await replica.drain()


def run(config: ReplicaConfig, started: Started | None = None, loader: Loader | None = None) -> None:
    """`serve` in an event loop of its own (uvloop). Raises ArgosyError."""
    import uvloop

    prefer_throughput()
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(LogLimit(LINES, 1.0))
    logging.basicConfig(
        level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s", handlers=[handler]
    )
    uvloop.run(serve(config, started, loader))


def prefer_throughput() -> None:
    """Let threads of this process run until they block, rather than preempt one another at every wake-up.

    gRPC passes each call through three threads; on one core this answers a sixth more calls a second (decision 7).
    """
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def main(arguments: list[str]) -> int:
    """`python -m argosy.serving CONFIG.json`: exit status 0 after a drain, else the error's, with its reason last."""
    crash.tell()
    try:
        if len(arguments) != 1:
            raise SystemExit("usage: python -m argosy.serving CONFIG.json")
        run(read(Path(arguments[0])))
    except ArgosyError as error:
        print(f"error: {error.message}", file=sys.stderr, flush=True)
        return error.exit
    return 0
