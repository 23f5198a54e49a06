"""`python -m prove.cost`: rows of the ledger of cost against a bill, on a real platform whose processes are killed.

A witness beside the platform holds a pidfd of every process of a replica, and so knows when each started and ended: the
bill is price times that time, at one dollar a second. Three replicas are killed again and again, two others never, the
platform now and then, sometimes with a replica at the same moment. Requests come with two keys. Of the replicas that
are not killed the seconds that requests got are compared with what the processes counted, read apart. The status is
1 where rows and bill differ by more than 1 %, or seconds of work by more than 2 %.
"""

import argparse
import asyncio
import contextlib
import os
import random
import select
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper

from argosy.spec.revision import Replica
from argosy.spec.settings import Home, Settings
from argosy.store import costs, open_store
from argosy.targets.tags import replicas
from argosy.telemetry.feed import read
from tests.platform.packages import push
from tests.platform.up import Up, clear

FLOOR, GOAL, WORK = 0.01, 0.001, 0.02
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 1, 1, 1]}]}
WIDTH = 2048
SETTLE = 12.0
"""Seconds after the last request: the ledger has read all counters and the gateway has written its log."""


def heavy(factor: float) -> bytes:
    """y = factor * x, and a product of matrices that adds nothing: an engine call takes some milliseconds."""
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    chance = np.random.default_rng(1)
    sizes = {"a": (4, WIDTH), "b": (WIDTH, WIDTH), "c": (WIDTH, 4)}
    weights: dict[str, Any] = {name: chance.random(size, dtype=np.float32) for name, size in sizes.items()}
    weights |= {"c": np.zeros(sizes["c"], np.float32), "f": np.array([factor], np.float32)}
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    steps = [("MatMul", ["x", "a"], ["1"]), ("MatMul", ["1", "b"], ["2"]), ("MatMul", ["2", "c"], ["3"])]
    steps += [("Mul", ["x", "f"], ["4"]), ("Add", ["3", "4"], ["y"])]
    nodes = [helper.make_node(*each) for each in steps]
    graph = helper.make_graph(nodes, "g", shapes[:1], shapes[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.ModelProto.SerializeToString(model, deterministic=True)


class Witness(threading.Thread):
    """When each process of a replica started and ended."""

    def __init__(self, home: Home) -> None:
        super().__init__(daemon=True)
        self._home, self._poll, self._over = home, select.poll(), threading.Event()
        self.spans: dict[int, tuple[float, float | None]] = {}
        self._open: dict[int, int] = {}

    def run(self) -> None:
        looked = 0.0
        while not self._over.is_set() or self._open:
            if time.monotonic() - looked > 0.25:
                looked = time.monotonic()
                for process in replicas(self._home.root)[0]:
                    self._begin(process)
            for fd, _ in self._poll.poll(50):
                pid = self._open.pop(fd)
                self.spans[pid] = self.spans[pid][0], time.time()
                self._poll.unregister(fd)
                os.close(fd)

    def _begin(self, process: psutil.Process) -> None:
        if process.pid in self.spans:
            return
        with contextlib.suppress(OSError, psutil.Error):
            began, fd = process.create_time(), os.pidfd_open(process.pid)
            self.spans[process.pid] = began, None
            self._open[fd] = process.pid
            self._poll.register(fd, select.POLLIN)

    def end(self) -> float:
        """The seconds of all of them, once the last has ended."""
        self._over.set()
        self.join()
        return sum((ended or 0.0) - began for began, ended in self.spans.values())


class Load:
    """A client for each key, at both endpoints in turn."""

    def __init__(self, gateway: str, keys: list[str]) -> None:
        self.answered, self._stop = 0, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(gateway, key), daemon=True) for key in keys]
        for each in self._threads:
            each.start()

    def _ask(self, gateway: str, key: str) -> None:
        with httpx.Client(headers={"authorization": f"Bearer {key}"}, timeout=30) as client:
            while not self._stop.is_set():
                for name in ("calm", "wild"):
                    with contextlib.suppress(httpx.HTTPError):
                        self.answered += client.post(f"{gateway}/v2/models/{name}/infer", json=BODY).status_code == 200
                time.sleep(0.005)

    def end(self) -> None:
        self._stop.set()
        for each in self._threads:
            each.join()


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars by rows and by the witness; the seconds of work of the calm endpoint by rows and by its engines."""

    rows: float
    bill: float
    booked: float
    measured: float
    keyed: float
    uses: dict[str, float]
    kills: dict[str, int]

    @property
    def gap(self) -> float:
        return abs(self.rows - self.bill) / self.bill

    @property
    def work(self) -> float:
        return abs(self.booked - self.measured) / self.measured

    @property
    def good(self) -> bool:
        return self.gap <= FLOOR and self.work <= WORK

    def lines(self) -> Iterator[str]:
        yield f"killed: {', '.join(f'{kind} {count}' for kind, count in self.kills.items())}"
        yield f"{'use':<12} {'dollars':>12}"
        yield from (f"{use:<12} {cost:>12.3f}" for use, cost in sorted(self.uses.items()))
        yield f"{'rows':<12} {self.rows:>12.3f}"
        yield f"{'bill':<12} {self.bill:>12.3f}   {self.gap:.3%} apart (floor {FLOOR:.0%}, goal {GOAL:.1%})"
        engines = f"its processes {self.measured:.3f} s, {self.work:.2%} apart (at most {WORK:.0%})"
        yield f"work of the calm endpoint: {self.booked:.3f} s, {engines}"
        yield f"requests with a key: {self.keyed:.1%} of all that requests cost"


def kill(chance: random.Random, rows: list[dict[str, Any]]) -> None:
    wild = [each["pid"] for each in rows if each["endpoint"] == "wild" and each["pid"]]
    if wild:
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(wild), 9)


def prove(seconds: float, doubles: int = 1, seed: int = 1) -> Found:
    """One platform for so many seconds."""
    chance, place = random.Random(seed), Path(tempfile.mkdtemp(prefix="cost"))
    home = Home(place / "h").create()
    home.config.write_text("control: {port: 0}\ngateway: {port: 0}\ncost: {core: 3600}\n")
    store = open_store(home, Settings())
    push(store, place / "p", 2.0, model=heavy)
    kills = {"replicas": 0, "platform": 0, "both": 0}
    platform, witness = Up(home), Witness(home)
    try:
        witness.start()
        platform.ready()
        for name, count in (("calm", 2), ("wild", 3)):
            declared: dict[str, Any] = {"model": "digits:1", "replicas": count, "runtime": {"threads": 1}}
            platform.call("PUT", f"/v1/endpoints/{name}", declared, wait=60)
        keys = [platform.call("POST", "/v1/keys", {"name": name})["key"] for name in ("team-a", "team-b")]
        load = Load(platform.call("GET", "/v1/status")["gateway"], keys)
        end, both = time.monotonic() + seconds, doubles
        while time.monotonic() < end:
            time.sleep(chance.uniform(2, 8))
            rows = platform.call("GET", "/v1/replicas")
            what = "platform" if chance.random() < 0.2 else "replicas"
            if both and time.monotonic() > end - seconds / 2:
                what, both = "both", both - 1
            kills[what] += 1
            if what != "replicas":
                platform.kill()
            if what != "platform":
                kill(chance, rows)
            if what != "replicas":
                platform = Up(home).ready()
        load.end()
        time.sleep(SETTLE)
        calm = [each for each in platform.call("GET", "/v1/replicas") if each["endpoint"] == "calm"]
        counted = [asyncio.run(read(msgspec.convert(each, Replica, strict=False))) for each in calm]
        measured = sum(each.work.engine for each in counted if each is not None)
        platform.stop()
        bill = witness.end()
        rows = costs.read(store.database, 0, 2**40)
    finally:
        if platform.process.poll() is None:
            platform.kill()
        clear(home)
        store.close()
        shutil.rmtree(place, ignore_errors=True)
    work = [each for each in rows if each.use == "requests"]
    return Found(
        rows=sum(each.cost for each in rows),
        bill=bill,
        booked=sum(each.seconds for each in work if each.endpoint == "calm"),
        measured=measured,
        keyed=sum(each.cost for each in work if each.key) / max(sum(each.cost for each in work), 1e-9),
        uses={use: sum(each.cost for each in rows if each.use == use) for use in {each.use for each in rows}},
        kills=kills,
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--doubles", type=int, default=1, help="kills of platform and replica at once")
    given = parser.parse_args(arguments)
    found = prove(given.seconds, given.doubles)
    print("\n".join(found.lines()))
    print("held" if found.good else "missed")
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
