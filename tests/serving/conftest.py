import asyncio
import contextlib
import threading

import pytest
import uvloop

from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.serving.http import HttpApp
from argosy.serving.model import ServedModel
from argosy.serving.server import Replica
from argosy.spec.address import Address
from argosy.spec.endpoint import Runtime
from argosy.spec.tracing import Tracing
from tests.serving.engines import identities


class RunningReplica:
    """A replica in an event loop and thread of its own, with its addresses."""

    def __init__(
        self,
        engines,
        runtime=None,
        inline=True,
        grpc=True,
        folder=None,
        tls=None,
        tracing=None,
        make_app=HttpApp,
        health=None,
    ):
        self._engines = engines
        self._inline = inline
        self._make_app = make_app
        names = tuple(ModelConfig(name=name, package="-") for name in engines)
        http, rpc = [Address(path=str(folder / name)) if folder else Address(tls=tls) for name in ("h", "g")]
        self.config = ReplicaConfig(
            models=names,
            runtime=runtime or Runtime(),
            http=http,
            grpc=rpc if grpc else None,
            health=health,
            tracing=tracing or Tracing(),
        )
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    async def _load(self, config, runtime):
        engine = self._engines[config.name]
        known = {"platform": "test", "inline": self._inline, "language": getattr(engine, "language", None)}
        return ServedModel(config.name, config.version, engine, runtime, **known)

    def _run(self):
        uvloop.run(self._main())

    async def _main(self):
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.replica = Replica(self.config, self._load, self._make_app)
        self.http, self.grpc = await self.replica.start()
        self.url = f"http://{self.http}"
        self._ready.set()
        await self._stop.wait()
        await self.replica.drain()

    def begin_stop(self):
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._stop.set)

    def stop(self):
        self.begin_stop()
        self._thread.join(60)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_):
        self.stop()


@pytest.fixture(scope="session")
def identity_replica():
    with RunningReplica(identities()) as running:
        yield running


@pytest.fixture
def run_replica():
    with contextlib.ExitStack() as stack:
        yield lambda engines, **options: stack.enter_context(RunningReplica(engines, **options))
