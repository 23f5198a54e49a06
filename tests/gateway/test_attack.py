"""Attacks of callers without a key on a real Envoy and a real replica: neither grows, and keys are served."""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import httpx
import msgspec
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import EndpointRoute, RevisionRoute, Upstream
from argosy.spec.address import Address
from argosy.spec.limits import Limits
from attack.gateway import ATTACKS, server_streams
from tests.gateway.kit import KEY, api_key

MOST = 64 * 1024 * 1024
QUICK = ("head flood", "resets", "first messages")
"""Attacks that are tried each time; the others are slow tests."""
HEADERS = {"x-api-key": KEY}

REPLICA = """
import asyncio, sys
from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.spec.address import Address
from argosy.serving.model import ServedModel
from argosy.serving.server import Replica
from argosy.spec.endpoint import Runtime
from tests.serving.engines import identities

ENGINES = identities()

async def load(config, runtime):
    return ServedModel(config.name, config.version, ENGINES[next(iter(ENGINES))], runtime, platform="test", inline=True)

async def main():
    http, grpc = (Address(path=f"{sys.argv[1]}/{name}.sock") for name in ("http", "grpc"))
    models = (ModelConfig(name="digits", package="-"),)
    await Replica(ReplicaConfig(models=models, runtime=Runtime(), http=http, grpc=grpc), load).start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def replica(folder):
    """A replica in a process of its own."""
    started = subprocess.Popen([sys.executable, "-c", REPLICA, str(folder)], stdout=subprocess.PIPE, cwd=os.getcwd())
    assert started.stdout is not None
    assert started.stdout.readline() == b"ready\n"
    yield started
    started.kill()
    started.wait()
    started.stdout.close()


@pytest.fixture
def config(config):
    """With the bound for an address that is the default."""
    return msgspec.structs.replace(config, max_connections_per_address=512)


@pytest.fixture
async def served(folder, config, replica):
    """A gateway in front of it; a key is needed."""
    gateway = Gateway(config)
    await gateway.start([route(folder)], [api_key()])
    yield gateway
    await gateway.stop(0.2)


def route(folder, **fields):
    """The endpoint."""
    ups = (Upstream(replica="a", http=Address(path=f"{folder}/http.sock"), grpc=Address(path=f"{folder}/grpc.sock")),)
    revisions = (RevisionRoute(revision="r1", version="1", weight=1, upstreams=ups),)
    return EndpointRoute(endpoint="digits", revisions=revisions, **fields)


class Sizes:
    """The most memory that processes had from now on, beyond what they have now."""

    def __init__(self, *pids):
        self.processes = [psutil.Process(pid) for pid in pids]
        self.before = [each.memory_info().rss for each in self.processes]
        self.grown = [0 for _ in pids]
        self.over = threading.Event()

    def watch(self):
        while not self.over.wait(0.02):
            self.look()

    def look(self):
        now = [each.memory_info().rss for each in self.processes]
        self.grown = [max(old, size - begin) for old, size, begin in zip(self.grown, now, self.before, strict=True)]

    def __enter__(self):
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.look()


def called(address):
    """REST and gRPC with a key, and probes without one, each over a new connection."""
    host, port = address
    with httpx.Client(base_url=f"http://{host}:{port}", timeout=60, trust_env=False) as client:
        assert client.get("/v2/models/digits", headers=HEADERS).status_code == 200
        assert client.get("/v2/health/ready").status_code == 200
    with triton.InferenceServerClient(f"{host}:{port}") as client:
        assert client.is_model_ready("digits", headers=HEADERS, client_timeout=60)
        assert client.get_model_metadata("digits", headers=HEADERS, client_timeout=60).name == "digits"
        assert client.is_server_live(client_timeout=60)
        assert client.is_server_ready(client_timeout=60)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ATTACKS]
)
async def test_nothing_grows_and_keys_are_served(served, replica, name):
    address = await served.address()
    called_once = await asyncio.to_thread(called, address)
    assert called_once is None

    def attack():
        with Sizes(served.process.running.pid, replica.pid) as sizes, ATTACKS[name](address):
            called(address)
        return sizes.grown

    gateway, behind = await asyncio.to_thread(attack)
    assert gateway <= MOST, f"the gateway grew by {gateway / 2**20:.0f} MiB"
    assert behind <= MOST, f"the replica grew by {behind / 2**20:.0f} MiB"
    await asyncio.to_thread(called, address)


async def test_messages_of_all_streams_of_a_key_count(served, folder, replica):
    """The rate is the key's, not the stream's; a client cannot tell the replica another one."""
    slow, free = api_key("slow", id="slow", requests_per_second=0.01, burst=6), api_key()
    await served.apply([route(folder)], [slow, free])
    message = service_pb2.ModelInferRequest(model_name="digits").SerializeToString()
    metadata = [("x-argosy-rate", "1000;1000"), ("x-argosy-key-id", "k1")]

    def stream(channel, key, count):
        """How many of so many messages were answered, the status in the end and its details. Not by grpc.aio: where the
        server ends a stream that is still written to, that says INTERNAL now and then."""
        call = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")(
            iter([message] * count), metadata=[*metadata, ("x-api-key", key)]
        )
        answers = 0
        with contextlib.suppress(grpc.RpcError):
            for _ in call:
                answers += 1
        return answers, call.code(), call.details()

    with grpc.insecure_channel("{}:{}".format(*await served.address())) as channel:
        for key, count, told in (
            (KEY, 50, (50, grpc.StatusCode.OK)),
            ("slow", 4, (4, grpc.StatusCode.OK)),
            ("slow", 50, (2, grpc.StatusCode.RESOURCE_EXHAUSTED)),
            ("slow", 50, (0, grpc.StatusCode.RESOURCE_EXHAUSTED)),
        ):
            *answered, details = await asyncio.to_thread(stream, channel, key, count)
            if tuple(answered) != told:
                await served.stop(0.2)  # which writes the access log to the end
                log = Path(served.config.access_log_path).read_text()
                pytest.fail(f"{answered} instead of {told}: {details}; the replica: {replica.poll()}; {log}")


async def test_streams_of_the_server_do_not_use_up_the_endpoint_s_limits(folder, config, replica):
    """Nor where all endpoints are open to all, and so these streams are, too."""
    limits = Limits(requests=4, pending=4)
    gateway = Gateway(config)
    await gateway.start([route(folder, limits=limits, auth=False)], [api_key()])
    try:
        address = await gateway.address()

        def attack():
            with server_streams(address, connections=5, streams=10):
                called(address)

        await asyncio.to_thread(attack)
        await gateway.apply([route(folder, limits=limits)], [api_key()])
        await asyncio.to_thread(attack)
    finally:
        await gateway.stop(0.2)
