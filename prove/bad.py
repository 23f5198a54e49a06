"""`python -m prove.bad`: bad versions declared as canaries under load; each must be rolled back by itself.

One answers wrongly for some inputs, one is 3 × slower, one crashes as it loads, one leaks memory, one fails at 5 % of
requests. Everything is real: the platform, Envoy, replicas, callers that pause 50 ms after each answer.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np

from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests.platform.packages import push_class
from tests.platform.up import PATIENCE, Up, clear

MODEL = """
import os
import time
import numpy as np

class Model:
    def load(self):
        self.kept = []
        {load}

    def predict(self, inputs):
        x = inputs["x"]
        time.sleep({seconds})
        label = (x[:, 0] * 4).astype(np.int64)
        {predict}
        return {{"label": label}}
"""
SECONDS = 0.005
"""How long the good version takes for a batch."""
GOLDEN = np.array([[0.1, 0.2], [0.6, 0.3]], np.float32)
MIB = 1024 * 1024
MEMORY = 160 * MIB
CLIENTS, PAUSE = 8, 0.05
LONGEST = 300.0
ENDPOINT: dict[str, Any] = {
    "model": "shapes:1",
    "resources": {"memory": MEMORY},
    "guard": {"latency_tolerance": 1.5, "latency_margin": 2.0, "prediction_tolerance": 0.02},
    "rollout": {"strategy": "canary", "steps": [{"weight": 10, "requests": 200}, {"weight": 50, "requests": 500}]},
}


class Bad(msgspec.Struct, frozen=True, kw_only=True):
    """A version that the golden examples, whose second number is small, do not catch. `says`: what the reason for its
    rollback must hold."""

    name: str
    says: str
    load: str = "pass"
    predict: str = "pass"
    seconds: float = SECONDS

    @property
    def source(self) -> str:
        """Its code."""
        return MODEL.format(load=self.load, predict=self.predict, seconds=self.seconds)


GOOD = Bad(name="good", says="")


def leaking(mib: float) -> Bad:
    """One that keeps so much of each batch."""
    keep = f"self.kept.append(np.ones({int(mib * MIB)}, np.uint8))"
    return Bad(name=f"leaks {mib:g} MiB a request", predict=keep, says="MiB of memory")


KINDS = (
    Bad(name="crashes as it loads", load="os.abort()", says="does not become ready"),
    Bad(name="fails at 5 % of requests", predict="assert (x[:, 1] < 0.95).all()", says="errors got worse"),
    Bad(name="3 × slower", seconds=3 * SECONDS, says="latency got worse"),
    Bad(name="wrong for 30 % of inputs", predict="label[x[:, 1] > 0.7] = 0", says="predictions of 'label' changed"),
    leaking(0.5),
)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one. Seconds count from the declaration: until it was `back`, and until its `last` answer."""

    bad: Bad
    phase: str
    back: float
    last: float
    answered: int
    failed: int
    reason: str
    wrong: tuple[str, ...] = ()


class Callers:
    """A load with random inputs. `answers` counts by revision and status, `last` is when a revision last answered."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key
        self.answers: Counter[tuple[str, int]] = Counter()
        self.last: dict[str, float] = {}
        self.chance = random.Random(1)

    async def call(self) -> None:
        """One client, until cancelled."""
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {self.key}"}, timeout=PATIENCE) as client:
            while True:
                data = [self.chance.random(), self.chance.random()]
                body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": data}]}
                try:
                    answer = await client.post(self.url, json=body)
                    self.note(answer.headers.get("x-argosy-revision", ""), answer.status_code)
                except httpx.HTTPError:
                    self.note("", 0)
                await asyncio.sleep(PAUSE)

    async def reach(self, requests: int) -> None:
        """Wait until so many have been answered."""
        async with asyncio.timeout(PATIENCE):
            for _ in iter(lambda: self.answers.total() < requests, False):
                await asyncio.sleep(0.1)

    def note(self, revision: str, status: int) -> None:
        """Count one answer; status 0: none came."""
        self.answers[revision, status] += 1
        self.last[revision] = time.monotonic()

    def of(self, revision: str) -> int:
        """How many requests it has answered."""
        return sum(count for (who, _), count in self.answers.items() if who == revision)

    @property
    def failed(self) -> int:
        """How many requests were not answered with 200."""
        return sum(count for (_, status), count in self.answers.items() if status != 200)


@asynccontextmanager
async def callers(url: str, key: str) -> AsyncGenerator[Callers]:
    """A load for as long as the block lasts."""
    load = Callers(url, key)
    tasks = [asyncio.create_task(load.call()) for _ in range(CLIENTS)]
    try:
        yield load
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def prove(platform: Up, kinds: Sequence[Bad], *, warm_up: int = 300, **declared: Any) -> list[Outcome]:
    """Declare one after the other; what came of each. Version 1 is the good one, the kinds follow."""
    endpoint = ENDPOINT | declared
    deployed = await asyncio.to_thread(platform.call, "PUT", "/v1/endpoints/shapes", endpoint, wait=PATIENCE)
    found: list[Outcome] = []
    async with callers(deployed["url"], deployed["key"]) as load:
        await load.reach(warm_up)
        for number, bad in enumerate(kinds, 1):
            new = endpoint | {"model": f"shapes:{number + 1}"}
            found.append(await _outcome(platform, load, bad, new, number))
            print(row(found[-1]), flush=True)
    return found


async def _outcome(platform: Up, load: Callers, bad: Bad, new: dict[str, Any], number: int) -> Outcome:
    failed, began = load.failed, time.monotonic()
    declared = await asyncio.to_thread(platform.call, "PUT", "/v1/endpoints/shapes", new)
    revision = declared["endpoint"]["revision"]
    over: dict[str, Any] = {}
    while time.monotonic() < began + LONGEST:
        answer = await asyncio.to_thread(platform.ask, "GET", "/v1/endpoints/shapes/rollout")
        over = answer.json() if answer.status_code == 200 else {}
        if over.get("number") == number and not over["live"]:
            break
        await asyncio.sleep(0.1)
    back = time.monotonic()
    await asyncio.sleep(2.0)
    last = load.last.get(revision, began) - began
    outcome = Outcome(
        bad=bad,
        phase=over.get("phase", ""),
        back=back - began,
        last=last,
        answered=load.of(revision),
        failed=load.failed - failed,
        reason=over.get("reason", ""),
    )
    return msgspec.structs.replace(outcome, wrong=tuple(wrong(outcome)))


def wrong(outcome: Outcome) -> list[str]:
    """What is not as it must be."""
    found: list[str] = []
    if outcome.phase != "rolled-back":
        found.append(f"{outcome.bad.name}: it is {outcome.phase or 'nothing'}, not rolled back")
    elif outcome.bad.says not in outcome.reason:
        found.append(f"{outcome.bad.name}: it was rolled back for another reason: {outcome.reason}")
    if outcome.last > outcome.back + 1.0:
        found.append(f"{outcome.bad.name}: it still answered {outcome.last - outcome.back:.1f} s after that")
    return found


HEAD = """| version | rolled back after | last answer by it after | requests it answered | failed requests | reason |
| --- | --- | --- | --- | --- | --- |"""


def row(outcome: Outcome) -> str:
    """One line of the table."""
    last = f"{outcome.last:.1f} s" if outcome.answered else "none"
    return (
        f"| {outcome.bad.name} | {outcome.back:.1f} s | {last} | {outcome.answered} | {outcome.failed} | "
        f"{outcome.reason or outcome.phase} |"
    )


def fill(home: Home, kinds: Sequence[Bad]) -> None:
    """The good version and the bad ones, into a new store."""
    home.config.write_text("control: {port: 0}\ngateway: {port: 0}\n")
    store = open_store(home, Settings())
    for number, bad in enumerate((GOOD, *kinds), 1):
        label = (GOLDEN[:, 0] * 4).astype(np.int64)
        push_class(store, home.root / f"p{number}", bad.source, GOLDEN, label, name="shapes")
    store.close()


def main() -> int:
    """Run and print the table; 1 where one was not rolled back as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    kinds = [each for each in KINDS if parser.parse_args().only in each.name]
    with tempfile.TemporaryDirectory(prefix="a") as folder:
        home = Home(Path(folder)).create()
        fill(home, kinds)
        platform = Up(home).ready()
        print(HEAD)
        try:
            found = asyncio.run(prove(platform, kinds))
        finally:
            platform.stop()
            clear(home)
    wrong = [each for outcome in found for each in outcome.wrong]
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
