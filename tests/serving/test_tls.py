"""A replica on TCP: whom it lets in, what it shows, and certificates that change while it serves."""

import asyncio
import logging
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import grpc
import msgspec
import pytest

from argosy.gateway.admin import Admin
from argosy.process import sockets
from argosy.process.limit import LogLimit
from argosy.process.sockets import connect
from argosy.serving import frames, tls
from argosy.serving.frames import HEAD, Hello, Orders
from argosy.spec.address import Address, TlsIdentity
from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.store.authority import LIFE, Authority
from argosy.targets.health import ask
from tests.ports import free
from tests.serving.conftest import RunningReplica
from tests.serving.engines import identities

LIVE = "/inference.GRPCInferenceService/ServerLive"


class World:
    """A replica with an identity, and those that call it."""

    def __init__(self, folder: Path, hours: float = 0.0) -> None:
        self.authority = Authority(folder / "platform", "p", lambda: time.time() + hours * 3600)
        self.identity = self.authority.identity("e", "r", "0")
        self.own = folder / "replica"
        self.tend()
        self.listens = TlsIdentity(name=self.identity.name, files=str(self.own))

    def tend(self) -> int:
        return self.authority.tend({self.own: self.identity})

    def reached(self, address: Address, **changed: str) -> Address:
        return Address(port=address.port, tls=msgspec.structs.replace(self.identity, **changed))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def replica(world: World, run_replica) -> RunningReplica:
    return run_replica(identities(), tls=world.listens)


def answered(context: ssl.SSLContext, port: int, host: str) -> bytes:
    """What a request gets; nothing where it is refused."""
    line = socket.create_connection(("127.0.0.1", port), 10)
    try:
        with context.wrap_socket(line, server_hostname=host) as secure:
            secure.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
            return secure.recv(100)
    except OSError:
        return b""


def live(port: int, own: bytes, trusted: bytes, host: str) -> bytes:
    credentials = grpc.ssl_channel_credentials(trusted, own or None, own or None)
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, [("grpc.ssl_target_name_override", host)]) as channel:
        return channel.unary_unary(LIVE)(b"", timeout=60)


def called(world: World, port: int, caller: str = "activator", **files: Path) -> bytes:
    own = files.get("own", world.authority.folder / f"{caller}.pem").read_bytes()
    trusted = files.get("trusted", world.authority.folder / "authorities.pem").read_bytes()
    return live(port, own, trusted, world.identity.host)


async def test_who_has_no_certificate_is_told_of_health_alone(world: World, run_replica):
    health = Address(port=free())
    replica = run_replica(identities(), tls=world.listens, health=health)
    for name in ("live", "ready"):
        assert await ask(health, f"/v2/health/{name}", 10) == "yes"
    for path in ("/v2/models/fp32/infer", "/v2/health/../models/fp32/infer", "/argosy/counts", "/metrics", "/v2"):
        status, body = await Admin(health, 10).exchange("GET", path)
        assert (status, b"there is nothing " in body) == (404, True)
    assert await ask(Address(port=replica.http.port), "/v2/health/live", 10) == "refused"


async def test_the_platform_reaches_all_that_a_unix_socket_has(world: World, replica: RunningReplica):
    there = Admin(world.reached(replica.http), 10)
    assert set(msgspec.json.decode(await there.get("/argosy/counts"))) == set(identities())
    await there.post("/argosy/answers")
    assert await ask(there.address, "/v2/health/ready", 10) == "yes"
    context = ssl.create_default_context(cafile=world.identity.authorities)
    context.load_cert_chain(world.identity.own("gateway"))
    assert answered(context, replica.http.port, world.identity.host).startswith(b"HTTP/1.1 200")
    for caller in ("gateway", "controller", "activator"):
        assert await asyncio.to_thread(called, world, replica.grpc.port, caller) == b"\x08\x01"
        _, writer = await connect(there.address, caller=caller)
        writer.close()


async def test_whoever_may_not_call_gets_no_answer(world: World, replica: RunningReplica, tmp_path: Path):
    """Without a certificate, with one of another platform, with that of a replica; and in clear."""
    other = World(tmp_path / "other")
    callers = {"none": None, "foreign": other.authority.folder / "gateway.pem", "replica": world.own / "replica.pem"}
    for name, own in callers.items():
        context = ssl.create_default_context(cafile=world.identity.authorities)
        if own is not None:
            context.load_cert_chain(own)
        assert answered(context, replica.http.port, world.identity.host) == b"", name
        empty = tmp_path / "empty"
        empty.write_bytes(b"")
        with pytest.raises(grpc.RpcError):
            called(world, replica.grpc.port, own=own or empty)
    assert await ask(Address(port=replica.http.port), "/v2/health/live", 10) == "refused"


async def test_a_replica_that_shows_another_identity_is_refused(world: World, replica: RunningReplica):
    """Of the same revision: its name is part of what is checked."""
    sibling = world.authority.identity("e", "r", "1")
    there = world.reached(replica.http, name=sibling.name)
    with pytest.raises(Unavailable, match=r"spiffe://p/endpoint/e/revision/r/replica/1 is refused: Hostname mismatch"):
        await Admin(there, 10).get("/argosy/counts")
    assert await ask(there, "/v2/health/live", 10) == "refused"
    own, trusted = (Path(each).read_bytes() for each in (sibling.own("gateway"), sibling.authorities))
    with pytest.raises(grpc.RpcError):
        live(replica.grpc.port, own, trusted, sibling.host)


@pytest.mark.parametrize("hours", [-LIFE / 3600 - 1, 2], ids=["expired", "not good yet"])
async def test_a_certificate_out_of_its_time_is_refused_and_says_so(
    tmp_path: Path, run_replica, hours: float, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sockets.LOG, "filters", [])
    world = World(tmp_path, hours)
    replica = run_replica(identities(), tls=world.listens)
    with pytest.raises(Unavailable, match=r"certificate (has expired|is not yet valid)"):
        await Admin(world.reached(replica.http), 10).get("/argosy/counts")
    assert f"for {world.identity.name} is refused" in caplog.text
    assert "`argosy up` renews those of this platform" in caplog.text
    with pytest.raises(grpc.RpcError):
        called(world, replica.grpc.port)


@pytest.mark.parametrize("hours", [-0.5, 0.5], ids=["behind", "ahead"])
async def test_clocks_may_differ_by_minutes(tmp_path: Path, run_replica, hours: float):
    world = World(tmp_path, hours)
    replica = run_replica(identities(), tls=world.listens)
    await Admin(world.reached(replica.http), 10).get("/argosy/counts")
    assert called(world, replica.grpc.port) == b"\x08\x01"


def serial(address: Address) -> str:
    assert address.tls is not None
    context = ssl.create_default_context(cafile=address.tls.authorities)
    context.load_cert_chain(address.tls.own("gateway"))
    line = socket.create_connection(("127.0.0.1", address.port), 10)
    with context.wrap_socket(line, server_hostname=address.tls.host) as secure:
        found = secure.getpeercert()
        assert found is not None
        return str(found["serialNumber"])


async def test_a_renewal_breaks_no_connection_and_is_shown_from_then_on(world: World, replica: RunningReplica):
    there = world.reached(replica.http)
    reader, writer = await connect(there)
    before = await asyncio.to_thread(serial, there)
    own, trusted = (Path(each).read_bytes() for each in (there.tls.own("gateway"), there.tls.authorities))
    credentials = grpc.ssl_channel_credentials(trusted, own, own)
    options = [("grpc.ssl_target_name_override", world.identity.host)]
    with grpc.secure_channel(f"127.0.0.1:{replica.grpc.port}", credentials, options) as channel:
        held = channel.unary_unary(LIVE)
        assert held(b"", timeout=60) == b"\x08\x01"
        for path in (world.own / "replica.pem", world.authority.folder / "controller.pem"):
            path.unlink()
        assert world.tend() == 2
        async with asyncio.timeout(60):
            while await asyncio.to_thread(serial, there) == before:
                await asyncio.sleep(0.05)
        writer.write(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"200"
        assert held(b"", timeout=60) == b"\x08\x01"
    writer.close()
    assert called(world, replica.grpc.port) == b"\x08\x01"
    await Admin(there, 10).get("/argosy/counts")


async def test_one_that_cannot_be_used_is_not_taken_up(world: World, replica: RunningReplica):
    server = tls.ServerTls(world.listens)
    (world.own / "replica.pem").write_bytes(b"rubbish")
    assert not server.renew()
    os.utime(world.own / "replica.pem", (1, 1))
    there = world.reached(replica.http)
    assert await asyncio.to_thread(serial, there)
    assert called(world, replica.grpc.port) == b"\x08\x01"
    with pytest.raises(InvalidArgument, match="cannot be used"):
        tls.ServerTls(world.listens)
    (world.own / "replica.pem").unlink()
    with pytest.raises(InvalidArgument, match="has no certificate"):
        tls.ServerTls(world.listens)


async def test_those_that_are_refused_are_logged_rarely(
    world: World, replica: RunningReplica, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tls.log, "filters", [LogLimit(5, 60.0)])
    caplog.set_level(logging.WARNING, "argosy.serving.tls")
    context = ssl.create_default_context(cafile=world.identity.authorities)
    for _ in range(30):
        assert answered(context, replica.http.port, world.identity.host) == b""
    said = [each.getMessage() for each in caplog.records if each.name == "argosy.serving.tls"]
    assert 1 <= len(said) <= 5
    assert "only the platform's own certificates are taken here" in said[0]


def test_grpc_logs_none_of_them(world: World):
    """A replica of its own process, as it is started."""
    code = f"""
import asyncio, sys, uvloop
from argosy.serving.config import ReplicaConfig
from argosy.serving.server import Replica
from argosy.spec.address import Address, TlsIdentity
there = Address(tls=TlsIdentity(name={world.listens.name!r}, files={world.listens.files!r}))
async def main():
    replica = Replica(ReplicaConfig(models=(), http=there, grpc=there))
    _, grpc = await replica.start()
    print(grpc.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await replica.drain()
uvloop.run(main())
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        port = int(child.stdout.readline())
        trusted = Path(world.identity.authorities).read_bytes()
        for _ in range(3):
            with pytest.raises(grpc.RpcError):
                live(port, b"", trusted, world.identity.host)
        assert called(world, port) == b"\x08\x01"
        child.stdin.close()
        assert child.stderr.read() == b""


@pytest.fixture
async def opened():
    """Connections of a test, which are ended with it."""
    found: list[asyncio.StreamWriter] = []
    yield found
    for each in found:
        each.transport.abort()


async def recorded(
    opened: list[asyncio.StreamWriter], address: Address, lines: str = "Connection: upgrade\r\nUpgrade: argosy-records"
):
    """A connection as a recorder opens it, and the first line of the answer."""
    reader, writer = await connect(address)
    opened.append(writer)
    writer.write(f"GET /argosy/records HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    return reader, writer, head.partition(b"\r\n")[0]


async def test_a_recorder_comes_by_the_same_port(world: World, replica: RunningReplica, opened):
    there = world.reached(replica.http)
    for _ in range(12):  # more than wait at once; the replica goes on
        *_, said = await recorded(opened, there)
        assert said == b"HTTP/1.1 101 Switching Protocols"
    reader, writer, _ = await recorded(opened, there)
    head, body = frames.sizes(await reader.readexactly(HEAD.size))
    found = frames.read(await reader.readexactly(head + body), b"")
    assert isinstance(found, Hello)
    writer.write(frames.encode(Orders(sample=1.0)))
    writer.transport.abort()
    *_, said = await recorded(opened, there, "Accept: x")
    assert said == b"HTTP/1.1 404 Not Found"
    assert await ask(there, "/v2/health/ready", 10) == "yes"


async def test_nobody_records_where_all_may_call(run_replica, opened):
    *_, said = await recorded(opened, run_replica(identities()).http)
    assert said == b"HTTP/1.1 404 Not Found"
