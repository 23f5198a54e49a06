"""Hostile HTTP/1, HTTP/2 and gRPC bytes against a replica and against a gateway: both go on to answer, and stay small.

ATTACK_SECONDS says for how long each is attacked.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import psutil
import pytest

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import EndpointRoute, GatewayConfig, Upstream
from argosy.spec.address import Address
from attack import wire
from tests.gateway.kit import KEY, api_key, http, revision

SECONDS = float(os.environ.get("ATTACK_SECONDS", "2"))
MIB = 1024 * 1024
GROWTH = 64 * MIB
BODY = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}'


class Victim(NamedTuple):
    """A replica in a process of its own."""

    process: subprocess.Popen[str]
    http: str
    grpc: str


@pytest.fixture
def victim(folder: Path) -> Iterator[Victim]:
    command = [sys.executable, "-m", "attack.replica", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield Victim(process, *(address.removeprefix("unix:") for address in told))
        process.communicate(timeout=60)


def rounds(kinds: list, address: wire.Address, seed: int) -> None:
    """Attack for SECONDS; most of it finds the server there."""
    random = np.random.default_rng(seed)
    end, count, reached = time.monotonic() + SECONDS, 0, 0
    while time.monotonic() < end or count < 20:
        reached += wire.send(address, kinds[count % len(kinds)](random), random)
        count += 1
    assert reached > count / 2


def warm(address: wire.Address, kinds: list) -> None:
    random = np.random.default_rng(0)
    for number in range(20):
        wire.send(address, kinds[number % len(kinds)](random), random)


@pytest.mark.parametrize("surface", ["http", "grpc"])
def test_a_replica_goes_on(victim: Victim, surface: str):
    address = victim.http if surface == "http" else victim.grpc
    kinds = [wire.http1, wire.http2] if surface == "http" else [wire.http2]
    warm(address, kinds)
    process = psutil.Process(victim.process.pid)
    before = process.memory_info().rss
    rounds(kinds, address, seed=1)
    for flood in wire.floods():
        wire.send(address, flood, np.random.default_rng(2))
    with httpx.Client(transport=httpx.HTTPTransport(uds=victim.http), base_url="http://localhost") as client:
        assert client.post("/v2/models/rows/infer", content=BODY).json()["outputs"][0]["data"] == [1, 2, 3, 4]
    assert process.memory_info().rss - before < GROWTH


async def test_a_gateway_goes_on(gateway: Gateway, config: GatewayConfig, victim: Victim):
    upstream = Upstream(replica="r", http=Address(path=victim.http), grpc=Address(path=victim.grpc))
    route = EndpointRoute(endpoint="rows", revisions=(revision("r1", "1", upstream, weight=1),))
    await gateway.start([route], [api_key()])
    address = await gateway.address()
    envoy = psutil.Process(gateway.process.running.pid)
    warm(address, [wire.http1, wire.http2])
    before = envoy.memory_info().rss
    rounds([wire.http1, wire.http2], address, seed=3)
    for flood in wire.floods():
        wire.send(address, flood, np.random.default_rng(4))
    async with await http(gateway, headers={"authorization": f"Bearer {KEY}"}) as client:
        answer = await client.post("/v2/models/rows/infer", content=BODY)
    assert answer.json()["outputs"][0]["data"] == [1, 2, 3, 4]
    assert envoy.is_running()
    assert envoy.memory_info().rss - before < GROWTH
