"""Eight gateways, one ledger of tokens: requests with random aborts, ledgers and one Envoy killed without a warning.

    python -m prove.tokens --gateways 8 --workers 32 --requests 100 --seed 1

It prints what was sold of each limited key at the most, what the ledger and the engine have counted, and what is left
reserved; the exit status is 1 where something was sold twice, leaked, or counted otherwise than by the engine.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

from argosy.spec.language import TokenLimits
from argosy.store.usage import TokenLedger
from tests.language.fake_engine import running
from tests.language.token_load import Load, Place, places, spent_and_reserved, sums


async def watch(ledger: TokenLedger, limits: dict[str, TokenLimits], worst: dict[str, int]) -> None:
    """The most that was used or in leases, within a minute."""
    while True:
        for key, each in limits.items():
            if each.tokens_per_minute is not None:
                sold = await asyncio.to_thread(spent_and_reserved, ledger, key, int(time.time()))
                worst[key] = max(worst.get(key, 0), sold)
        await asyncio.sleep(0.05)


async def kill(found: list[Place], stop: asyncio.Event) -> int:
    """One ledger's process after the other; how many were killed."""
    count = 0
    while not stop.is_set():
        for each in found:
            await asyncio.sleep(0.5)
            each.kill()
            each.begin()
            await each.up()
            count += 1
    return count


async def prove(gateways: int, workers: int, requests: int, seed: int, limit: int) -> bool:
    """Whether everything holds."""
    limits = {f"k{number}": TokenLimits(tokens_per_minute=limit) for number in range(4)}
    limits["money"] = TokenLimits(money_per_day=1e6)
    with tempfile.TemporaryDirectory(prefix="pt") as name, running(Path(name) / "e.sock", each=0.002) as engine:
        async with places(Path(name), gateways, engine, limits) as (found, database):
            ledger, worst, stop = TokenLedger(database, limits.get), dict[str, int](), asyncio.Event()
            watching = asyncio.create_task(watch(ledger, limits, worst))
            killing = asyncio.create_task(kill(found, stop))
            load = Load(found, [*limits, "free"], seed, leaving=0.3)
            began = time.monotonic()
            await load.run(workers, requests)
            took = time.monotonic() - began
            stop.set()
            killed = await killing
            watching.cancel()
            for each in found:
                await each.gateway.stop(5)
            while any(each.unread(ledger) for each in found):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            said, counted = engine.told(), sums(database)
            ledger.expire(int(time.time()) + 1000)
            left = sum(ledger.account(key).reserved for key in limits)
    whole = counted.pop("")
    print(f"{sum(load.statuses.values())} requests in {took:.0f} s over {gateways} gateways: {dict(load.statuses)}")
    print(f"{load.left} clients left in the middle of an answer; {killed} times a ledger was killed")
    print(f"sold at the most within a minute, of {limit}: {worst}")
    print("          ledger    engine    sum over keys")
    for what in ("input", "cached", "output"):
        print(f"{what:8} {whole[what]:8} {said[what]:9} {sum(each[what] for each in counted.values()):12}")
    print(
        f"requests {whole['requests']:8} {said['requests']:9} {sum(each['requests'] for each in counted.values()):12}"
    )
    print(f"generated and not sent, since the client had left: {said['output'] - whole['output']}; reserved: {left}")
    checks = {
        "sold beyond a limit": all(most <= limit for most in worst.values()),
        "a sum over keys is not the whole": all(sum(each[n] for each in counted.values()) == whole[n] for n in whole),
        "input is not the engine's": whole["input"] == said["input"],
        "output is less than what clients have": all(
            counted.get(key, {}).get("output", 0) >= load.got[key, "output"] + load.some[key] for key in load.keys
        ),
        "more output than was generated": whole["output"] <= said["output"],
        "something is reserved for ever": left == 0,
    }
    for what, good in checks.items():
        if not good:
            print(f"FAILED: {what}")
    return all(checks.values())


def main() -> int:
    """Run it."""
    logging.basicConfig(level="ERROR")
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("gateways", 8), ("workers", 32), ("requests", 100), ("seed", 1), ("limit", 20_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return 0 if asyncio.run(prove(**vars(parser.parse_args()))) else 1


if __name__ == "__main__":
    sys.exit(main())
