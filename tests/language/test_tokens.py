"""Tokens counted, limited and settled: real gateways with parallel load, clients that leave, and `kill -9`."""

import asyncio
import json
import os
import signal
import time

import pytest

from argosy.quota.lines import LogReader, all_used
from argosy.spec.language import TokenLimits
from argosy.store.tokens import periods
from argosy.store.usage import Position, TokenLedger
from tests.language.token_load import Load, places, spent_and_reserved, sums

MINUTE = 4_000
LIMITS = {
    "a": TokenLimits(tokens_per_minute=MINUTE),
    "b": TokenLimits(tokens_per_minute=MINUTE, tokens_per_month=10**9),
    "c": TokenLimits(money_per_day=10**6),
}


async def settled(found, ledger):
    """Ends the gateways, which write all of their lines, and waits until all are read."""
    for each in found:
        await each.gateway.stop(5)
    async with asyncio.timeout(60):
        while any(each.unread(ledger) for each in found):
            await asyncio.sleep(0.05)


async def watched(ledger, worst):
    """The most that was ever used or in leases."""
    while True:
        for key in ("a", "b"):
            now = int(time.time())
            worst[key] = max(worst.get(key, 0), await asyncio.to_thread(spent_and_reserved, ledger, key, now))
        await asyncio.sleep(0.02)


async def killed(found, stop):
    """One ledger after the other, without a warning; and again."""
    while not stop.is_set():
        for each in found:
            await asyncio.sleep(0.3)
            each.kill()
            each.begin()
            await each.up()


@pytest.mark.slow
async def test_the_ledger_has_what_the_engines_say_and_never_sells_more_than_there_is(tmp_path, start_fake):
    engine = start_fake(each=0.002)
    async with places(tmp_path, 2, engine, LIMITS) as (found, database):
        ledger, worst, stop = TokenLedger(database, LIMITS.get), {}, asyncio.Event()
        watching = asyncio.create_task(watched(ledger, worst))
        killing = asyncio.create_task(killed(found, stop))
        load = Load(found, ["a", "b", "c", "free"], seed=7, leaving=0.3)
        await load.run(workers=12, requests=40)
        stop.set()
        await killing
        watching.cancel()
        async with asyncio.timeout(60):  # gateways run on: once they are seen to have ended, their leases are charged
            while sums(database)[""]["requests"] < load.statuses[200]:
                await asyncio.sleep(0.05)
        said, counted = engine.told(), sums(database)
        assert load.left > 20
        assert load.statuses[200] > 100
        assert load.statuses[429] > 10
        assert max(worst.values()) <= MINUTE
        whole = counted.pop("")
        for name in whole:
            assert sum(each[name] for each in counted.values()) == whole[name]
        assert whole["requests"] == load.statuses[200]
        assert whole["input"] == said["input"]
        assert whole["cached"] == said["cached"]
        for key, mine in counted.items():
            assert mine["output"] >= load.got[key, "output"] + load.some[key]
        assert 0 <= said["output"] - whole["output"] <= 8 * load.left, "what was generated and never sent"
        month = next(each for each in periods(int(time.time())) if each.kind == "month").name
        for key, mine in counted.items():
            ledger.expire(int(time.time()) + 1000)
            account = ledger.account(key)
            assert account.reserved == 0
            assert account.spent[month].tokens == mine["input"] + mine["output"]


@pytest.mark.slow
async def test_without_clients_that_leave_it_is_the_same_to_the_token(tmp_path, start_fake):
    engine = start_fake()
    limits = {name: TokenLimits(tokens_per_minute=10**7) for name in ("a", "b", "c")}
    async with places(tmp_path, 2, engine, limits) as (found, database):
        ledger, stop = TokenLedger(database, limits.get), asyncio.Event()
        killing = asyncio.create_task(killed(found, stop))
        load = Load(found, ["a", "b", "c", "free"], seed=8, leaving=0)
        await load.run(workers=12, requests=20)
        stop.set()
        await killing
        await settled(found, ledger)
        said, counted = engine.told(), sums(database)
        whole = counted.pop("")
        assert {name: whole[name] for name in ("input", "cached", "output")} == {
            name: said[name] for name in ("input", "cached", "output")
        }
        assert whole["aborted"] == 0
        for key, mine in counted.items():
            for name in ("requests", "input", "cached", "output"):
                assert mine[name] == load.got[key, name]


@pytest.mark.slow
async def test_what_a_killed_envoy_had_reserved_is_charged(tmp_path, start_fake):
    engine = start_fake(each=1.0)
    limits = {"a": TokenLimits(tokens_per_minute=100_000)}
    async with places(tmp_path, 1, engine, limits) as (found, database):
        (place,), ledger = found, TokenLedger(database, limits.get)
        load = Load(found, ["a"], seed=9, leaving=0)
        asking = asyncio.gather(load.run(workers=3, requests=1), return_exceptions=True)
        async with asyncio.timeout(60):
            while engine.told()["running"] < 3:
                await asyncio.sleep(0.02)
        before = ledger.account("a")
        assert before.reserved > 0
        running = place.gateway.process.running
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)
        await asking
        place.gateway.process._process.wait(60)
        async with asyncio.timeout(60):
            while ledger.account("a").reserved:
                await asyncio.sleep(0.05)
        spent = {each.tokens for each in ledger.account("a").spent.values()}
        assert spent == {before.reserved + sum(each.tokens for each in before.spent.values()) // 3}


async def test_a_log_is_read_as_it_is_renamed_by_the_gateway(tmp_path, start_fake):
    engine = start_fake()
    async with places(tmp_path, 1, engine, {}) as (found, database):
        (place,), ledger = found, TokenLedger(database, {}.get)
        for turn in range(2):
            await Load(found, ["free"], seed=1, leaving=0).run(workers=2, requests=3)
            async with asyncio.timeout(60):
                while not place.log.stat().st_size:
                    await asyncio.sleep(0.02)
                while sums(database).get("", {}).get("requests", 0) < 6 * turn:
                    await asyncio.sleep(0.02)
                await place.gateway.rotate_log(10)
        assert place.log.stat().st_mode & 0o777 == 0o600
        await Load(found, ["free"], seed=1, leaving=0).run(workers=2, requests=3)
        await place.gateway.stop(5)
        async with asyncio.timeout(60):
            while sums(database).get("", {}).get("requests", 0) < 18:
                await asyncio.sleep(0.05)
        assert ledger.position("nothing") == Position("nothing")
        lines = [each for each in place.log.read_bytes().splitlines() if json.loads(each)["tokens"]]
        assert len(all_used(lines, {})) == len(lines) > 0
        assert LogReader(place.log, Position("x")).read()[0].offset == place.log.stat().st_size
