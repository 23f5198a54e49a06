"""`python -m prove.network`: what TLS between gateway and replica costs beside a Unix socket, on one machine.

One platform and one Envoy with two endpoints of the same model, a replica each: one started with `replicas.network:
unix`, the other with `tls`. They take turns under the same load by wrk; differences are of pairs of rounds, with the
95 % interval of their mean.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from argosy.platform import leftovers
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from bench import load
from tests.platform.packages import push
from tests.platform.up import Up, clear

ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}
FIGURES = ("requests/s", "p50 µs", "p99 µs", "CPU of the replica, µs", "CPU of all others, µs")
T_95 = {5: 2.776, 7: 2.447, 9: 2.306, 11: 2.228, 15: 2.145, 21: 2.086}
"""Student's t by the number of pairs."""


@dataclass
class Arm:
    """An endpoint, and the figures of its rounds."""

    url: str
    key: str
    replica: psutil.Process
    rounds: list[tuple[float, ...]] = field(default_factory=list[tuple[float, ...]])

    def measure(self, home: Home, size: int, connections: int, seconds: float) -> None:
        """One round; `size` values go with each request."""
        tensor = ROW["inputs"][0] | {"shape": [size // 4, 4], "data": [1] * size}
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.key}"}
        others = [each for each in leftovers.serving(home) if each != self.replica]
        before = cpu([self.replica]), cpu(others)
        found = load.wrk(self.url, json.dumps({"inputs": [tensor]}).encode(), headers, connections, seconds)
        used = cpu([self.replica]) - before[0], cpu(others) - before[1]
        self.rounds.append((found.rate, found.p50_us, found.p99_us, *(each / found.requests * 1e6 for each in used)))


def cpu(processes: list[psutil.Process]) -> float:
    """Seconds of CPU that they have used."""
    times = [each.cpu_times() for each in processes]
    return sum(each.user + each.system for each in times)


def deployed(home: Home, network: str) -> tuple[Up, Arm]:
    """The platform with this setting, and an endpoint that was deployed under it."""
    home.config.write_text(f"control: {{port: 0}}\ngateway: {{port: 0}}\nreplicas: {{network: {network}}}\n")
    platform = Up(home).ready()
    found = platform.call("PUT", f"/v1/endpoints/by-{network}", {"model": "digits:1"}, wait=60)
    (pid,) = [each["pid"] for each in platform.call("GET", "/v1/replicas") if each["endpoint"] == f"by-{network}"]
    return platform, Arm(found["url"], found["key"], psutil.Process(pid))


def compared(unix: Arm, tls: Arm, what: str) -> None:
    """Print both, and the difference of pairs."""
    count = len(unix.rounds)
    print(f"{what}, {count} pairs: median (best round) by Unix socket, by TLS; mean difference of pairs (95 %)")
    for place, name in enumerate(FIGURES):
        one, other = ([each[place] for each in arm.rounds] for arm in (unix, tls))
        change = [b / a - 1 for a, b in zip(one, other, strict=True)]
        off = T_95[count] * statistics.stdev(change) / math.sqrt(count)
        middle = statistics.mean(change)
        best = max if place == 0 else min
        both = " ".join(f"{statistics.median(each):9,.0f} ({best(each):7,.0f})" for each in (one, other))
        print(f"  {name:24} {both}   {middle:+.1%} ({middle - off:+.1%} to {middle + off:+.1%})", flush=True)
    unix.rounds, tls.rounds = [], []


def main() -> int:
    """0; figures are printed."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=9, choices=sorted(T_95))
    options.add_argument("--seconds", type=float, default=3)
    a = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="n") as name:
        home = Home(Path(name)).create()
        store = open_store(home, Settings())
        push(store, home.root / "p", 3.0)
        store.close()
        try:
            platform, unix = deployed(home, "unix")
            platform.kill()
            platform, tls = deployed(home, "tls")
            for size, connections in ((4, 1), (4, 32), (16384, 8)):
                for number in range(-1, a.rounds):
                    for arm in (unix, tls)[:: 1 if number % 2 else -1]:
                        arm.measure(home, size, connections, a.seconds if number >= 0 else 1)
                    if number < 0:
                        unix.rounds, tls.rounds = [], []
                compared(unix, tls, f"{size} values a request, {connections} connections")
            platform.stop()
        finally:
            clear(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
