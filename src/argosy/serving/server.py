"""A replica from start to end: load, check, listen, serve, drain."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
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
from argosy.serving.line import Door, SocketDoor, UpgradeDoor
from argosy.serving.listener import Listener
from argosy.serving.model import ServedModel
from argosy.serving.port import loopback
from argosy.serving.recording import Recording
from argosy.spec import crash
from argosy.spec.address import Address
from argosy.spec.endpoint import Runtime
from argosy.spec.errors import ArgosyError
from argosy.spec.tensor import Tensor

if TYPE_CHECKING:
    from argosy.packaging.load import LoadedModel
    from argosy.serving.grpc import GrpcServer
    from argosy.serving.tracer import Tracer

log = logging.getLogger("argosy.serving")

LINES = 50
"""Lines of the log in a second."""
OTHER_CALLS = 1024
"""gRPC calls at one time beside those that the queue may contain."""
_INLINE = ("onnx", "xgboost", "lightgbm", "encoder")
"""Engines whose calls take as long as their data says. The user's own code, and Python frameworks, may block."""

Started = Callable[[Address, Address | None], None]
MakeApp = Callable[[DataPlane], HttpApp]


async def load_model(config: ModelConfig, runtime: Runtime) -> ServedModel:
    """Load a package and replay its golden examples, off the event loop.

    Raises BadPackage, GoldenMismatch, MissingExtra, Untrusted, BadSignature.
    """
    loaded, call_ns, example = await asyncio.to_thread(_load, config, runtime.threads)
    engine = loaded.package.manifest.engine
    return ServedModel(
        config.name,
        config.version,
        loaded.engine,
        runtime,
        platform=f"argosy_{engine}",
        inline=engine in _INLINE,
        call_ns=call_ns,
        example=example,
        language=loaded.package.manifest.language,
    )


def _load(config: ModelConfig, threads: int) -> tuple["LoadedModel", int, list[Tensor]]:
    """The model, the fastest of three calls with one row, in ns: the first ones allocate; and that row."""
    from argosy.packaging.load import load
    from argosy.packaging.package import open_package

    digest = config.digest if config.exact else ""
    loaded = load(open_package(Path(config.package), trusted=config.trusted, digest=digest), threads=threads)
    inputs = loaded.package.golden_inputs()
    if loaded.signature.batched:
        inputs = [Tensor(each.name, each.datatype, each.array[:1].copy()) for each in inputs]
    feeds = {tensor.name: tensor.array for tensor in inputs}
    times: list[int] = []
    for _ in range(3):
        start = time.perf_counter_ns()
        loaded.engine.predict(feeds)
        times.append(time.perf_counter_ns() - start)
    return loaded, min(times), inputs


class Replica:
    """One running copy of a revision, inside the current event loop."""

    def __init__(
        self,
        config: ReplicaConfig,
        load: Callable[[ModelConfig, Runtime], Awaitable[ServedModel]] = load_model,
        make_app: MakeApp = HttpApp,
    ) -> None:
        self._config = config
        self._load = load
        tls = None
        if config.http.tls is not None:
            from argosy.serving.tls import ServerTls

            tls = ServerTls(config.http.tls)
        self._tls, inner = tls, bool(config.http.path or tls)
        answers = Answers() if inner else None
        self.plane = DataPlane(config.runtime.max_body_bytes, answers, _tracer(config))
        self.app = app = make_app(self.plane)
        handle = app.handle_local if loopback(config.http.host) and not inner else app.handle
        self._http = Listener(handle, config.http, config.runtime, tls)
        self._health = Listener(app.handle_health, config.health, config.runtime) if config.health else None
        self._grpc: GrpcServer | None = None
        self._door: Door | None = None

    async def start(self) -> tuple[Address, Address | None]:
        """Listen, load the models, become ready; the addresses taken. Raises what loading and binding raise.

        In a sandbox every socket is bound before anything of a model's is touched: from then on none is made.
        """
        config = self._config
        for model in config.models:
            self.plane.expect(model.name)
        address = await self._http.start()
        if self._health is not None:
            await self._health.start()
        grpc_address = None
        if config.grpc is not None:
            from argosy.serving.grpc import GrpcServer

            calls = config.runtime.max_queue_size + OTHER_CALLS
            self._grpc = GrpcServer(self.plane, config.grpc, calls, self._tls)
            grpc_address = self._grpc.bind()
        if config.recorder:
            self._door = SocketDoor(config.recorder)
        elif self._tls is not None:
            self._door = self.plane.door = UpgradeDoor()
        sandbox.seal()
        for model in config.models:
            served = await self._load(model, config.runtime)
            if self._door is not None:
                said = hello(config, model)
                served.watch(Recording(self._door, said, served.signature, served.runtime.max_batch_size))
            elif self.plane.answers is not None:
                served.watch()
            self.plane.add(served)
        if self._grpc is not None:
            await self._grpc.start()
        self.app.start()
        log.info("replica %s is ready on %s", config.replica, address)
        return address, grpc_address

    async def drain(self) -> None:
        """Take no new requests, answer those taken (at most `runtime.drain_timeout`), and close."""
        self.app.stop()
        await self.plane.drain(self._config.runtime.drain_timeout)
        if self._grpc is not None:
            await self._grpc.stop(1.0)
        if self._door is not None:
            self._door.close()
        await self._http.stop()
        if self._health is not None:
            await self._health.stop(1.0)
        self.plane.offload.close()
        if self.plane.tracer is not None:
            await asyncio.to_thread(self.plane.tracer.close)


def _tracer(config: ReplicaConfig) -> "Tracer | None":
    """The sender of traces, where they are wanted. Raises MissingExtra, InvalidArgument."""
    if not config.tracing.url:
        return None
    from argosy.serving.tracer import Tracer

    about = {"service.instance.id": config.replica, "argosy.replica": config.replica}
    if config.models and (revision := config.models[0].revision):
        about["argosy.revision"] = revision
    return Tracer(config.tracing, about)


async def serve(config: ReplicaConfig, started: Started | None = None, make_app: MakeApp = HttpApp) -> None:
    """Run a replica until SIGTERM or SIGINT, then drain it. `started` is called once it is ready."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    replica = Replica(config, make_app=make_app)
    try:
        addresses = await replica.start()
        if started is not None:
            started(*addresses)
        await stop.wait()
    finally:
        await replica.drain()


def run(config: ReplicaConfig, started: Started | None = None, make_app: MakeApp = HttpApp) -> None:
    """`serve` in an event loop of its own (uvloop). Raises ArgosyError.

    Threads of this process run until they block, rather than preempt one another at every wake-up: gRPC passes each
    call through three threads; on one core this answers a sixth more calls a second.
    """
    import uvloop

    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(LogLimit(LINES, 1.0))
    logging.basicConfig(
        level=config.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s", handlers=[handler]
    )
    uvloop.run(serve(config, started, make_app))


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
