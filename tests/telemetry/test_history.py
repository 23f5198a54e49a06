"""What is written every minute, and what is told of it."""

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from argosy.api import traffic as traffic_api
from argosy.api.traffic import Span, quantile
from argosy.gateway.traffic import Bin, Traffic
from argosy.serving.counts import bucket
from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.spec.status import View
from argosy.store import traffic
from argosy.store.database import Database
from argosy.store.traffic import HOUR, MINUTE
from argosy.telemetry import history
from argosy.telemetry.feed import Feed
from argosy.telemetry.history import Minutes

START = 1_767_225_600


class World:
    """A gateway's counters, a clock, and what serves."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path / "t.db").create()
        self.now = START + 0.1
        self.counts: dict[tuple[str, str], Traffic] = {}
        status: Any = SimpleNamespace(serving_revision="a")
        replica: Any = SimpleNamespace(endpoint="digits", revision="a", phase="ready")
        self.view = View(endpoints={"digits": status}, replicas=(replica,))
        self.minutes = Minutes(
            self.database,
            Feed(self.stats, clock=lambda: self.now),
            lambda: self.view,
            lambda: {"a": "digits:1"},
            clock=lambda: self.now,
        )

    async def stats(self) -> dict[tuple[str, str], Traffic]:
        return self.counts

    async def minute(self, **counts: Traffic) -> None:
        self.now += MINUTE
        self.counts = {("digits", key): each for key, each in counts.items()}
        await self.minutes.write()

    def rows(self) -> list[tuple[int, str, int]]:
        return [
            ((r.at - START) // MINUTE, r.revision, r.requests) for r in traffic.read(self.database, "digits", 0, MINUTE)
        ]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.database.close()


async def test_a_minute_is_the_difference_and_one_without_requests_is_written_too(world: World):
    await world.minutes.write()
    await world.minute(a=Traffic(completed=5))
    await world.minute(a=Traffic(completed=5))
    await world.minute(a=Traffic(completed=9), b=Traffic(completed=2), **{"@waiting": Traffic(completed=7)})
    assert world.rows() == [(0, "a", 5), (1, "a", 0), (2, "a", 4), (2, "b", 2)]
    first = traffic.read(world.database, "digits", 0, MINUTE)[0]
    assert (first.version, first.replicas) == ("digits:1", 1)


async def test_a_restart_counts_from_its_own_first_look(world: World):
    world.counts = {("digits", "a"): Traffic(completed=1_000_000)}
    await world.minutes.write()
    await world.minute(a=Traffic(completed=1_000_001))
    assert world.rows() == [(0, "a", 1)]


async def test_what_cannot_be_written_is_written_with_the_next(world: World, monkeypatch: pytest.MonkeyPatch):
    await world.minutes.write()

    def full(*_: object) -> None:
        raise Unavailable("no database")

    with monkeypatch.context() as broken:
        broken.setattr(history.traffic, "write", full)
        with pytest.raises(Unavailable):
            await world.minute(a=Traffic(completed=5))
    await world.minute(a=Traffic(completed=7))
    assert world.rows() == [(1, "a", 7)]


async def test_an_error_does_not_end_the_task(world: World):
    calls = 0

    async def silent() -> dict[tuple[str, str], Traffic]:
        nonlocal calls
        calls += 1
        world.now = START + MINUTE - 0.06
        raise Unavailable("the gateway does not answer")

    broken = Minutes(world.database, Feed(silent), lambda: world.view, dict, clock=lambda: world.now)
    task = asyncio.create_task(broken.run())
    async with asyncio.timeout(60):
        while calls < 2:
            await asyncio.sleep(0.02)
    task.cancel()


async def test_hours_are_written_as_they_end(world: World):
    await world.minutes.write()
    for number in range(1, 62):
        await world.minute(a=Traffic(completed=10 * number))
    with world.database.read() as connection:
        found = connection.execute(traffic.sa.select(traffic.T.requests).where(traffic.T.width == HOUR)).scalars().all()
    assert list(found) == [600]


@pytest.mark.parametrize("milliseconds", [0.5, 10.5, 350.0, 20_000.0])
def test_a_quantile_is_right_to_five_percent(milliseconds: float):
    found = quantile({bucket(milliseconds / 1000): 7}, 0.5)
    assert found == pytest.approx(milliseconds, rel=0.05)
    assert quantile({}, 0.5) is None
    assert math.isfinite(quantile({bucket(1e6): 1}, 0.99) or math.nan)


def test_a_span_must_make_sense():
    for more in ({"since": 1}, {"since": 10**9}, {"step": 0}, {"step": 61}, {"since": 30 * 86400, "step": 60}):
        with pytest.raises(InvalidArgument):
            Span(**more)


async def test_a_week_is_told_by_hours_and_a_day_by_minutes(world: World, monkeypatch: pytest.MonkeyPatch):
    await world.minutes.write()
    for number in range(1, 122):
        await world.minute(a=Traffic(completed=60 * number, latency=(Bin(10, 1, 60 * number),)))
    monkeypatch.setattr(traffic_api.time, "time", lambda: world.now)
    day = traffic_api.over_time(world.database, "digits", world.now - 86400, 60)
    week = traffic_api.over_time(world.database, "digits", world.now - 7 * 86400, 60)
    assert (len(day), {each.requests for each in day}, {each.seconds for each in day}) == (121, {60}, {60})
    assert [(each.requests, each.seconds) for each in week] == [(3600, 3600), (3600, 3600), (60, 60)]
    assert week[0].p50 == pytest.approx(10.5, rel=0.05)
