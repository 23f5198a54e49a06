"""Gateways with ledgers beside them on one database, a fake engine behind, and clients that leave as they like."""

import asyncio
import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from argosy.gateway.gateway import Gateway
from argosy.gateway.model import EndpointRoute, GatewayConfig, RevisionRoute, Upstream
from argosy.process.sockets import listened
from argosy.quota.server import MACHINE, PricedEndpoint, QuotaConfig, config_file, quota_socket
from argosy.spec.address import Address
from argosy.spec.language import Price, TokenLimits
from argosy.spec.settings import Home
from argosy.store import usage
from argosy.store.database import Database
from argosy.store.tokens import periods
from argosy.store.usage import TokenLedger
from tests.gateway.kit import api_key, http
from tests.language.fake_engine import Fake

PRICE = Price(input=1.0, cached=0.5, output=2.0)
CHAT = "/v1/chat/completions"


class Place:
    """One gateway and the process beside it that gives leases and reads its log."""

    def __init__(self, folder: Path, database: str, limits: Mapping[str, TokenLimits]) -> None:
        self.home = Home(folder)
        self.home.create()
        self.home.config.write_text(json.dumps({"store": {"database": database}}))
        self.log = folder / "a.log"
        told = QuotaConfig(
            log=str(self.log), keys=dict(limits), endpoints={"gemma": PricedEndpoint(price=PRICE, timeout=30)}
        )
        config_file(self.home.run).write_bytes(msgspec.json.encode(told))
        self.gateway = Gateway(
            GatewayConfig(
                run_dir=str(folder / "gw"),
                port=0,
                concurrency=2,
                drain_seconds=5,
                access_log=str(self.log),
                quota=str(quota_socket(self.home.run)),
            )
        )
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self, engine: Fake, limits: Mapping[str, TokenLimits]) -> None:
        replica = Upstream(replica="r", http=Address(path="/tmp/nobody.sock"), engine=Address(path=engine.path))
        revision = RevisionRoute(revision="r1", version="1", weight=1, language=True, upstreams=(replica,))
        keys = [api_key(name, id=name, limits="closed" if name in limits else "") for name in (*limits, "free")]
        await self.gateway.start([EndpointRoute(endpoint="gemma", revisions=(revision,))], keys)
        self.begin()
        await self.up()

    async def up(self) -> None:
        """Waits until leases are given."""
        while not listened(quota_socket(self.home.run)):
            await asyncio.sleep(0.02)

    def begin(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "argosy.quota", str(self.home.root)])

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    async def stop(self) -> None:
        await self.gateway.stop(5)
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def unread(self, ledger: TokenLedger) -> int:
        """Bytes of the log that are in no sums."""
        return self.log.stat().st_size - ledger.position(f"{MACHINE}:{self.log}"[-255:]).offset


@asynccontextmanager
async def places(folder: Path, count: int, engine: Fake, limits: Mapping[str, TokenLimits], database: str = ""):
    """So many of them, and the database that they share."""
    url = database or f"sqlite:///{folder / 'd.db'}"
    shared = Database(url).create()
    async with AsyncExitStack() as stack:
        found = [Place(folder / f"p{number}", url, limits) for number in range(count)]
        for each in found:
            stack.push_async_callback(each.stop)
            await each.start(engine, limits)
        yield found, shared
    shared.close()


class Load:
    """Clients of all gateways. `got` has by key what whole answers said they used, `some` what came of those that were
    left; `statuses` counts answers."""

    def __init__(self, places: Sequence[Place], keys: Sequence[str], seed: int, leaving: float) -> None:
        self.places, self.keys, self.leaving = places, keys, leaving
        self.draw = random.Random(seed)
        self.got: Counter[tuple[str, str]] = Counter()
        self.some: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.left = 0

    async def run(self, workers: int, requests: int) -> None:
        """Each worker asks so often."""
        clients = [await http(each.gateway) for each in self.places]
        try:
            await asyncio.gather(*(self._work(clients[number % len(clients)], requests) for number in range(workers)))
        finally:
            for each in clients:
                await each.aclose()

    async def _work(self, client: httpx.AsyncClient, requests: int) -> None:
        for _ in range(requests):
            key, stream = self.draw.choice(self.keys), self.draw.random() < 0.7
            leave = self.draw.randint(0, 12) if stream and self.draw.random() < self.leaving else None
            body = {
                "model": "gemma",
                "messages": [{"role": "user", "content": "x" * self.draw.randint(1, 900)}],
                "max_tokens": self.draw.randint(1, 30),
                "stream": stream,
                "fake": {"tokens": 30},
                **({"stream_options": {"include_usage": True}} if stream else {}),
            }
            await self._ask(client, key, body, leave)

    async def _ask(self, client: httpx.AsyncClient, key: str, body: dict[str, Any], leave: int | None) -> None:
        count = 0
        async with client.stream("POST", CHAT, json=body, headers={"x-api-key": key}) as answer:
            self.statuses[answer.status_code] += 1
            if answer.status_code != 200:
                await answer.aread()
                return
            if not body["stream"]:
                self._note(key, json.loads(await answer.aread())["usage"])
                return
            async for line in answer.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                event = json.loads(line[6:])
                if "usage" in event:
                    self._note(key, event["usage"])
                    return_early = False
                elif event["choices"][0]["delta"].get("content"):
                    count += 1
                    return_early = leave is not None and count > leave
                else:
                    return_early = False
                if return_early:
                    self.left += 1
                    self.some[key] += count
                    return

    def _note(self, key: str, used: dict[str, Any]) -> None:
        self.got[key, "requests"] += 1
        self.got[key, "input"] += used["prompt_tokens"]
        self.got[key, "output"] += used["completion_tokens"]
        self.got[key, "cached"] += used["prompt_tokens_details"]["cached_tokens"]


def spent_and_reserved(ledger: TokenLedger, key: str, now: int) -> int:
    """Tokens of this minute that are used or in leases."""
    account, minute = ledger.account(key), next(periods(now))
    used = account.spent.get(minute.name)
    held = sum(each.left for each in account.leases if minute.start <= each.at < minute.end)
    return (used.tokens if used else 0) + held


def sums(database: Database) -> dict[str, Counter[str]]:
    """What the ledger has by key, and under "" of all."""
    found: dict[str, Counter[str]] = {}
    for row in [*usage.read(database, 0, 2**40), *usage.totals(database)]:
        mine = found.setdefault(row.key, Counter())
        for name in ("requests", "aborted", "input", "cached", "output"):
            mine[name] += getattr(row, name)
    return found
