"""Connections are counted for an address: one that holds all it can get shuts nobody else out, and costs 64 MiB at the
most, in clear and with TLS; and what Envoy gives up as its heap grows."""

import asyncio
import contextlib
import functools
import socket
import ssl

import httpx
import msgspec
import pytest

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import Tls
from attack import http2
from attack.http2 import ATTACKER, Connection
from tests.gateway.kit import KEY, api_key, one
from tests.gateway.test_attack import MOST, Sizes
from tests.gateway.test_tls import certificate

MANY = 300


@functools.cache
def trusting():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def silent(address):
    return http2.connect(address, 5)


def half_head(address):
    made = http2.connect(address, 5)
    made.sendall(b"GET /v2 HTTP/1.1\r\nx: " + b"x" * 8000)
    return made


def idle_http2(address):
    return Connection(address).socket


def half_handshake(address):
    made = http2.connect(address, 5)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        trusting().wrap_bio(incoming, outgoing).do_handshake()
    made.sendall(outgoing.read())
    return made


def idle_tls(address):
    made = trusting().wrap_socket(http2.connect(address, 5))
    made.sendall(http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0))
    return made


def asked(scheme, address, source):
    """The status of a whole request with a key from an address of this machine, over a new connection."""
    host, port = address
    transport = httpx.HTTPTransport(verify=False, local_address=source)
    with httpx.Client(transport=transport, timeout=60, trust_env=False) as client:
        return client.get(f"{scheme}://{host}:{port}/v2/models/digits", headers={"x-api-key": KEY}).status_code


@pytest.mark.parametrize(
    ("scheme", "make"),
    [
        ("http", silent),
        ("http", half_head),
        ("http", idle_http2),
        ("https", silent),
        ("https", half_handshake),
        ("https", idle_tls),
    ],
)
async def test_one_address_holds_all_it_can_get(config, replica, folder, scheme, make):
    tls = Tls(*map(str, certificate(folder, "c", "here"))) if scheme == "https" else None
    gateway = Gateway(msgspec.structs.replace(config, tls=tls))
    await gateway.start([one(await replica("a"))], [api_key()])
    address = await gateway.address()

    def attack():
        with contextlib.ExitStack() as stack, Sizes(gateway.process.running.pid) as sizes:
            held = []
            for _ in range(MANY):
                with contextlib.suppress(OSError):
                    held.append(make(address))
                    stack.callback(held[-1].close)
            found = asked(scheme, address, "127.0.0.3"), asked(scheme, address, "127.0.0.1")
            return found, sizes.grown[0]

    try:
        found, grown = await asyncio.to_thread(attack)
        assert found == (200, 200)
        stats = await gateway.process.admin.stats(r"^connection_limit\.argosy\.limited_connections$")
        assert sum(stats.values()) >= MANY - config.max_connections_per_address
        assert grown <= MOST
        assert await asyncio.to_thread(asked, scheme, address, ATTACKER) == 200
    finally:
        await gateway.stop(0.2)


async def test_an_address_may_have_as_many_as_all(config, replica):
    """Where the gateway stands behind a proxy, all come from its address."""
    gateway = Gateway(msgspec.structs.replace(config, max_connections=40, max_connections_per_address=40))
    await gateway.start([one(await replica("a"))], [api_key()])
    address = await gateway.address()

    def attack():
        held = [http2.connect(address, 5) for _ in range(30)]
        try:
            return asked("http", address, ATTACKER), asked("http", address, "127.0.0.1")
        finally:
            for each in held:
                each.close()

    try:
        assert await asyncio.to_thread(attack) == (200, 200)
    finally:
        await gateway.stop(0.2)


async def test_what_is_shed_as_the_heap_grows(config, replica):
    """Bodies that wait for a replica that takes none fill the heap up to its bound, and then new requests are refused
    until it is free again. Envoy lives."""
    never = asyncio.Event()
    a = await replica("a")

    async def held(_):
        await never.wait()
        return 200, {}, b"at last"

    a.handler = held
    most = 128 * 1024 * 1024
    gateway = Gateway(msgspec.structs.replace(config, max_heap_bytes=most))
    await gateway.start([one(a), one("/tmp/none.sock", endpoint="other")], [api_key()])
    address = await gateway.address()
    body = 4_000_000
    head = f"POST /v2/models/digits/infer HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\n"
    whole = f"{head}content-length: {body}\r\n\r\n".encode() + b"x" * body

    def fill(count=80):
        made = []
        for n in range(count):
            with contextlib.suppress(OSError):
                made.append(socket.create_connection(address, 5, source_address=(f"127.0.0.{n % 2 + 4}", 0)))
                made[-1].sendall(whole)
        return made

    async def active():
        stats = await gateway.process.admin.stats(r"^overload\..*\.active$")
        return {name.split(".")[-2] for name, value in stats.items() if value}

    try:
        connections = []
        with Sizes(gateway.process.running.pid) as sizes:
            connections = await asyncio.to_thread(fill)
            async with asyncio.timeout(30):
                while "stop_accepting_requests" not in (seen := await active()):
                    await asyncio.sleep(0.05)
        assert {"disable_http_keepalive", "reduce_timeouts", "shrink_heap"} <= seen
        assert sizes.grown[0] <= 2 * most
        # Near its bound a request is refused, and at it the connection.
        with contextlib.suppress(httpx.TransportError):
            assert await asyncio.to_thread(asked, "http", address, "127.0.0.1") == 503
        for each in connections:
            each.close()
        never.set()
        async with asyncio.timeout(30):
            while "stop_accepting_requests" in await active():
                await asyncio.sleep(0.05)
        assert await asyncio.to_thread(asked, "http", address, "127.0.0.1") == 200
    finally:
        never.set()
        await gateway.stop(0.2)
