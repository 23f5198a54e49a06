"""`python -m prove.hotpath --base PATH`: CPU a small request costs this tree beside another, in interleaved
pairs.

Requests go through the parser, the codecs, the batcher and an engine that answers its input, in one process and without
a socket. PATH is a checkout of the tree to compare with; both run on this interpreter. Of JSON the whole way of a
connection is measured, of gRPC what our handler does with the bytes of a message.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BOUND = 0.02
T_95 = {10: 2.262, 20: 2.093, 30: 2.045, 40: 2.023}
"""Student's t by the number of pairs."""
REQUESTS, TURNS = 500, 25
"""Requests of one turn, and turns of a pair of processes; the first turns warm up."""


class Transport:
    """Takes what is written, and never says that it is full."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, data: bytes) -> None:
        """Count."""
        self.written += len(data)

    def set_write_buffer_limits(self, high: int) -> None:
        """Nothing to bound."""

    def is_closing(self) -> bool:
        """Never."""
        return False

    is_reading = is_closing

    def pause_reading(self) -> None:
        """Nothing is read."""

    resume_reading = close = abort = pause_reading


class Context:
    """A gRPC call as the handler sees it."""

    def time_remaining(self) -> None:
        """No deadline."""

    def invocation_metadata(self) -> tuple[()]:
        """None."""
        return ()


def request() -> bytes:
    """A row of eight numbers, with the headers that a gateway sends."""
    row = [{"name": "x", "shape": [1, 8], "datatype": "FP32", "data": [0.5, 1.25, 2.0, 3.5, 4.75, 5.0, 6.5, 7.25]}]
    body = json.dumps({"inputs": row}).encode()
    head = (
        "POST /v2/models/m/infer HTTP/1.1\r\nhost: localhost:8000\r\ncontent-type: application/json\r\naccept: */*\r\n"
        "user-agent: python-httpx/0.28\r\nx-forwarded-proto: http\r\nx-request-id: 0bb3c1a2-5a1c-4a41-9f7f-3f8c2d1b2a10"
        f"\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def served() -> Any:
    """A model that answers its input."""
    import numpy as np

    from argosy.engines.base import Engine
    from argosy.serving.model import ServedModel
    from argosy.spec.endpoint import Runtime
    from argosy.spec.signature import Signature, TensorSpec

    spec = TensorSpec(name="x", datatype="FP32", shape=(-1, 8))

    class Same(Engine):
        releases_gil = True
        signature = Signature(inputs=(spec,), outputs=(spec,))

        def predict(self, inputs: Any) -> Any:
            return [np.asarray(inputs["x"])]

        def close(self) -> None: ...

    return ServedModel("m", "1", Same(), Runtime(), platform="test", inline=True)


async def measure(form: str) -> None:
    """Print the seconds of CPU a request for each line that comes."""
    from argosy.serving.config import ModelConfig, ReplicaConfig
    from argosy.serving.server import Replica
    from argosy.spec.address import Address

    config = ReplicaConfig(models=(ModelConfig(name="m", package="-"),), http=Address(path="/nowhere"))
    replica = Replica(config)
    models = replica.repository if hasattr(replica, "repository") else replica.plane
    models.add(await served())
    step = _http(replica) if form == "json" else _grpc(replica)
    while sys.stdin.readline():
        start = time.process_time()
        for _ in range(REQUESTS):
            await step()
        print((time.process_time() - start) / REQUESTS, flush=True)


def _http(replica: Any) -> Any:
    connection, transport, data = replica._http._connection(), Transport(), request()
    connection.connection_made(transport)

    async def step() -> None:
        before = transport.written
        connection.data_received(data)
        while transport.written == before:  # noqa: ASYNC110
            await asyncio.sleep(0)

    return step


def _grpc(replica: Any) -> Any:
    import numpy as np

    from argosy.protocol import grpc as wire
    from argosy.protocol.rest import Request
    from argosy.serving import grpc as server
    from argosy.spec.tensor import Tensor
    from prove.grpcmessages import encode_request

    row = Request([Tensor("x", "FP32", np.ones((1, 8), "f4"))])
    data, context = encode_request("m", "", row).SerializeToString(), Context()

    async def now() -> None:
        await server._infer(replica.plane, data, context)

    async def before() -> None:
        message = server._parse(wire.InferRequest, data)
        (await server._infer(replica.plane, message, context)).SerializeToString()

    return before if hasattr(server, "_parse") else now


class Child:
    """A tree in a process of its own, which measures when it is told to."""

    def __init__(self, tree: Path, form: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONHASHSEED": "0"}
        command = [sys.executable, str(Path(__file__).resolve()), "--measure", form]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def measure(self) -> float:
        """Seconds of CPU a request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def end(self) -> None:
        """Let it go."""
        self._process.communicate()


def pair(base: Path, form: str) -> tuple[float, float]:
    """Seconds a request of the base, and the ratio of this tree to it: the least of turns taken one by one."""
    children = [Child(tree, form) for tree in (base, Path(__file__).resolve().parents[1])]
    turns = [tuple(child.measure() for child in children) for _ in range(TURNS)]
    for child in children:
        child.end()
    before, now = (min(costs) for costs in zip(*turns, strict=True))
    return before, now / before


def compare(base: Path, form: str, pairs: int) -> tuple[float, float, float, float]:
    """µs a request before, the mean of the ratios less one, and its 95 % interval."""
    found = [pair(base, form) for _ in range(pairs)]
    ratios = [ratio - 1 for _, ratio in found]
    mean, half = statistics.mean(ratios), T_95[pairs] * statistics.stdev(ratios) / pairs**0.5
    return statistics.median(cost for cost, _ in found) * 1e6, mean, mean - half, mean + half


def main() -> int:
    """Print both forms; 1 if either certainly costs more than 2 % more."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--base", type=Path, help="a checkout of the tree to compare with")
    options.add_argument("--pairs", type=int, default=20, choices=sorted(T_95))
    options.add_argument("--measure", choices=("json", "grpc"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.measure:
        import uvloop

        uvloop.run(measure(given.measure))
        return 0
    worse = False
    for form in ("json", "grpc"):
        cost, mean, low, high = compare(given.base.resolve(), form, given.pairs)
        print(f"{form}: {cost:.1f} µs before; now {mean:+.1%} (95 %: {low:+.1%} to {high:+.1%}, {given.pairs} pairs)")
        worse |= low > BOUND
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
