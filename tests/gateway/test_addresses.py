"""Connections are counted for an address: one that holds all it can get shuts nobody else out, and costs 64 MiB at the
most, in clear and with TLS; callers of its own address are served as soon as what says nothing has ended; and what
Envoy gives up as its heap grows."""

import asyncio
import contextlib
import functools
import socket
import ssl
import sys

import httpx
import msgspec
import pytest

from argosy.gateway.gateway import Gateway
from argosy.gateway.listener import listener
from argosy.gateway.model import Tls
from attack import http2
from attack.http2 import HEADERS, Connection
from tests.gateway.kit import KEY, api_key, one
from tests.gateway.test_attack import MOST, Sizes
from tests.gateway.test_tls import certificate

MANY = 300


@pytest.fixture
def config(config):
    """With the bound for an address that is the default."""
    return msgspec.structs.replace(config, max_connections_per_address=512)


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


def asked_in_the_end(scheme, address, source="127.0.0.1"):
    """The same, for as long as connections are refused."""
    while True:
        with contextlib.suppress(httpx.TransportError):
            return asked(scheme, address, source)


def asked_over_http2(address):
    """Whether a request with a key is answered over a new connection of HTTP/2."""
    with contextlib.suppress(OSError), contextlib.closing(Connection(address)) as connection:
        fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/v2/models/digits")]
        connection.open([*fields, ("x-api-key", KEY)], end=True)
        return any(kind == HEADERS for kind, *_ in connection.frames(2.0))
    return False


@contextlib.contextmanager
def holding(make, address, count=MANY):
    """As many connections as it lets in."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            with contextlib.suppress(OSError):
                stack.callback(make(address).close)
        yield


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
async def test_callers_of_the_attacker_s_address_are_served(config, replica, folder, scheme, make):
    """And those of others."""
    tls = Tls(*map(str, certificate(folder, "c", "here"))) if scheme == "https" else None
    gateway = Gateway(msgspec.structs.replace(config, tls=tls))
    await gateway.start([one(await replica("a"))], [api_key()])
    address = await gateway.address()

    def attack():
        with Sizes(gateway.process.running.pid) as sizes, holding(make, address):
            found = [asked(scheme, address, source) for source in ("127.0.0.1", "127.0.0.3")]
        return found, sizes.grown[0]

    try:
        found, grown = await asyncio.to_thread(attack)
        assert found == [200, 200]
        assert grown <= MOST
    finally:
        await gateway.stop(0.2)


async def limited(gateway, chain):
    """How many connections were over their address's share."""
    stats = await gateway.process.admin.stats(rf"^connection_limit\.{chain}\.limited_connections$")
    return sum(stats.values())


async def test_an_address_that_has_used_up_its_share_shuts_nobody_else_out(config, replica):
    """Neither another one, nor in the end its own callers: heads that do not end are given up."""
    settings = msgspec.structs.replace(config, max_connections_per_address=50, headers_seconds=5.0)
    gateway = Gateway(settings)
    await gateway.start([one(await replica("a"))], [api_key()])
    address = await gateway.address()

    def attack():
        with holding(half_head, address, 100):
            return asked("http", address, "127.0.0.3"), asked_in_the_end("http", address)

    try:
        assert await asyncio.to_thread(attack) == (200, 200)
        assert await limited(gateway, "http1") >= 50
    finally:
        await gateway.stop(0.2)


@pytest.mark.slow
async def test_idle_connections_of_http2_make_room(config, replica):
    """They are counted apart from those of HTTP/1, and end by themselves."""
    gateway = Gateway(msgspec.structs.replace(config, max_connections_per_address=50, idle_seconds=1))
    await gateway.start([one(await replica("a"))], [api_key()])
    address = await gateway.address()

    def attack():
        with holding(idle_http2, address, 100):
            found = asked("http", address, "127.0.0.1")
            while not asked_over_http2(address):
                pass
            return found

    try:
        assert await asyncio.to_thread(attack) == 200
        assert await limited(gateway, "http2") >= 50
        assert await limited(gateway, "http1") == 0
    finally:
        await gateway.stop(0.2)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_connections_that_say_nothing_make_room(config, replica, folder, scheme):
    """They are no address's, and while they have all there are, callers wait for their end."""
    tls = Tls(*map(str, certificate(folder, "c", "here"))) if scheme == "https" else None
    gateway = Gateway(msgspec.structs.replace(config, tls=tls, max_connections=200, max_connections_per_address=50))
    await gateway.start([one(await replica("a"))], [api_key()])
    address = await gateway.address()

    def attack():
        with holding(silent, address):
            return asked_in_the_end(scheme, address)

    try:
        assert await asyncio.to_thread(attack) == 200
        assert await limited(gateway, "http[12]") == 0
    finally:
        await gateway.stop(0.2)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's option is Linux's")
async def test_connections_that_say_nothing_shut_nobody_out(config, replica):
    """Not even more of them than there may be: they stay in the kernel."""
    gateway = Gateway(msgspec.structs.replace(config, max_connections=40, max_connections_per_address=20))
    await gateway.start([one(await replica("a"))], [api_key()])
    address = await gateway.address()

    def attack():
        with holding(silent, address):
            return [asked("http", address, source) for source in ("127.0.0.1", "127.0.0.3")]

    try:
        assert await asyncio.to_thread(attack) == [200, 200]
    finally:
        await gateway.stop(0.2)


async def test_connections_over_ipv6_are_counted_by_network(config, replica):
    """Of addresses whose first 64 bits are equal, the share is one."""
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        gateway = Gateway(msgspec.structs.replace(config, host="::1", max_connections_per_address=50))
        await gateway.start([one(await replica("a"))], [api_key()])
        address = await gateway.address()
        try:
            with holding(half_head, address, 60):
                async with asyncio.timeout(60):
                    while await limited(gateway, "http1") < 10:
                        await asyncio.sleep(0.05)
        finally:
            await gateway.stop(0.2)
    state, _ = listener(config, "", "")["listener_filters"]
    (made,) = state["typed_config"]["on_accept"]
    assert made["format_string"]["text_format_source"]["inline_string"].endswith("_ADDRESS_WITHOUT_PORT(64)%")


async def test_an_address_may_have_as_many_as_all(config, replica):
    """Where the gateway stands behind a proxy, all come from its address."""
    gateway = Gateway(msgspec.structs.replace(config, max_connections=40, max_connections_per_address=40))
    await gateway.start([one(await replica("a"))], [api_key()])
    address = await gateway.address()

    def attack():
        held = [http2.connect(address, 5) for _ in range(30)]
        try:
            return asked("http", address, "127.0.0.2"), asked("http", address, "127.0.0.1")
        finally:
            for each in held:
                each.close()

    try:
        assert await asyncio.to_thread(attack) == (200, 200)
    finally:
        await gateway.stop(0.2)


@pytest.mark.slow
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

    connections = []

    def fill():
        for n in range(4):
            with contextlib.suppress(OSError):
                connections.append(socket.create_connection(address, 5, source_address=(f"127.0.0.{n % 2 + 4}", 0)))
                connections[-1].sendall(whole)

    async def active():
        stats = await gateway.process.admin.stats(r"^overload\..*\.active$")
        return {name.split(".")[-2] for name, value in stats.items() if value}

    try:
        with Sizes(gateway.process.running.pid) as sizes:
            async with asyncio.timeout(60):
                while "stop_accepting_requests" not in (seen := await active()):
                    await asyncio.to_thread(fill)
                    await asyncio.sleep(0.3)  # Envoy compares its heap with the bound each 250 ms
        assert {"disable_http_keepalive", "reduce_timeouts", "shrink_heap"} <= seen
        assert sizes.grown[0] <= 2 * most
        # Near its bound a request is refused, and at it the connection.
        with contextlib.suppress(httpx.TransportError):
            assert await asyncio.to_thread(asked, "http", address, "127.0.0.1") == 503
        for each in connections:
            each.close()
        never.set()
        async with asyncio.timeout(60):
            while "stop_accepting_requests" in await active():
                await asyncio.sleep(0.05)
        assert await asyncio.to_thread(asked, "http", address, "127.0.0.1") == 200
    finally:
        for each in connections:
            each.close()
        never.set()
        await gateway.stop(0.2)
