"""Replicas of language models on this machine, with a fake engine in the place of vLLM."""

import asyncio
import os
import signal
import ssl
import sys
from pathlib import Path

import httpx
import msgspec
import psutil
import pytest

from argosy.language.config import LanguageConfig
from argosy.spec.address import Address
from argosy.spec.endpoint import Resources, Runtime
from argosy.spec.language import Language
from argosy.spec.revision import Replica, Revision
from argosy.spec.settings import Home
from argosy.spec.strict import decode
from argosy.targets.launch import Launcher, Unpacked, new_place, prepare
from argosy.targets.local import LocalTarget
from argosy.targets.tags import VARIABLE
from tests.language.packages import fake_package
from tests.targets.lab import ID, authority, empty, ready, until

REVISION = Revision(
    id=ID,
    endpoint="m",
    model="m",
    version="1",
    digest="sha256:1",
    runtime=Runtime(threads=1, env={"FAKE": "--each=0.02 --tokens=100"}),
    language=Language(context=512),
)
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": True}


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Where vLLM is the fake engine."""
    monkeypatch.setenv("ARGOSY_VLLM_PYTHON", str(Path(__file__).parents[1] / "fake_vllm"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return Home(tmp_path_factory.mktemp("h")).create()


async def started(home: Home, package: Path, network: str = "unix") -> LocalTarget:
    """A target with a replica."""
    local = LocalTarget(home, lambda _: Unpacked(package), signs=lambda: authority(home), network=network)
    await local.adopt()
    await local.scale(REVISION, 1)
    await ready(local, 1)
    return local


def client(address: Address | None) -> httpx.AsyncClient:
    """Of an engine."""
    assert address is not None
    if address.tls is None:
        return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=address.path), base_url="http://e", timeout=30)
    context = ssl.create_default_context(cafile=address.tls.authorities)
    context.load_cert_chain(address.tls.own("gateway"))
    context.check_hostname = False
    return httpx.AsyncClient(verify=context, base_url=f"https://{address}", timeout=30, trust_env=False)


async def sole(local: LocalTarget) -> Replica:
    """The one that there is."""
    return (await local.endpoints(ID)).replicas[0]


def test_what_it_is_told(home: Home, tmp_path: Path):
    prepare(home)
    adapters = ("pirate:2",)
    revision = msgspec.structs.replace(
        REVISION, language=Language(adapters=adapters, draft="small:1"), resources=Resources(memory=1 << 30)
    )
    package = Unpacked(Path("/p"), beside={"pirate:2": Path("/a"), "small:1": Path("/d")})
    place = new_place(home, revision, 0)
    process = Launcher(home=home).start(place, revision, 0, package=package, threads=3)
    process.kill()
    process.wait(60)
    told = decode(place.config.read_bytes(), LanguageConfig, "it")
    assert (told.adapters, told.draft, told.variables) == ({"pirate:2": "/a"}, "/d", ("FAKE", VARIABLE))
    assert (told.engine, told.resources.memory, told.runtime.threads) == (place.engine, 1 << 30, 1)
    assert new_place(home, msgspec.structs.replace(REVISION, language=None), 0).engine is None


@pytest.mark.slow
async def test_an_engine_that_is_killed_is_replaced(home: Home, tmp_path: Path):
    local = await started(home, fake_package(tmp_path / "p"))
    first = await sole(local)
    assert first.grpc is None
    engine = psutil.Process((await local.usage())[first.id].pid).children()[0]
    engine.send_signal(signal.SIGKILL)

    async def replaced() -> bool:
        there = (await local.endpoints(ID)).replicas  # none, for a moment
        return [each.phase for each in there] == ["ready"] and there[0].run != first.run

    await until(replaced)
    status = await local.endpoints(ID)
    assert (status.replaced, status.trouble.endswith("error: vllm ended with signal 9")) == (1, True)
    await local.stop()


@pytest.mark.slow
@pytest.mark.parametrize("network", ["unix", "tls"])
async def test_a_stream_is_not_cut_by_a_drain(home: Home, tmp_path: Path, network: str):
    local = await started(home, fake_package(tmp_path / "p"), network)
    async with (
        client((await sole(local)).engine) as engine,
        engine.stream("POST", "/v1/chat/completions", json=CHAT) as answer,
    ):
        lines = answer.aiter_lines()
        assert (await anext(lines)).startswith("data: ")
        await local.remove(ID)
        while (await sole(local)).phase == "ready":
            await asyncio.sleep(0.01)
        await local.release([(await sole(local)).id])
        rest = [line async for line in lines if line]
    assert sum("content" in line for line in rest) == 99
    assert rest[-1] == "data: [DONE]"
    await until(lambda: empty(local))
    await local.close()


@pytest.mark.slow
async def test_one_whose_front_is_killed_is_replaced(home: Home, tmp_path: Path):
    """And nothing is left of one that is killed itself."""
    local = await started(home, fake_package(tmp_path / "p"), "tls")
    first = await sole(local)
    children = psutil.Process((await local.usage())[first.id].pid).children()
    (front,) = (each for each in children if "front.json" in " ".join(each.cmdline()))
    front.kill()

    async def replaced() -> bool:
        there = (await local.endpoints(ID)).replicas  # none, for a moment
        return [each.phase for each in there] == ["ready"] and there[0].run != first.run

    await until(replaced)
    assert "the Envoy in front of the engine" in (await local.endpoints(ID)).trouble
    replica = psutil.Process((await local.usage())[first.id].pid)
    children = replica.children()
    assert len(children) == 2
    replica.kill()
    assert psutil.wait_procs(children, 60)[1] == []
    await local.stop()


@pytest.mark.slow
@pytest.mark.parametrize("network", ["unix", "tls"])
async def test_a_replica_is_adopted_with_its_engine(home: Home, tmp_path: Path, network: str):
    local = await started(home, fake_package(tmp_path / "p"), network)
    before = await sole(local)
    await local.close()
    again = LocalTarget(home, lambda _: Unpacked(tmp_path / "p"), signs=lambda: authority(home), network=network)
    assert await again.adopt() == 1
    await ready(again, 1)
    assert await sole(again) == before
    async with client(before.engine) as engine:
        assert (await engine.get("/health")).status_code == 200
    await again.stop()
    await asyncio.sleep(0)
