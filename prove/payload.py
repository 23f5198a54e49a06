"""`python -m prove.payload`: what the payload log costs: throughput, latency and CPU of a replica with and without it.

Two replicas of the digits model, alike but for the recorder that one of them has (log of every request, profiles of
every row), take turns under the same load by wrk; the medians of the rounds count. The machine should do nothing else.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import psutil

from argosy.packaging.build import build
from argosy.packaging.options import PushOptions
from argosy.profiles import files
from argosy.serving.config import ModelConfig, ReplicaConfig
from argosy.spec.address import Address
from argosy.spec.endpoint import Runtime
from argosy.spec.payload import PayloadLog
from argosy.spec.recorder import (
    RecordedEndpoint,
    RecordedReplica,
    RecorderConfig,
    RecorderReport,
    config_file,
    read_report,
)
from argosy.spec.settings import Home
from bench import envs, load, models, payload
from bench.servers import await_answer, free_ports

THROUGHPUT, P99 = 0.03, 0.01


@dataclass
class Arm:
    """One replica and what its rounds gave: requests a second, p99 in µs, its CPU in µs a request."""

    name: str
    process: psutil.Process
    port: int
    rates: list[float] = field(default_factory=list)
    tails: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    def measure(self, body: bytes, connections: int, seconds: float, cores: tuple[int, ...]) -> int:
        """One round; how many requests it took."""
        url = f"http://127.0.0.1:{self.port}/v2/models/digits/infer"
        headers = payload.JSON | {"x-request-id": "0b5c6e5e-8d4e-4b43-9d41-1d6cfb1f4a5b"}
        before = cpu(self.process)
        found = load.wrk(url, body, headers, connections, seconds, cores)
        self.rates.append(found.rate)
        self.tails.append(found.p99_us)
        self.costs.append((cpu(self.process) - before) / found.requests * 1e6)
        return found.requests


def cpu(process: psutil.Process) -> float:
    """Seconds of CPU that a process has used."""
    times = process.cpu_times()
    return times.user + times.system


def package(folder: Path) -> tuple[Path, bytes]:
    """The digits model as a package with a reference profile, and the body of a request of one row."""
    case = models.digits(envs.WORK)
    sample, made = folder / "sample.npy", folder / "package"
    if not made.exists():
        from sklearn.datasets import load_digits

        np.save(sample, load_digits().data.astype(np.float32))
        build(case.path, "digits", made, PushOptions(sample=sample, license="Apache-2.0"), lambda text: None)
    return made, payload.json_body(case.row)


@contextmanager
def started(argv: list[str], core: int, log: Path) -> Iterator[subprocess.Popen]:
    """A process on one core, until the block ends."""
    with log.open("wb") as out:
        process = subprocess.Popen(["taskset", "-c", str(core), *argv], stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def replica(folder: Path, made: Path, body: bytes, name: str, recorder: Path, core: int) -> Iterator[Arm]:
    """A replica that answers."""
    ports = free_ports()
    config = ReplicaConfig(
        replica=name,
        models=(ModelConfig(name="digits", package=str(made), version="1"),),
        http=Address(port=ports.http),
        runtime=Runtime(threads=1),
        recorder=str(recorder),
    )
    path = folder / f"{name}.json"
    path.write_bytes(msgspec.json.encode(config))
    with started([sys.executable, "-m", "argosy.serving", str(path)], core, folder / f"{name}.log") as process:
        await_answer(process, ports.http, body, payload.JSON, 60)
        yield Arm(name, psutil.Process(process.pid), ports.http)


def compared(arms: tuple[Arm, Arm], where: str) -> bool:
    """Print what one arrangement gave; whether it keeps the goals."""
    rates, tails, costs = (
        [statistics.median(getattr(arm, what)) for arm in arms] for what in ("rates", "tails", "costs")
    )
    print(f"{where}:")
    for arm, rate, tail, cost in zip(arms, rates, tails, costs, strict=True):
        spread = f"{min(arm.rates):,.0f} to {max(arm.rates):,.0f}"
        print(f"  {arm.name:8} {rate:7,.0f} requests/s ({spread}), p99 {tail:,.0f} µs, CPU {cost:.2f} µs a request")
    less, more = 1 - rates[1] / rates[0], tails[1] / tails[0] - 1
    print(f"  throughput {-less:+.1%} (goal -{THROUGHPUT:.0%}), p99 {more:+.1%} (goal +{P99:.0%})")
    least = [min(arm.costs) for arm in arms]
    print(
        f"  CPU of the replica {costs[1] - costs[0]:+.2f} µs a request (in its best rounds {least[1] - least[0]:+.2f})"
    )
    return less <= THROUGHPUT and more <= P99


def arrangement(folder: Path, made: Path, body: bytes, a: argparse.Namespace, core: int, where: str) -> bool:
    """Replicas on core 0, the client on core 1, the recorder on `core`."""
    home = Home(folder / f"home{core}").create()
    door = home.run / "rec.sock"
    awaiting = RecordedReplica(address=Address(path=str(door)), endpoint="digits", version="1", package=str(made))
    wanted = {"digits": RecordedEndpoint(payload=PayloadLog(flush=a.flush))}
    config_file(home).write_bytes(msgspec.json.encode(RecorderConfig(endpoints=wanted, replicas={"with": awaiting})))
    argv = [sys.executable, "-m", "argosy.monitoring.recorder", str(home.root)]
    with (
        started(argv, core, folder / "recorder.log") as process,
        replica(folder, made, body, "without", home.run / "nobody.sock", 0) as without,
        replica(folder, made, body, "with", door, 0) as with_log,
    ):
        while not ((report := read_report(home)) and report.replicas):
            time.sleep(0.1)
        time.sleep(1.5)
        recorder = psutil.Process(process.pid)
        asked, begun = 0, cpu(recorder)
        for number in range(a.rounds):
            for arm in (without, with_log)[:: 1 if number % 2 else -1]:
                count = arm.measure(body, a.connections, a.seconds, (1,))
                asked += count if arm is with_log else 0
        time.sleep(2 * a.flush + 1)
        good = compared((without, with_log), where)
        print(f"  CPU of the recorder {(cpu(recorder) - begun) / asked * 1e6:.2f} µs a request")
        found = read_report(home) or RecorderReport(pid=0, started=0)
        print(
            f"  {found.records:,} requests are in the log, wrk counted {asked:,}; "
            f"dropped: by the recorder {found.dropped}, by the replica {dropped(with_log.port)}"
        )
    rows = sum(one.rows for one in files.read(home.profiles, "digits", "1"))
    print(f"  {rows:,} rows are in profiles")
    return good


def dropped(port: int) -> int:
    """What the replica says in its metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return int(float(next(each for each in lines if each.startswith("argosy_payload_dropped_total{")).split()[-1]))


def main() -> int:
    """0 where both goals are kept with a core for the recorder."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--seconds", type=float, default=3)
    options.add_argument("--connections", type=int, default=32)
    options.add_argument("--flush", type=float, default=10)
    a = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made, body = package(folder)
        good = arrangement(folder, made, body, a, 1, "recorder on the client's core")
        arrangement(folder, made, body, a, 0, "recorder on the replica's core")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
