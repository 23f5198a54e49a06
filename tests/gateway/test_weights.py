"""Weights: changed by routes alone, under load, and kept to."""

import asyncio
import math

import pytest

from tests.gateway.kit import http, revision, shared

INFER = "/v2/models/digits/infer"
SPREAD = 5.0
"""Standard deviations: one false alarm in about two million runs."""


def near(seen: int, expected: float, variance: float) -> bool:
    """Whether a sum of coin tosses is where it should be."""
    return abs(seen - expected) <= SPREAD * math.sqrt(variance) + 1


async def test_weights_change_by_routes_alone(gateway, replica):
    a, b = await replica("a"), await replica("b")

    def route(weight):
        return [shared(revision("r1", "1", a, weight=100 - weight), revision("r2", "2", b, weight=weight))]

    await gateway.start(route(0))
    before = {name: gateway.files.get(name).version_info for name in gateway.files.names()}
    async with await http(gateway) as client:
        for weight in (1, 50, 99, 100, 0):
            assert await gateway.apply(route(weight))
            after = {name: gateway.files.get(name).version_info for name in gateway.files.names()}
            assert {name for name in after if after[name] != before.get(name)} == {"rds.json"}
            before = after
            seen = {(await client.post(INFER, content=b"x")).json()["replica"] for _ in range(10)}
            assert seen <= {"a", "b"} if 0 < weight < 100 else seen == {"b" if weight else "a"}
        assert (await client.post("/v2/models/digits/versions/2/infer")).json()["replica"] == "b"


@pytest.mark.slow
async def test_two_hundred_changes_under_load_lose_nothing_and_keep_the_shares(gateway, replica):
    a, b = await replica("a"), await replica("b")
    now = [0, 0]
    """The weight in use, and which change it is."""
    seen, expected, variance, failed, counted = 0, 0.0, 0.0, 0, 0
    stop = asyncio.Event()

    def route(weight):
        return [shared(revision("r1", "1", a, weight=100 - weight), revision("r2", "2", b, weight=weight))]

    async def load(client):
        nonlocal seen, expected, variance, failed, counted
        while not stop.is_set():
            weight, change = now
            answer = await client.post(INFER, content=b"x" * 100)
            failed += answer.status_code != 200
            if change == now[1] and change >= 0:
                seen += answer.headers["x-argosy-replica"] == "b"
                expected += weight / 100
                variance += weight / 100 * (1 - weight / 100)
                counted += 1

    await gateway.start(route(0))
    async with await http(gateway) as client:
        workers = [asyncio.create_task(load(client)) for _ in range(4)]
        for change in range(200):
            weight = (change * 37 + 5) % 101
            now[1] = -1
            await gateway.apply(route(weight))
            now[:] = [weight, change]
            while counted < 3 * change:
                await asyncio.sleep(0.001)
        stop.set()
        await asyncio.gather(*workers)
    assert failed == 0
    assert variance > 50
    assert near(seen, expected, variance)


@pytest.mark.slow
async def test_a_share_is_within_binomial_bounds(gateway, replica):
    a, b = await replica("a"), await replica("b")
    await gateway.start([shared(revision("r1", "1", a, weight=95), revision("r2", "2", b, weight=5))])
    async with await http(gateway) as client:
        for _ in range(1000):
            assert (await client.post(INFER, content=b"x")).status_code == 200
    assert len(a.seen) + len(b.seen) == 1000
    assert near(len(b.seen), 50, 47.5)
