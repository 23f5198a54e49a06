"""`python -m prove.costpath`: what the ledger of cost takes from the path of a request.

Two platforms beside each other, one of which has a price and so a ledger. Rounds of requests go to the one and the
other in turns, over and over; of each round the median and the 99th percentile of the time of a request count, and the
processor time that replica and gateway have used for one. What differs is the mean of the logarithms of ratios within
pairs of rounds, with its 95 % interval; beside it the same of pairs of rounds at one platform: what noise is. The
status is 1 where the interval of the median or of processor time lies above 1 % more.
"""

import argparse
import math
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil

from argosy.process.managed import marked
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests.platform.packages import push
from tests.platform.up import Up, clear

BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}
MOST = 0.01


class Round(NamedTuple):
    """Seconds at the median and the 99th percentile of requests, and seconds of processors for one."""

    median: float
    late: float
    processor: float


class Side:
    """A platform with an endpoint, and a client of it."""

    def __init__(self, home: Home, place: Path, cost: str) -> None:
        self.home = home
        home.config.write_text(f"control: {{port: 0}}\ngateway: {{port: 0}}\n{cost}")
        store = open_store(home, Settings())
        push(store, place, 2.0)
        store.close()
        self.up = Up(home)
        self.up.ready()
        declared = {"model": "digits:1", "public": True, "runtime": {"threads": 1}}
        self.up.call("PUT", "/v1/endpoints/digits", declared, wait=60)
        self._url = f"{self.up.call('GET', '/v1/status')['gateway']}/v2/models/digits/infer"
        self._client = httpx.Client(timeout=30)
        own = self.up.process.pid
        self._served = [each for each in marked(home.root) if each.pid != own]
        self._platform, self._since = psutil.Process(own), (0.0, 0.0)
        self.round(200)
        self._since = time.monotonic(), sum(self._platform.cpu_times()[:2])

    def _used(self) -> float:
        return sum(sum(each.cpu_times()[:2]) for each in self._served if each.is_running())

    def round(self, requests: int) -> Round:
        """So many requests, one after the other."""
        before, times = self._used(), list[float]()
        for _ in range(requests):
            begin = time.perf_counter()
            self._client.post(self._url, json=BODY).raise_for_status()
            times.append(time.perf_counter() - begin)
        times.sort()
        used = self._used() - before
        return Round(times[requests // 2], times[requests * 99 // 100], used / requests)

    def share(self) -> float:
        """The share of a core that the platform itself has used since the beginning."""
        now, used = time.monotonic(), sum(self._platform.cpu_times()[:2])
        return (used - self._since[1]) / (now - self._since[0])

    def end(self) -> None:
        self._client.close()
        if self.up.process.poll() is None:
            self.up.kill()
        clear(self.home)


def more(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """By how much the second of each pair is above the first, and the 95 % interval of that."""
    logs = [math.log(second / first) for first, second in pairs if first > 0 and second > 0]
    mean, error = statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    low, high = mean - 1.96 * error, mean + 1.96 * error
    return math.expm1(mean), math.expm1(low), math.expm1(high)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--requests", type=int, default=400, help="in a round")
    given = parser.parse_args(arguments)
    place = Path(tempfile.mkdtemp(prefix="costpath"))
    sides: list[Side] = []
    try:
        for name, cost in (("without", ""), ("with", "cost: {core: 0.04}\n")):
            sides.append(Side(Home(place / name).create(), place / f"package-{name}", cost))
        rounds: list[list[Round]] = [[], []]
        for number in range(given.rounds):
            for side in (0, 1) if number % 2 else (1, 0):
                rounds[side].append(sides[side].round(given.requests))
        shares = [each.share() for each in sides]
    finally:
        for each in sides:
            each.end()
        shutil.rmtree(place, ignore_errors=True)
    print(f"{'':<16} {'without':>10} {'with':>10}   {'more':>7}   {'95 %':<18} noise")
    held = True
    for name in Round._fields:
        one, other = ([getattr(each, name) for each in side] for side in rounds)
        found, noise = more([*zip(one, other, strict=True)]), more([*zip(one[::2], one[1::2], strict=False)])
        held &= name == "late" or found[1] <= MOST
        print(
            f"{name:<16} {statistics.median(one) * 1e6:>7.0f} µs {statistics.median(other) * 1e6:>7.0f} µs   "
            f"{found[0]:>+7.1%}   {found[1]:>+6.1%} to {found[2]:>+6.1%}   {noise[1]:+.1%} to {noise[2]:+.1%}"
        )
    print(f"the platforms themselves: {shares[0]:.1%} and {shares[1]:.1%} of a core")
    print("held: nothing that can be measured" if held else "missed")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
