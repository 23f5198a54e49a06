"""`python -m prove.rollouts`: rollouts one after the other under load, each by the next strategy; no request may fail.

With `--kills` the controller is killed (SIGKILL) at a random moment of each rollout and started again. Everything is
real: the platform, Envoy, replicas, callers that send their next request upon the last answer. `recreate` is left out:
it stops the old version first, for models that do not fit twice.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests.platform.packages import push
from tests.platform.up import Load, Up, clear

CANARY = {"strategy": "canary", "steps": [{"weight": 10, "requests": 5}, {"weight": 50, "requests": 20}]}
SLOW = {"strategy": "canary", "steps": [{"weight": 20, "seconds": 1.5}]}
STRATEGIES: tuple[dict[str, Any], ...] = (
    {"rollout": {"strategy": "blue-green", "keep_warm": 1.0}},
    {"rollout": CANARY},
    {"rollout": SLOW, "paused": True},
    {},
    {"rollout": {"strategy": "blue-green"}},
)
"""What to declare, and whether to pause the rollout and resume it, with a kill between the two if there are any."""
PATIENCE = 60.0
KILLED_WITHIN = 3.0
"""Seconds after the declaration: about as long as a rollout here takes."""


class Proof:
    """One platform through many rollouts. `wrong` is whatever went wrong."""

    def __init__(self, platform: Up, *, kills: bool = False, seed: int = 0) -> None:
        self.platform, self.kills, self.chance = platform, kills, random.Random(seed)
        self.killed = 0
        self.wrong: list[str] = []

    async def run(self, rollouts: int) -> Load:
        """Make so many rollouts; the load that was there."""
        plain = {"model": "digits:1", "replicas": 2}
        deployed = await self._call("PUT", "", plain, wait=60)
        async with Load(deployed["url"], deployed["key"], clients=6) as load:
            for number in range(1, rollouts + 1):
                await self._rollout(number)
                print(f"{number} of {rollouts}: {load.good:,} requests answered, {len(load.bad)} failed", end="\r")
        self.wrong += load.bad
        kills = f", {self.killed} kills of the controller" if self.kills else ""
        print(f"\n{rollouts} rollouts{kills}, {load.good:,} requests answered, {len(load.bad)} failed")
        return load

    async def _rollout(self, number: int) -> None:
        turn = STRATEGIES[number % len(STRATEGIES)]
        declared = {key: value for key, value in turn.items() if key != "paused"}
        await self._call("PUT", "", {"model": f"digits:{number % 2 + 1}", "replicas": 2} | declared)
        if turn.get("paused"):
            await self._until(number, "pause")
        if self.kills:
            await self._kill()
        if turn.get("paused"):
            found = await self._until(number, "resume")
            self.wrong += [] if found.get("paused") else [f"rollout {number} was not paused any more"]
        over = await self._until(number)
        good = over.get("phase") == "done"
        self.wrong += [] if good else [f"rollout {number} ended as {over.get('phase', 'nothing: it took too long')}"]

    async def _kill(self) -> None:
        await asyncio.sleep(self.chance.uniform(0.0, KILLED_WITHIN))
        await asyncio.to_thread(self.platform.kill)
        self.killed += 1
        self.platform = Up(self.platform.home)
        await asyncio.to_thread(self.platform.ready)

    async def _call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        where = f"/v1/endpoints/digits{path}"
        return await asyncio.to_thread(self.platform.call, method, where, body, **query)

    async def _until(self, number: int, order: str = "") -> dict[str, Any]:
        """The rollout of that number as it was when it took the order, or once it is over; {} if it takes too long."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            answer = await self._ask("GET", "")
            found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
            if found.get("number") == number and not found["live"]:
                return found
            if found.get("number") == number and order and (await self._ask("POST", f"/{order}")).status_code == 200:
                return found
            await asyncio.sleep(0.1)
        return {}

    async def _ask(self, method: str, path: str) -> httpx.Response:
        return await asyncio.to_thread(self.platform.ask, method, f"/v1/endpoints/digits/rollout{path}")


def fill(home: Home) -> None:
    """Two versions, into a new store."""
    home.config.write_text("control: {port: 0}\ngateway: {port: 0}\n")
    store = open_store(home, Settings())
    for number in (1, 2):
        push(store, home.root / f"p{number}", float(number))
    store.close()


def main() -> int:
    """Run; 1 where a request failed or a rollout did not end well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=200)
    parser.add_argument("--kills", action="store_true", help="kill the controller during each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="a") as folder:
        home = Home(Path(folder)).create()
        fill(home)
        proof = Proof(Up(home).ready(), kills=options.kills, seed=options.seed)
        try:
            asyncio.run(proof.run(options.rollouts))
        finally:
            proof.platform.stop()
            clear(home)
    print(*proof.wrong, sep="\n")
    return 1 if proof.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
