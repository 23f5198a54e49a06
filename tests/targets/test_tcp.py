"""The platform over a target whose replicas are reached over TCP with mutual TLS, by all that reads or routes."""

import asyncio
import ssl
from pathlib import Path

import grpc
import httpx
import pytest

from argosy.gateway.admin import Admin
from argosy.process.sockets import connect
from argosy.spec.address import Address, TlsIdentity
from argosy.spec.errors import Unavailable
from argosy.spec.settings import Home
from argosy.store.store import Store
from argosy.targets.base import Target
from argosy.targets.health import ask
from tests.platform.packages import push
from tests.platform.up import home, settings, started, store, until
from tests.targets.tcp import TCP_UP, Relay, TcpTarget, asks_who_calls, identity

__all__ = ["home", "settings", "store"]
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}
_: type[Target] = TcpTarget


def test_everything_reaches_a_replica_by_its_address(home: Home, store: Store):
    push(store, home.root / "p1", 3.0)
    with started(home) as begin:
        platform = begin([*TCP_UP, "real"]).ready()
        deployed = platform.call("PUT", "/v1/endpoints/digits", {"model": "digits:1", "replicas": 2}, wait=60)
        assert deployed["endpoint"]["state"] == "ready"
        found = platform.call("GET", "/v1/replicas")
        assert {(each["http"]["host"], each["http"]["tls"]["name"]) for each in found} == {("127.0.0.1", "localhost")}
        assert len({each[kind]["port"] for each in found for kind in ("http", "grpc")}) == 4
        assert all(each["memory"] > 2**20 for each in found)
        headers = {"authorization": f"Bearer {deployed['key']}"}
        answer = httpx.post(deployed["url"], json=BODY, headers=headers, timeout=60)
        assert answer.json()["outputs"][0]["data"] == [3.0] * 4

        gateway = platform.call("GET", "/v1/status")["gateway"].removeprefix("http://")
        with grpc.insecure_channel(gateway) as channel:
            live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
            assert live(b"", timeout=60, wait_for_ready=True) == b"\x08\x01"
        until(lambda: platform.ask("GET", "/metrics").text.count("argosy_loop_seconds_total{") == 2)
        files = "".join(each.read_text() for each in (home.gateway / "xds").glob("eds-digits*"))
        assert "socket_address" in files
        assert "pipe" not in files
        assert platform.stop() == 0


@pytest.fixture
async def relayed(tmp_path: Path):
    """A server that answers 200 on a Unix socket, behind a port that asks who calls."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    path = str(tmp_path / "s.sock")
    server = await asyncio.start_unix_server(answer, path)
    mine = identity(tmp_path / "mine")
    relay = Relay(path)
    yield Address(port=await relay.start(asks_who_calls(mine)), tls=mine)
    relay.close()
    server.close()


async def test_a_replica_with_the_right_identity_answers(relayed: Address):
    assert await Admin(relayed, 10).get("/x") == b"ok"
    assert await ask(relayed, "/v2/health/live", 10) == "yes"


async def test_an_impostor_and_a_stranger_get_nothing(relayed: Address, tmp_path: Path):
    mine, other = relayed.tls, identity(tmp_path / "other")
    assert mine is not None
    refused: list[TlsIdentity | None] = [
        TlsIdentity(name="localhost", authorities=other.authorities, certificate=mine.certificate, key=mine.key),
        TlsIdentity(name="another", authorities=mine.authorities, certificate=mine.certificate, key=mine.key),
        TlsIdentity(name="localhost", authorities=mine.authorities),
        TlsIdentity(name="localhost", authorities=mine.authorities, certificate=other.certificate, key=other.key),
        None,
    ]
    for tls in refused:
        there = Address(port=relayed.port, tls=tls)
        with pytest.raises(Unavailable):
            await Admin(there, 10).get("/x")
        assert await ask(there, "/v2/health/live", 10) == "refused"
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect(Address(port=relayed.port, tls=refused[0]))
