"""`python -m prove.costs`: what single steps cost on this machine, each beside its limit; 1 where one is above it.

Best on a machine with nothing else to do. The least of several runs counts.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import psutil
import sqlalchemy as sa

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import GatewayConfig
from argosy.profiles.recorder import Recorder
from argosy.store import ledger
from argosy.store.database import Database
from tests.gateway.kit import HttpReplica, api_key, http, one
from tests.profiles.test_recorder import wide

KEYS, ENTRIES, FEATURES = 3000, 100_000, 20


class Cost(msgspec.Struct, frozen=True):
    """Of one step, in seconds."""

    name: str
    found: float
    limit: float

    @property
    def row(self) -> str:
        """A line of the table."""
        mark = "" if self.found <= self.limit else " (missed)"
        return f"| {self.name} | {self.found * 1e6:,.1f} µs | {self.limit * 1e6:,.1f} µs{mark} |"


def least(run: Callable[[], float], times: int) -> float:
    """The least of several runs: what it costs when nobody else is in the way."""
    return min(run() for _ in range(times))


def program(code: str) -> float:
    """Seconds of an interpreter with this code."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, timeout=60)
    return time.perf_counter() - began


def commands() -> list[Cost]:
    """The import of the package, and the command line's help."""
    bare = least(lambda: program("pass"), 5)
    imported = least(lambda: program("import argosy"), 5) - bare
    code = "import sys; sys.argv = ['argosy', '--help']; import argosy.cli.main as m; m.main()"
    return [Cost("import argosy", imported, 0.15), Cost("argosy --help", least(lambda: program(code), 5), 0.6)]


def profiles(size: int) -> Cost:
    """Counting a request's features, in batches of this size."""
    rng = np.random.default_rng(1)
    batches = [(rng.standard_normal((size, FEATURES), np.float32), rng.random(size, np.float32)) for _ in range(20)]
    recorder = Recorder(wide(), "m:1", batch=size)

    def run() -> float:
        began = time.process_time()
        for x, y in batches:
            recorder.add(0, {"x": x}, {"y": y})
        return (time.process_time() - began) / (size * len(batches))

    return Cost(f"profile of {FEATURES} features, batches of {size}", least(run, 8), 4e-6)


def moment(place: Path) -> Cost:
    """Finding what served at one moment in a long ledger."""
    database = Database(f"sqlite:///{place / 'ledger.db'}").create()
    rows = [
        {"seq": n, "time": f"{n:07}", "subject": "digits", "event": "serve" if n % 100 == 0 else "x", "actor": "",
         "reason": "", "body": "{}", "previous": "", "hash": ""}
        for n in range(1, ENTRIES + 1)
    ]  # fmt: skip
    with database.begin() as connection:
        connection.execute(sa.insert(ledger.ledger_table), rows)

    def run() -> float:
        began = time.perf_counter()
        with database.read() as connection:
            for n in range(100):
                ledger.latest(connection, "digits", ("serve", "delete"), f"{ENTRIES // 2 + n:07}")
        return (time.perf_counter() - began) / 100

    found = least(run, 3)
    database.close()
    return Cost(f"a moment among {ENTRIES:,} entries of the ledger", found, 0.02)


async def keys(place: Path) -> Cost:
    """The processor time of Envoy for a request, with many keys."""
    gateway = Gateway(GatewayConfig(run_dir=str(place / "run"), port=0, concurrency=1, drain_seconds=5))
    replica = await HttpReplica(place, "a").start()
    many = [api_key(str(n), id=f"n{n}", scopes=("digits", f"e{n}") if n % 2 else ()) for n in range(KEYS)]
    try:
        await gateway.start([one(replica)], many)
        assert gateway.process.running is not None
        envoy = psutil.Process(gateway.process.running.pid)
        async with await http(gateway) as client:
            before = envoy.cpu_times()
            for n in range(0, KEYS, 10):
                await client.get("/v2/models/digits", headers={"x-api-key": str(n + 1)})
            used = envoy.cpu_times()
    finally:
        await gateway.stop(0.5)
        await replica.stop()
    return Cost(f"Envoy, a request with one of {KEYS:,} keys", (used.user - before.user) / (KEYS / 10), 1e-3)


def main() -> int:
    """Measure and print the table."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="a") as folder:
        found = [
            *commands(),
            *(profiles(size) for size in (128, 512)),
            moment(Path(folder)),
            asyncio.run(keys(Path(folder))),
        ]
    print("| step | cost | at most |", "| --- | --- | --- |", *(cost.row for cost in found), sep="\n")
    return any(cost.found > cost.limit for cost in found)


if __name__ == "__main__":
    sys.exit(main())
