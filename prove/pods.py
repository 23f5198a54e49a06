"""`python -m prove.cluster --pods 10000`: how much memory the controller takes and how long its passes are, with so
many pods that kwok acts. Each has an address of this machine, at which one program shows the certificate of its
revision and answers 200 to whatever is asked: so the platform takes all for ready, and routes to them."""

import argparse
import asyncio
import contextlib
import multiprocessing
import re
import ssl
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import psutil

from argosy.spec.address import TlsIdentity
from argosy.spec.settings import Home
from argosy.store.authority import REPLICA, read
from argosy.targets.kubernetes.objects import HTTP
from tests.kubernetes.plane import Plane
from tests.platform.up import Up

ADDRESSES = "127.64.0.1/10"
EACH = 100
"""Pods of an endpoint, and of a node."""
PATIENCE = 1800.0
PASS = re.compile(r'argosy_controller_pass_seconds_(bucket|sum|count)(?:\{le="([^"]+)"\})? (\S+)')
SMALL: Mapping[str, Any] = {"cpu": 0.01, "memory": 1 << 20}


def answers(root: str) -> None:
    """Be all pods of the home in this folder."""
    folder, contexts = Path(root, "tls", "pods"), dict[str, ssl.SSLContext]()

    def known(socket: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name not in contexts:
            for file in folder.glob(f"*/{REPLICA}"):
                if found := read(file):
                    host = TlsIdentity(name=found.name, files="/").host
                    contexts[host] = made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    made.load_cert_chain(file)
        if name in contexts:
            socket.context = contexts[name]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.transport.abort()

    async def serve() -> None:
        outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        outer.sni_callback = known
        async with await asyncio.start_server(answer, "0.0.0.0", HTTP, ssl=outer, backlog=4096) as server:
            await server.serve_forever()

    asyncio.run(serve())


def passes(platform: Up) -> dict[str, float]:
    """The controller's histogram: bounds, `sum` and `count`."""
    text = platform.ask("GET", "/metrics").text
    return {bound or what: float(value) for what, bound, value in PASS.findall(text)}


def told(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """What passes took between two readings."""
    grown = {key: after[key] - before.get(key, 0.0) for key in after}
    count = max(1.0, grown.pop("count"))
    mean = grown.pop("sum") / count
    bounds = sorted((float(bound), value / count) for bound, value in grown.items())
    p50, p99 = (next(bound for bound, share in bounds if share >= wanted) for wanted in (0.5, 0.99))
    return f"{count:.0f} passes, mean {1000 * mean:.0f} ms, p50 <= {1000 * p50:g} ms, p99 <= {1000 * p99:g} ms"


def until(check: Callable[[], bool], what: str, every: float = 2.0) -> float:
    """Seconds until it is true."""
    began = time.monotonic()
    while not check():
        if time.monotonic() - began > PATIENCE:
            raise SystemExit(f"{what}: not within {PATIENCE:.0f} s")
        time.sleep(every)
    return time.monotonic() - began


@contextlib.contextmanager
def answering(home: Home) -> Generator[None]:
    """All pods of the home answer."""
    program = multiprocessing.get_context("spawn").Process(target=answers, args=(str(home.root),), daemon=True)
    program.start()
    try:
        yield
    finally:
        program.kill()
        program.join()


def run(plane: Plane, home: Home, platform: Up, options: argparse.Namespace) -> list[str]:
    """Declare, wait, measure; what is not as it is wanted."""
    count = max(1, options.pods // EACH)
    plane.fake_nodes(count)
    with answering(home):
        process, wrong = psutil.Process(platform.process.pid), list[str]()
        empty, before, began = process.memory_info().rss, passes(platform), time.monotonic()
        declared = {"model": "digits:1", "target": "kubernetes", "replicas": EACH, "public": True, "resources": SMALL}
        for number in range(count):
            platform.call("PUT", f"/v1/endpoints/e{number}", declared)
        print(f"{count} endpoints declared after {time.monotonic() - began:.1f} s", flush=True)

        def ready() -> bool:
            status = platform.call("GET", "/v1/status")
            took, memory = time.monotonic() - began, process.memory_info().rss / 2**20
            print(
                f"{took:6.0f} s: {status['ready']} endpoints, {status['replicas']} pods; {memory:.0f} MiB", flush=True
            )
            return status["ready"] == count

        until(ready, "all ready", every=10.0)
        print(f"{count * EACH} pods ready after {time.monotonic() - began:.0f} s; {told(before, passes(platform))}")
        before = passes(platform)
        time.sleep(options.seconds)
        found, memory = passes(platform), process.memory_info().rss
        print(f"at rest: {told(before, found)}")
        before, began = found, time.monotonic()
        platform.call("PUT", "/v1/endpoints/e0", declared | {"replicas": EACH + 10})
        until(lambda: platform.call("GET", "/v1/endpoints/e0")["ready"] == EACH + 10, "ten more", every=0.2)
        print(f"ten more are ready after {time.monotonic() - began:.1f} s: {told(before, passes(platform))}")
        for child in process.children():
            with contextlib.suppress(psutil.Error):
                print(f"  {' '.join(child.cmdline())[:60]}: {child.memory_info().rss / 2**20:.0f} MiB")
        print(f"controller: {memory / 2**20:.0f} MiB, {empty / 2**20:.0f} MiB of it before")
        if memory > 300 * 2**20:
            wrong.append("the controller takes more than 300 MiB")
        return wrong
