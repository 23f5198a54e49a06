"""`python -m prove.kills --rounds 1000`: kill -9 of the controller at random moments of random changes, under load.

Each round changes a declaration (scale, another version, deploy or undeploy of a second endpoint), kills the controller
at a random moment in or after that, starts it again and waits until all is as declared. It counts what must not
happen: a declaration that was acknowledged and is gone, a process that nothing declares, a replica twice, a request
that failed.
Replicas are stand-ins that start in a twentieth of a second; controller, gateway, database and sockets are real.
"""

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import msgspec

from argosy.platform import leftovers as strays
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from argosy.targets.tags import replicas, scan
from tests.platform.up import Up, clear, until
from tests.store.samples import model_lineage, model_manifest, write_folder

STAND_IN_UP = [sys.executable, str(Path("tests/platform/stand_in_up.py").absolute())]
LATEST = (0.03, 0.1, 0.5)
"""Seconds within which the controller is killed after a change was asked for: before the answer, and well after."""
SETTLED = 30.0

Declared = dict[str, dict[str, Any] | None]
"""Endpoint → what is declared of it; None: nothing."""


class Counts(msgspec.Struct):
    """What happened."""

    rounds: int = 0
    acknowledged: int = 0
    lost: int = 0
    orphans: int = 0
    unsettled: int = 0
    requests: int = 0
    failures: list[str] = []

    @property
    def good(self) -> bool:
        """Whether nothing happened that must not."""
        return not (self.lost or self.orphans or self.unsettled or self.failures)

    def line(self, seconds: float) -> str:
        """The figures."""
        return (
            f"{self.rounds} kills of the controller in {seconds:.0f} s: {self.acknowledged} changes acknowledged, "
            f"{self.lost} lost; {self.orphans} orphans or doubles; {self.unsettled} rounds that did not settle; "
            f"{self.requests} requests, {len(self.failures)} failed"
        )


class Load:
    """Clients that ask the endpoint that is always declared, without a pause longer than 5 ms."""

    def __init__(self, url: str, counts: Counts, clients: int = 4) -> None:
        self.url, self.counts = url, counts
        self._stop = asyncio.Event()
        self._tasks = [asyncio.create_task(self._client()) for _ in range(clients)]

    async def _client(self) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            while not self._stop.is_set():
                try:
                    answer = await client.post(self.url, json={"inputs": []})
                    if answer.status_code != 200:
                        self.counts.failures.append(f"{answer.status_code} {answer.text[:200]}")
                except httpx.HTTPError as error:
                    self.counts.failures.append(repr(error))
                self.counts.requests += 1
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)


class Proof:
    """One home through many rounds."""

    def __init__(self, home: Home, seed: int) -> None:
        self.home, self.chance, self.counts = home, random.Random(seed), Counts()
        self.now: Declared = {"digits": {"model": "digits:1", "replicas": 2, "public": True}, "extra": None}
        self.platform = Up(home, STAND_IN_UP)

    def change(self) -> tuple[str, dict[str, Any] | None]:
        """An endpoint and what shall be declared of it."""
        new = {"model": f"digits:{self.chance.randint(1, 2)}", "replicas": self.chance.randint(1, 3), "public": True}
        if self.chance.random() < 0.7:
            return "digits", new
        return "extra", None if self.now["extra"] else new

    def ask(self, name: str, new: dict[str, Any] | None) -> bool:
        """Ask for it. Whether it was acknowledged."""
        try:
            answer = self.platform.ask("PUT" if new else "DELETE", f"/v1/endpoints/{name}", json=new)
            return answer.status_code < 300
        except (httpx.HTTPError, OSError):
            return False

    async def round(self) -> None:
        """Change, kill, start, settle, count."""
        name, new = self.change()
        asking = asyncio.create_task(asyncio.to_thread(self.ask, name, new))
        await asyncio.sleep(self.chance.uniform(0, self.chance.choice(LATEST)))
        acknowledged = asking.done() and asking.result()
        await asyncio.to_thread(self.platform.kill)
        acknowledged = await asking or acknowledged
        self.platform = Up(self.home, STAND_IN_UP)
        await asyncio.to_thread(self.platform.ready)
        found = await asyncio.to_thread(self.declared)
        self.counts.rounds += 1
        self.counts.acknowledged += acknowledged
        expected = [{**self.now, name: new}] if acknowledged else [self.now, {**self.now, name: new}]
        self.counts.lost += found not in expected
        self.now = found
        await asyncio.to_thread(self.settle)

    def declared(self) -> Declared:
        """What the platform says is declared."""
        found = {each["name"]: each["endpoint"] for each in self.platform.call("GET", "/v1/endpoints")}
        keys = ("model", "replicas", "public")
        return {
            name: {key: found[name][key] for key in keys} if name in found else None for name in ("digits", "extra")
        }

    def settle(self) -> None:
        """Wait until all that runs is what is declared; count what stays over."""
        try:
            until(self.as_declared, SETTLED)
        except AssertionError:
            self.counts.unsettled += 1
            self.counts.orphans += sum((self.running() - self.wanted()).values())

    def as_declared(self) -> bool:
        """Whether exactly the declared replicas run and are ready, once each, and one gateway."""
        ready = {each["id"] for each in self.platform.call("GET", "/v1/replicas") if each["phase"] == "ready"}
        wanted = self.wanted()
        return self.running() == wanted and len(ready) == wanted.total() and len(strays.gateways(self.home)) == 1

    def running(self) -> Counter[tuple[str, str]]:
        """(endpoint, version) of every process of a replica."""
        found = [each.record.revision for each in scan(self.home.root) if each.record and each.leader]
        return Counter((each.endpoint, f"{each.model}:{each.version}") for each in found)

    def wanted(self) -> Counter[tuple[str, str]]:
        """The same as it is declared."""
        return Counter({(name, each["model"]): each["replicas"] for name, each in self.now.items() if each})

    async def run(self, rounds: int) -> Counts:
        """All rounds, and the end: nothing is left."""
        await asyncio.to_thread(self.platform.ready)
        deployed = self.platform.call("PUT", "/v1/endpoints/digits", self.now["digits"], wait=60)
        load = Load(deployed["url"], self.counts)
        for number in range(rounds):
            await self.round()
            if (number + 1) % 50 == 0:
                print(f"{number + 1}/{rounds}", file=sys.stderr, flush=True)
        await load.stop()
        await asyncio.to_thread(self.platform.stop)
        self.counts.orphans += len(strays.gateways(self.home)) + len(replicas(self.home.root)[0])
        return self.counts


async def prove(rounds: int, seed: int) -> Counts:
    """So many rounds on a home of their own, which is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="kills"))
    home = Home(folder / "h").create()
    home.config.write_text("control: {port: 0}\ngateway: {port: 0}\n")
    store = open_store(home, Settings())
    for number in (1, 2):
        package = write_folder(folder / f"package{number}")
        (package / "behaviour").write_text("ok" + "\n" * number)
        store.add(package, name="digits", manifest=model_manifest(), lineage=model_lineage())
    store.close()
    try:
        return await Proof(home, seed).run(rounds)
    finally:
        clear(home)
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Run and print one line; 1 if anything happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("PYTHONPATH", "src")
    os.environ["PYTHONPATH"] += os.pathsep + str(Path.cwd())
    begun = time.monotonic()
    counts = asyncio.run(prove(options.rounds, options.seed))
    print(counts.line(time.monotonic() - begun))
    for kind, count in Counter(counts.failures).most_common(5):
        print(f"  {count} x {kind}")
    return 0 if counts.good else 1


if __name__ == "__main__":
    sys.exit(main())
