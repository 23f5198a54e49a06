"""A real Envoy for each test that asks for one."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from argosy.gateway.admin import Admin
from argosy.gateway.gateway import Gateway
from argosy.gateway.model import GatewayConfig
from tests.gateway.grpc_kit import GrpcReplica
from tests.gateway.kit import HttpReplica


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short folder: socket paths are bounded."""
    path = Path(tempfile.mkdtemp(prefix="agw"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def replica(folder: Path) -> AsyncIterator[Callable[[str], Awaitable[HttpReplica]]]:
    """Starts replicas by name."""
    started: list[HttpReplica] = []

    async def make(name: str) -> HttpReplica:
        started.append(await HttpReplica(folder, name).start())
        return started[-1]

    yield make
    for each in started:
        await each.stop()


Admin.__init__.__defaults__ = (60.0,)  # seconds for Envoy to answer, which a busy machine takes from it


@pytest.fixture
def config(folder: Path) -> GatewayConfig:
    """Any free port, one worker, no bound for an address: with one, Envoy compiles 32 copies of the filters."""
    run = str(folder / "run")
    return GatewayConfig(run_dir=run, port=0, concurrency=1, drain_seconds=5, max_connections_per_address=4096)


@pytest.fixture
async def gateway(config: GatewayConfig) -> AsyncIterator[Gateway]:
    """A gateway that is stopped at the end, whatever happened."""
    made = Gateway(config)
    yield made
    await made.stop(0.5)


@pytest.fixture
def grpc_replica(folder: Path) -> Iterator[Callable[[str], GrpcReplica]]:
    """Starts gRPC replicas by name."""
    started: list[GrpcReplica] = []

    def make(name):
        started.append(GrpcReplica(folder, name))
        return started[-1]

    yield make
    for each in started:
        each.server.stop(None).wait()
        each.pool.shutdown()
