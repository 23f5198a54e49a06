"""`python -m prove.llm`: what the gateway adds to a request to a language model, whose engine answers at once.

Time to the first token at prompts of 1, 64 and 220 KB, one request at a time, by turns straight and through the
gateway with a key, the log and the count of tokens on; then requests a second of 1 KB, and the CPU of Envoy for a
request and for an event of a stream. Client and engine (`tests/language/fake_engine.py`) are Python and bound the rate.
"""

import argparse
import asyncio
import hashlib
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import ApiKey, EndpointRoute, GatewayConfig, RevisionRoute, Upstream
from argosy.spec.address import Address
from tests.language.fake_engine import running

KEY = "a-good-key"
SIZES = (1, 64, 220)
PATH = "/v1/chat/completions"
WARM = 20


def request(size: int, key: str = KEY, **fields: object) -> bytes:
    """One whose prompt has so many bytes."""
    about = {"model": "gemma", "messages": [{"role": "user", "content": "x" * size}], "max_tokens": 1, **fields}
    body = json.dumps(about).encode()
    head = [f"POST {PATH} HTTP/1.1", "Host: a", f"Authorization: Bearer {key}", "Content-Type: application/json"]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


class Connection:
    """One that asks, reads and asks again."""

    def __init__(self, address: "str | tuple[str, int]") -> None:
        kind = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(kind)
        self.socket.connect(address)
        if kind == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Ask no more."""
        self.socket.close()

    def stream(self, data: bytes) -> float:
        """Seconds to the first byte of the answer's body."""
        return self.whole(data)[0]

    def whole(self, data: bytes) -> tuple[float, bytes]:
        """The same, and all of the answer."""
        start = time.perf_counter()
        self.socket.sendall(data)
        first, got = 0.0, b""
        while not got.endswith(b"\r\n0\r\n\r\n"):
            if not (more := self.socket.recv(1 << 20)):
                raise ConnectionError(f"the connection was closed in an answer: {got[-200:]!r}")
            got += more
            if not first and b"data: " in got:
                first = time.perf_counter() - start
        assert got.startswith(b"HTTP/1.1 200"), got[:200]
        return first, got

    def ask(self, data: bytes) -> float:
        """Seconds to the whole of an answer that has a length."""
        start = time.perf_counter()
        self.socket.sendall(data)
        got = b""
        while b"\r\n\r\n" not in got:
            got += self.socket.recv(1 << 20)
        head, _, rest = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), got[:300]
        size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(rest) < size:
            rest += self.socket.recv(1 << 20)
        return time.perf_counter() - start


def quantile(values: Sequence[float], share: float) -> float:
    """In milliseconds."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1e3


def cpu(pid: int) -> float:
    """Seconds of processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def first_tokens(straight: str, gateway: tuple[str, int], count: int) -> None:
    """The table of times to the first token."""
    table(["prompt", "straight p50, ms", "p99", "gateway p50, ms", "p99", "added p50, ms"])
    for size in SIZES:
        data = request(size * 1000, stream=True)
        places = Connection(straight), Connection(gateway)
        took: list[tuple[float, float]] = []
        for _ in range(count + WARM):
            one, other = (connection.stream(data) for connection in places)
            took.append((one, other))
        a, b = zip(*took[WARM:], strict=True)
        figures = (quantile(a, 0.5), quantile(a, 0.99), quantile(b, 0.5), quantile(b, 0.99))
        row([f"{size} KB", *(f"{each:.2f}" for each in (*figures, figures[2] - figures[0]))])


def table(titles: Sequence[str]) -> None:
    """Its head."""
    row(titles)
    row(["---"] * len(titles))


def row(cells: Sequence[str]) -> None:
    """One row."""
    print("| " + " | ".join(cells) + " |")


def rate(address: "str | tuple[str, int]", connections: int, seconds: float) -> list[float]:
    """The times of requests in a closed loop of threads."""
    data, end, took = request(1000), time.perf_counter() + seconds, list[float]()

    def loop() -> None:
        connection, own = Connection(address), list[float]()
        while time.perf_counter() < end:
            own.append(connection.ask(data))
        took.extend(own)

    threads = [threading.Thread(target=loop) for _ in range(connections)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return took


def measure(straight: str, gateway: tuple[str, int], pid: int, a: argparse.Namespace) -> None:
    """All of it."""
    first_tokens(straight, gateway, a.requests)
    print()
    table(["1 KB, 8 connections", "requests a second", "p50, ms", "p99, ms", "Envoy's CPU for one, us"])
    places: dict[str, str | tuple[str, int]] = {"straight": straight, "gateway": gateway}
    for name, address in places.items():
        before = cpu(pid)
        took = rate(address, 8, a.seconds)
        used = (cpu(pid) - before) / len(took) * 1e6
        row([name, f"{len(took) / a.seconds:.0f}", *(f"{quantile(took, q):.2f}" for q in (0.5, 0.99)), f"{used:.0f}"])
    connection = Connection(gateway)
    for tokens, turns in ((1, 500), (2001, 5)):
        data = request(1000, stream=True, max_tokens=tokens, fake={"tokens": tokens, "each": 1e-9})
        before = cpu(pid)
        for _ in range(turns):
            connection.stream(data)
        used = (cpu(pid) - before) / turns / tokens * 1e6
        print(f"\nEnvoy's CPU for {'an event of a stream' if tokens > 1 else 'a stream of one token'}: {used:.0f} us")


async def run(a: argparse.Namespace) -> None:
    """A gateway in front of the engine."""
    folder = Path(tempfile.mkdtemp(prefix="llm"))
    with running(folder / "e.sock") as engine:
        gateway = Gateway(GatewayConfig(run_dir=str(folder / "run"), port=0, concurrency=1))
        up = Upstream(replica="a", http=Address(path=str(folder / "n.sock")), engine=Address(path=engine.path))
        one = RevisionRoute(revision="r", version="1", weight=1, language=True, upstreams=(up,))
        key = ApiKey(id="k", sha256=hashlib.sha256(KEY.encode()).hexdigest())
        try:
            await gateway.start([EndpointRoute(endpoint="gemma", revisions=(one,))], [key])
            assert gateway.process.running is not None
            pid = gateway.process.running.pid
            await asyncio.to_thread(measure, engine.path, await gateway.address(), pid, a)
        finally:
            await gateway.stop(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=4.0)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
