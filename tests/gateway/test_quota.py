"""Tokens reserved in a real Envoy by `lua/quota.lua`, from the process that gives leases of them."""

import asyncio
import contextlib
import time

import httpx
import msgspec
import pytest

from argosy.gateway import keys, routes
from argosy.gateway.gateway import Gateway
from argosy.quota.server import PricedEndpoint, QuotaConfig, QuotaServer, config_file
from argosy.spec.language import TokenLimits
from argosy.spec.settings import Home
from argosy.store.database import Database
from argosy.store.tokens import SHARE
from tests.gateway.kit import api_key, http, one

PATH = "/v2/models/digits/infer"
SCRIPT = """
function envoy_on_request(handle)
  local headers = handle:headers()
  local owner = owner_in(headers)
  local good, lease = reserve(handle, headers, owner, "digits", tonumber(headers:get("x-tokens")))
  headers = handle:headers()
  if good then
    headers:replace("x-argosy-key-id", owner.id)
    headers:replace("x-lease", lease)
  end
end
"""


@pytest.fixture
async def quota(folder, monkeypatch):
    """The process that gives leases, as a task beside what asks it, so that it is waited for; `begin` and `end`."""
    script = keys.quota
    monkeypatch.setattr(keys, "quota", lambda config: script(config).replace("QUOTA_MS = 2000", "QUOTA_MS = 60000"))
    home = Home(folder)
    home.run.mkdir(parents=True, exist_ok=True)
    limits = TokenLimits(tokens_per_minute=1000, tokens_per_month=1600)
    busy = TokenLimits(tokens_per_minute=10**9)
    config = QuotaConfig(keys={"k1": limits, "k2": limits, "busy": busy}, endpoints={"digits": PricedEndpoint()})
    config_file(home.run).write_bytes(msgspec.json.encode(config))
    database = Database(folder / "d.db").create()

    class Quota:
        server = QuotaServer(home, database, clock=lambda: 3_999_999_960.0)
        socket = str(home.run / "quota.sock")
        task: asyncio.Task | None = None

        async def begin(self):
            self.task = asyncio.create_task(self.server.run())
            while not (home.run / "quota.sock").exists():
                await asyncio.sleep(0.01)

        async def end(self):
            if self.task is not None:
                self.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self.task
                (home.run / "quota.sock").unlink()

    made = Quota()
    await made.begin()
    yield made
    with contextlib.suppress(FileNotFoundError):
        await made.end()
    database.close()


@pytest.fixture
async def client(quota, replica, config, monkeypatch):
    config = msgspec.structs.replace(config, quota=quota.socket)
    monkeypatch.setattr(
        routes.keys, "key_check", lambda known, regions: keys._script(known, keys.quota(config) + SCRIPT)
    )
    gateway = Gateway(config)
    limited = [
        api_key("one", id="k1", limits="closed"),
        api_key("two", id="k2", limits="open"),
        api_key("free", id="f"),
        api_key("busy", id="busy", limits="closed"),
    ]
    there = await replica("a")
    await gateway.start([one(there)], limited)
    async with await http(gateway) as made:
        made.gateway, made.there = gateway, there
        yield made
    await gateway.stop(0.5)


async def ask(client, tokens, key="one"):
    return await client.post(PATH, content=b"x", headers={"x-api-key": key, "x-tokens": str(tokens)})


async def test_one_question_for_many_requests_and_then_a_refusal(client, quota, monkeypatch):
    asked = []
    original = quota.server.ledger.ask
    monkeypatch.setattr(quota.server.ledger, "ask", lambda *args: asked.append(args) or original(*args))
    found = [await ask(client, 10) for _ in range(6)]
    assert [each.status_code for each in found] == [200] * 6
    assert len(asked) == 1
    first = found[0].headers
    assert (first["x-ratelimit-limit-tokens"], first["x-ratelimit-remaining-tokens"]) == ("1000", "990")
    assert first["x-ratelimit-reset-tokens"] == "60s"
    assert {each.headers["x-lease"] for each in client.there.seen} == {quota.server.ledger.account("k1").leases[0].id}
    assert quota.server.ledger.account("k1").reserved == 1000 // SHARE
    large = await ask(client, 950)
    error = large.json()["error"]
    assert (large.status_code, error["code"], large.headers["retry-after"]) == (429, "rate_limit_exceeded", "1")
    assert large.headers["x-ratelimit-limit-tokens"] == "1000"
    assert "1000 tokens a minute" in error["message"]
    never = await ask(client, 2000, key="two")
    assert never.json()["error"]["code"] == "insufficient_quota"
    assert never.headers["x-should-retry"] == "false"
    assert "retry-after" not in never.headers
    before, began = len(asked), int(time.time())
    assert [(await ask(client, 3000, key="two")).status_code for _ in range(3)] == [429] * 3
    assert len(asked) - before <= 1 + int(time.time()) - began, "what was refused is refused again without a question"
    assert (await ask(client, 1_000_000, key="free")).status_code == 200
    assert "x-ratelimit-limit-tokens" not in (await ask(client, 1, key="free")).headers


@pytest.mark.slow
async def test_who_asks_often_gets_more_at_once(client, quota, monkeypatch):
    asked = []
    original = quota.server.ledger.ask
    monkeypatch.setattr(quota.server.ledger, "ask", lambda asks, *rest: asked.extend(asks) or original(asks, *rest))
    for _ in range(500):
        assert (await ask(client, 10, key="busy")).status_code == 200
    worth = [each.worth for each in asked]
    assert worth == sorted(worth)
    assert (worth[0], worth[-1] > 8, worth[-1] <= 1024) == (8, True, True)
    assert len(asked) < 500 / 8


async def test_many_at_once_never_get_more_than_there_is(client, quota):
    found = await asyncio.gather(*(ask(client, 37) for _ in range(60)))
    good = sum(each.status_code == 200 for each in found)
    assert {each.status_code for each in found} == {200, 429}
    assert 37 * good <= 1000
    assert quota.server.ledger.account("k1").reserved <= 1000


async def test_without_the_ledger_it_is_closed_or_open_as_declared(client, quota):
    await quota.end()
    closed, opened = await ask(client, 5), await ask(client, 5, key="two")
    assert closed.status_code == 503
    assert closed.json()["error"]["code"] == "quota_unreachable"
    assert (closed.headers["retry-after"], closed.headers["x-argosy-quota"]) == ("1", "unreachable; closed")
    assert opened.status_code == 200
    assert opened.headers["x-argosy-quota"] == "unreachable; open"
    assert (await ask(client, 5, key="free")).status_code == 200
    await quota.begin()
    again = await ask(client, 5)
    assert again.status_code == 200
    assert "x-argosy-quota" not in again.headers


async def test_what_a_gateway_did_not_use_is_free_once_it_has_ended_with_nothing_in_flight(client, quota):
    assert (await ask(client, 10)).status_code == 200
    assert quota.server.ledger.account("k1").reserved == 1000 // SHARE
    await client.gateway.stop(30)
    account = quota.server.ledger.account("k1")
    assert (account.reserved, account.spent) == (0, {})


async def test_of_one_that_ended_with_a_request_in_flight_it_stays_reserved_until_it_is_charged(client, quota):
    go, arrived = asyncio.Event(), asyncio.Event()

    async def held(_):
        arrived.set()
        await go.wait()
        return 200, {}, b""

    client.there.handler = held
    waiting = asyncio.create_task(ask(client, 10))
    await arrived.wait()
    await client.gateway.stop(0.2)
    go.set()
    with contextlib.suppress(httpx.TransportError):
        await waiting
    assert quota.server.ledger.account("k1").reserved == 1000 // SHARE
    quota.server._swept = 0.0
    quota.server.settle()
    account = quota.server.ledger.account("k1")
    assert (account.reserved, {each.tokens for each in account.spent.values()}) == (0, {1000 // SHARE})
