"""`python -m prove.rollouts`: rollouts one after the other under load, each by the next strategy; no request may fail.

Everything is real: the platform, Envoy, replicas, callers that send their next request upon the last answer.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from argosy.control import strays
from argosy.spec.settings import Home, Settings
from argosy.store import open_store
from tests.control.conftest import Load, Up
from tests.control.packages import push

STRATEGIES: tuple[dict[str, Any], ...] = (
    {},
    {"rollout": {"strategy": "blue-green"}},
    {"rollout": {"strategy": "canary", "steps": [{"weight": 10, "requests": 5}, {"weight": 50, "requests": 20}]}},
)
PATIENCE = 60.0


async def prove(platform: Up, rollouts: int) -> list[str]:
    """Make so many rollouts; whatever went wrong."""
    plain = {"model": "digits:1", "replicas": 2}
    deployed = await asyncio.to_thread(platform.call, "PUT", "/v1/endpoints/digits", plain, wait=60)
    wrong: list[str] = []
    async with Load(deployed["url"], deployed["key"], clients=6) as load:
        for number in range(1, rollouts + 1):
            turn = {"model": f"digits:{number % 2 + 1}", "replicas": 2} | STRATEGIES[number % len(STRATEGIES)]
            await asyncio.to_thread(platform.call, "PUT", "/v1/endpoints/digits", turn)
            phase = await _ended(platform, number)
            wrong += [] if phase == "done" else [f"rollout {number} ended as {phase}"]
            print(f"{number} of {rollouts}: {load.good:,} requests answered, {len(load.bad)} failed", end="\r")
    print(f"\n{rollouts} rollouts, {load.good:,} requests answered, {len(load.bad)} failed")
    return wrong + load.bad


async def _ended(platform: Up, number: int) -> str:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        answer = await asyncio.to_thread(platform.ask, "GET", "/v1/endpoints/digits/rollout")
        found = answer.json()
        if answer.status_code == 200 and found["number"] == number and not found["live"]:
            return str(found["phase"])
        await asyncio.sleep(0.1)
    return "nothing: it took too long"


def main() -> int:
    """Run; 1 where a request failed or a rollout did not end well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=200)
    rollouts = parser.parse_args().rollouts
    with tempfile.TemporaryDirectory(prefix="a") as folder:
        home = Home(Path(folder)).create()
        home.config.write_text("control: {port: 0}\ngateway: {port: 0}\n")
        store = open_store(home, Settings())
        for number in (1, 2):
            push(store, home.root / f"p{number}", float(number))
        store.close()
        platform = Up(home).ready()
        try:
            wrong = asyncio.run(prove(platform, rollouts))
        finally:
            platform.stop()
            strays.end([*strays.gateways(home), *strays.replicas(home)[0]], drain=0.0)
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
