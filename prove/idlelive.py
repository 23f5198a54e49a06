"""`python -m prove.idle --live FILE.gguf`: deferred work in idle slots, with engines that run and in real time.

Two engines of llama.cpp with four slots each answer callers that come at random; rows of a batch job go through the
platform's socket (`jobs/slots.py`) to the slots that they leave. Rounds without and with work take turns. Shown are the
share of idle slot-seconds that went to work, and the times of callers. On a processor a step takes longer with each
sequence, so that the policy gives work few slots; `--same` lets steps take what they take, as on a device that is bound
by its memory. The exit status is 1 where callers' 99th percentile is more than 5 % above that without work, or, with
`--same`, less than 60 % of the idle slot-seconds are used.
"""

import asyncio
import random
import statistics
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec

from argosy.capacity.idle import IdlePolicy
from argosy.engines.language.process import started
from argosy.gateway.admin import Admin
from argosy.jobs.slots import IdleSlots
from argosy.spec.address import Address
from argosy.spec.language import Language
from argosy.spec.revision import Replica, Revision
from argosy.spec.status import View
from argosy.telemetry.rates import Rates

ENGINES, SLOTS, RATE = 2, 4, 0.5
SECONDS, ROUNDS = 20.0, 3
FLOOR, SLOWER = 0.60, 0.05
CALL, ROW = 16, 32
"""Tokens of a caller's answer, and of a row's."""
DIGEST = "d"


class Round(NamedTuple):
    """Of one round: the seconds of each caller, the slot-seconds that callers had, and those that rows had."""

    times: list[float]
    busy: float
    lent: float


class Bench:
    """The engines at these sockets, and the slots that they lend."""

    def __init__(self, folder: Path, sockets: list[Path], policy: IdlePolicy) -> None:
        at = Address(path="/nowhere")
        self.engines = [Admin(Address(path=str(each)), 600.0) for each in sockets]
        self.asked = [0] * len(sockets)
        replicas = [
            Replica(id=f"r{n}", endpoint="m", revision="a", phase="ready", http=at, engine=each.address, started=1.0)
            for n, each in enumerate(self.engines)
        ]
        language = Language(slots=SLOTS)
        of = Revision(id="a", endpoint="m", model="m", version="1", digest=DIGEST, language=language, engine="llamacpp")
        view, rates = View(number=1, replicas=tuple(replicas)), Rates(at=0.0, requests=RATE)
        self.slots = IdleSlots(folder / "s", lambda: view, lambda: {"a": of}, lambda _: rates, policy)

    async def call(self, prompt: str) -> float:
        """One caller, at the engine where the fewest are."""
        engine = min(range(len(self.asked)), key=lambda at: self.asked[at])
        begun = time.perf_counter()
        self.asked[engine] += 1
        try:
            body = {"prompt": prompt, "max_tokens": CALL, "ignore_eos": True}
            status, _ = await self.engines[engine].exchange("POST", "/v1/completions", msgspec.json.encode(body))
            assert status == 200
        finally:
            self.asked[engine] -= 1
        return time.perf_counter() - begun

    async def row(self, client: httpx.AsyncClient, random: random.Random) -> None:
        """Rows, one after another, until cancelled."""
        while True:
            body = {"model": f"night m {DIGEST}", "prompt": prompt(random), "max_tokens": ROW, "ignore_eos": True}
            await client.post("/v1/completions", json=body)

    async def round(self, *, work: bool, seed: int) -> Round:
        """Callers for a while, with work beside them or without."""
        chance = random.Random(seed)
        transport = httpx.AsyncHTTPTransport(uds=str(self.slots.path))
        async with httpx.AsyncClient(transport=transport, base_url="http://slots", timeout=None) as client:
            count = 2 * ENGINES * SLOTS if work else 0
            rows = [asyncio.create_task(self.row(client, random.Random(seed + n))) for n in range(count)]
            if work:
                await asyncio.sleep(SECONDS / 3)  # steps are measured first
            before, calls, end = self._lent(), list[asyncio.Task[float]](), time.monotonic() + SECONDS
            while (left := end - time.monotonic()) > 0:
                calls.append(asyncio.create_task(self.call(prompt(chance))))
                await asyncio.sleep(min(left, chance.expovariate(RATE)))
            lent = self._lent() - before
            times = await asyncio.gather(*calls)
            for each in rows:
                each.cancel()
            await asyncio.gather(*rows, return_exceptions=True)
        return Round(list(times), sum(times), lent)

    def _lent(self) -> float:
        return sum(sum(self.slots.lent(f"r{n}/1.0").values()) for n in range(ENGINES))


def prompt(chance: random.Random) -> str:
    """A few words that no cache has."""
    return " ".join(str(chance.randrange(1000)) for _ in range(16))


async def measure(folder: Path, sockets: list[Path], policy: IdlePolicy) -> dict[bool, list[Round]]:
    """Rounds without work and with it, by turns, each pair with the same callers."""
    bench, found = Bench(folder, sockets, policy), dict[bool, list[Round]]({False: [], True: []})
    lending = asyncio.create_task(bench.slots.run())
    await asyncio.sleep(1.0)  # it listens
    for seed in range(ROUNDS):
        for work in (False, True):
            found[work].append(await bench.round(work=work, seed=seed))
    for run, steps in bench.slots.steps().items():
        told = ", ".join(f"{1000 * mean:.0f} ms ({count})" for mean, count in steps[1:])
        print(f"{run}: a step by occupancy (samples): {told}")
    used = bench.slots.use("night")
    print(f"pushed out {used.pushed if used else 0} times; {used.reason if used else ''}")
    lending.cancel()
    with suppress(asyncio.CancelledError):
        await lending
    return found


def main(weights: Path, *, same: bool) -> int:
    """Measure, and tell."""
    policy = IdlePolicy(slowdown=10.0) if same else IdlePolicy()
    with tempfile.TemporaryDirectory(prefix="idle-") as root, ExitStack() as stack:
        sockets: list[Path] = []
        for number in range(ENGINES):
            folder = Path(root) / str(number)
            folder.mkdir()
            stack.enter_context(started("llamacpp", weights, Language(context=512, slots=SLOTS), 1, folder))
            sockets.append(folder / "engine.sock")
        found = asyncio.run(measure(Path(root), sockets, policy))
    ends: dict[bool, float] = {}
    for work, rounds in found.items():
        times = sorted(time for each in rounds for time in each.times)
        ends[work] = times[min(len(times) - 1, int(0.99 * len(times)))]
        told = f"p50 {statistics.median(times):.3f} s, p99 {ends[work]:.3f} s"
        print(f"{'with work' if work else 'without work':<13} {len(times):>4} callers, {told}")
    lent, busy = (sum(getattr(each, name) for each in found[True]) for name in ("lent", "busy"))
    filled, slower = lent / (ROUNDS * SECONDS * ENGINES * SLOTS - busy), ends[True] / ends[False] - 1
    print(
        f"{filled:.1%} of the idle slot-seconds used (floor {FLOOR:.0%}, where steps take as long), p99 {slower:+.1%}"
    )
    return 0 if (filled >= FLOOR if same else slower <= SLOWER) else 1
