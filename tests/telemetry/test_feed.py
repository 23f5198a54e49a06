"""One reading of the gateway's counters and of each replica's serves all who ask at a time."""

import asyncio
import logging

import pytest

from argosy.gateway.traffic import Traffic
from argosy.serving.counts import Counts
from argosy.spec.address import Address
from argosy.spec.errors import Unavailable
from argosy.spec.revision import Replica
from argosy.telemetry import feed
from argosy.telemetry.counters import ProcessCounts
from argosy.telemetry.feed import FRESH, Feed

REPLICA = Replica(id="r", endpoint="e", revision="v", phase="ready", http=Address(), started=1.0)


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.read, self.trouble = 100.0, 0, ""
        self.feed = Feed(self.gateway, clock=lambda: self.now)
        monkeypatch.setattr(feed, "read", self.process)

    async def gateway(self) -> dict[tuple[str, str], Traffic]:
        self.read += 1
        if self.trouble:
            raise Unavailable(self.trouble)
        return {("e", "v"): Traffic(completed=self.read)}

    async def process(self, replica: Replica) -> ProcessCounts:
        self.read += 1
        return ProcessCounts(replica.started, Counts(requests=self.read))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_the_gateway_is_read_once_a_tick(world: World):
    first = await world.feed.traffic()
    assert await world.feed.traffic() == first
    world.now += FRESH
    assert await world.feed.traffic() == {("e", "v"): Traffic(completed=2)}
    world.now -= 3600
    assert await world.feed.traffic() == {("e", "v"): Traffic(completed=3)}, "a clock that goes back hides nothing"


async def test_a_replica_is_read_once_a_tick(world: World):
    first = await world.feed.processes([REPLICA])
    assert first == await world.feed.processes([REPLICA]) == {"r/1.0": ProcessCounts(1.0, Counts(requests=1))}
    world.now += FRESH
    assert (await world.feed.processes([REPLICA]))["r/1.0"] == ProcessCounts(1.0, Counts(requests=2))
    assert await world.feed.processes([]) == {}


async def test_a_gateway_that_does_not_answer_is_logged_once(world: World, caplog: pytest.LogCaptureFixture):
    world.trouble = "nobody listens"
    for _ in range(3):
        with pytest.raises(Unavailable):
            await world.feed.traffic()
    logged = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert logged == ["the counters of the gateway cannot be read: nobody listens"]
    world.trouble = ""
    await world.feed.traffic()
    world.trouble = "nobody listens"
    world.now += FRESH
    with pytest.raises(Unavailable):
        await world.feed.traffic()
    assert len(caplog.records) == 2, "trouble that comes back is logged again"


async def test_replicas_that_say_nothing_keep_nobody_waiting_for_long(world: World, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    async def silent(replica: Replica) -> ProcessCounts | None:
        asked.append(replica.id)
        if replica.id == "0":
            return ProcessCounts(replica.started, Counts(requests=1))
        await asyncio.Event().wait()
        return None

    monkeypatch.setattr(feed, "read", silent)
    monkeypatch.setattr(feed, "TIMEOUT", 0.05)
    many = [
        Replica(id=str(n), endpoint="e", revision="v", phase="ready", http=Address(), started=0.0) for n in range(500)
    ]
    found = await world.feed.processes(many)
    assert len(asked) == feed.AT_ONCE + 1
    assert [run for run, each in found.items() if each is not None] == [many[0].run]
    assert len(found) == len(many)
