"""Rows of batch jobs in idle slots, with fake engines as replicas and callers that ask them directly."""

import asyncio
import contextlib
import time
from types import SimpleNamespace

import httpx
import pytest

from argosy.capacity.idle import IdlePolicy
from argosy.jobs.slots import IdleSlots
from argosy.spec.address import Address
from argosy.spec.language import Language
from argosy.spec.revision import Replica, Revision
from argosy.spec.status import View
from argosy.telemetry.rates import Rates
from tests.language.conftest import start_fake

__all__ = ["start_fake"]

SLOTS, PATIENCE, MODEL = 4, 60.0, "job chat d"
FREE = IdlePolicy(slowdown=100.0, samples=1)
"""What is measured on a busy machine bounds nothing."""


@contextlib.asynccontextmanager
async def lending(folder, *fakes, policy=FREE, rate=0.0, listen=0.0):
    """Idle slots of replicas at these engines, which a test may end; and a client at their socket."""
    at = Address(path="/nowhere")
    replicas = [
        Replica(
            id=f"r{n}",
            endpoint="chat",
            revision="a",
            phase="ready",
            http=at,
            engine=Address(path=each.path),
            started=1.0,
        )
        for n, each in enumerate(fakes)
    ]
    world = SimpleNamespace(view=View(number=1, replicas=tuple(replicas)))
    language = Language(slots=SLOTS)
    of = Revision(id="a", endpoint="chat", model="m", version="1", digest="d", language=language, engine="vllm")
    slots = IdleSlots(
        folder / "s.sock", lambda: world.view, lambda: {"a": of}, lambda _: Rates(at=0.0, requests=rate), policy, listen
    )
    task = asyncio.create_task(slots.run())
    await holds(slots.path.exists)
    transport = httpx.AsyncHTTPTransport(uds=str(slots.path))
    async with httpx.AsyncClient(transport=transport, base_url="http://x", timeout=PATIENCE) as client:
        try:
            yield slots, client, world
        finally:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for each in (task, *others):
                each.cancel()
            await asyncio.gather(task, *others, return_exceptions=True)


async def holds(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def row(client, text="x", model=MODEL, **fake):
    body = {"model": model, "messages": [{"role": "user", "content": text}], "fake": fake}
    return asyncio.create_task(client.post("/v1/chat/completions", json=body))


def running(fake):
    return fake.told()["running"]


async def test_rows_take_the_slots_that_callers_leave_and_are_pushed_out_for_a_caller(start_fake, tmp_path):
    fake = start_fake(slots=SLOTS, tokens=2)
    async with lending(tmp_path, fake) as (slots, client, _):
        rows = [row(client, f"r{n}", each=1000.0) for n in range(2 * SLOTS)]
        await holds(lambda: running(fake) == SLOTS)
        await holds(lambda: slots.use("job").waiting == SLOTS)
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=fake.path), timeout=PATIENCE) as caller:
            body = {"model": "chat", "messages": [{"role": "user", "content": "a caller"}]}
            answer = await caller.post("http://x/v1/chat/completions", json=body)
        assert answer.json()["choices"][0]["message"]["content"] == "w0 w1"
        await holds(lambda: running(fake) == SLOTS)  # the row that was pushed out is begun again
        assert slots.use("job").pushed >= 1
        assert slots.use("job").running == SLOTS
        assert sum(slots.lent("r0/1.0").values()) == pytest.approx(slots.use("job").seconds, abs=1.0)
        for each in rows:
            each.cancel()
        await holds(lambda: running(fake) == 0)  # their worker is gone


@pytest.mark.slow
async def test_a_row_goes_where_there_is_room_and_moves_when_its_replica_leaves(start_fake, tmp_path):
    fakes = [start_fake(slots=SLOTS, tokens=2), start_fake(slots=SLOTS, tokens=2)]
    async with lending(tmp_path, *fakes) as (slots, client, world):
        rows = [row(client, f"r{n}", each=1000.0) for n in range(SLOTS)]
        await holds(lambda: [running(each) for each in fakes] == [SLOTS / 2, SLOTS / 2])
        world.view = View(number=2, replicas=world.view.replicas[1:])
        await holds(lambda: [running(each) for each in fakes] == [0, SLOTS])
        world.view = View(number=3)
        await holds(lambda: running(fakes[1]) == 0)
        assert slots.use("job").reason == "no replica of chat that is ready has this package"
        assert not any(each.done() for each in rows)


@pytest.mark.slow
async def test_slots_stay_free_for_callers_and_another_package_has_none(start_fake, tmp_path):
    fake = start_fake(slots=SLOTS, tokens=2)
    async with lending(tmp_path, fake, rate=0.4) as (slots, client, _):
        other, *_ = [
            row(client, f"r{n}", model=of, each=1000.0) for n, of in enumerate(("other chat e", *[MODEL] * SLOTS))
        ]
        await holds(lambda: running(fake) == SLOTS - 1)
        assert slots.use("job").reason == "1 slots stay free for requests"
        assert not other.done()
        assert slots.use("other").reason == "no replica of chat that is ready has this package"


@pytest.mark.slow
async def test_a_row_that_ends_engines_is_given_up_and_others_are_answered(start_fake, tmp_path):
    async with lending(tmp_path, start_fake(slots=SLOTS, tokens=2)) as (_, client, _):
        answers = await asyncio.gather(*(row(client, f"r{n}") for n in range(20)))
        assert {each.status_code for each in answers} == {200}
        refused = await row(client, fault="error")
        assert refused.status_code == 500
        answer = await client.post("/v1/chat/completions", json={"model": "m"})
        assert (answer.status_code, answer.json()["error"]) == (400, "this is no request for idle slots")
        assert (await client.post("/v1/embeddings", json={"model": "job chat d"})).status_code == 404
        lost = await row(client, fault="die")
        assert lost.status_code in (500, 504)


@pytest.mark.slow
async def test_steps_that_get_longer_bound_the_rows(start_fake, tmp_path):
    fake = start_fake(slots=SLOTS, tokens=2)
    async with lending(tmp_path, fake, policy=IdlePolicy(slowdown=-1.0, samples=1)) as (slots, client, _):
        assert [row(client, f"r{n}", each=1000.0) for n in range(SLOTS)]
        await holds(lambda: (used := slots.use("job")) and "slow requests down" in used.reason)


@pytest.mark.slow
async def test_rows_wait_until_it_is_seen_how_long_steps_take_without_them(start_fake, tmp_path):
    fake = start_fake(slots=SLOTS, tokens=2)
    async with lending(tmp_path, fake, listen=PATIENCE) as (slots, client, _):
        waits = row(client)
        await holds(lambda: (used := slots.use("job")) and used.reason.startswith("first it is seen"))
        assert running(fake) == 0
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=fake.path), timeout=PATIENCE) as caller:
            body = {"model": "chat", "messages": [{"role": "user", "content": "a caller"}], "fake": {"each": 4.0}}
            await caller.post("http://x/v1/chat/completions", json=body)
        assert (await waits).status_code == 200
