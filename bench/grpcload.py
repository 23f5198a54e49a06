"""A closed-loop gRPC client with raw-bytes stubs: nothing is encoded or decoded while the clock runs."""

import argparse
import asyncio
import time
from pathlib import Path

import grpc.aio

from bench.load import Load, emit, percentile
from bench.payload import METHOD


async def caller(call, body: bytes, until: float, latencies: list[float]) -> int:
    errors, now = 0, time.perf_counter()
    while now < until:
        try:
            await call(body)
        except grpc.aio.AioRpcError:
            errors += 1
        before, now = now, time.perf_counter()
        latencies.append(now - before)
    return errors


async def run(port: int, body: bytes, concurrency: int, seconds: float) -> Load:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(METHOD)
        await call(body, wait_for_ready=True, timeout=10)
        latencies: list[float] = []
        wall, cpu = time.perf_counter(), time.process_time()
        errors = await asyncio.gather(
            *(caller(call, body, wall + seconds, latencies) for _ in range(concurrency))
        )  # fmt: skip
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    latencies.sort()
    p50, p99 = (percentile(latencies, q) * 1e6 for q in (0.5, 0.99))
    return Load(len(latencies), wall, sum(errors), p50, p99, cpu / wall)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, kind in (("port", int), ("concurrency", int), ("seconds", float), ("body", str)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    a = parser.parse_args()
    emit(asyncio.run(run(a.port, Path(a.body).read_bytes(), a.concurrency, a.seconds)))


if __name__ == "__main__":
    main()
