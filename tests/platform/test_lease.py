"""One leader at a time, on both databases; takeover on a real PostgreSQL."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable

import pytest

from argosy.control.state import State
from argosy.platform import leftovers
from argosy.platform.lease import Lease, keep, win
from argosy.spec.errors import Conflict
from argosy.spec.settings import Home, load
from argosy.store import open_store
from argosy.store.database import Database
from tests import postgres as stores
from tests.platform.packages import push
from tests.platform.up import Up, clear, until

LEADER = [sys.executable, "-m", "argosy.platform"]


def pair(database: Database, url: str, seconds: float = 60.0) -> tuple[Lease, Lease]:
    return Lease(database, "here", seconds), Lease(Database(url), "there", seconds)


def test_one_leads_and_the_other_only_when_the_lease_is_over(database: Database, url: str):
    a, b = pair(database, url)
    assert (a.take(), b.take(), b.leader()) == (True, False, "here")
    assert a.renew()
    assert not b.take()
    a.seconds = 1.0
    assert a.renew()
    until(b.take)
    assert b.term == a.term + 1
    assert not a.renew()
    b.release()
    assert a.take()
    b.database.close()


def test_what_a_replaced_leader_writes_is_refused(database: Database, url: str):
    a, b = pair(database, url, 0.0)
    assert a.take()
    database.fence = a.fence
    state = State(database)
    assert state.endpoints() == []
    assert b.take()
    with pytest.raises(Conflict, match="another platform leads"), database.begin():
        pytest.fail("the block is not entered")
    b.database.close()


def test_nobody_takes_over_in_the_middle_of_a_leaders_write(database: Database, url: str):
    a, b = pair(database, url, 0.0)
    assert a.take()
    database.fence = a.fence
    order: list[str] = []

    def take() -> None:
        b.take()
        order.append("taken")

    with database.begin():
        other = threading.Thread(target=take)
        other.start()
        time.sleep(0.2)
        order.append("written")
    other.join()
    assert order == ["written", "taken"]
    b.database.close()


def test_the_same_home_does_not_wait_for_its_own_lease(database: Database, url: str):
    a = Lease(database, "here")
    b = Lease(Database(url), "here")
    assert (a.take(), b.take()) == (True, True)
    assert not a.renew()
    b.database.close()


def test_many_at_once_make_one_leader(database: Database, url: str):
    others = [Lease(Database(url), f"n{n}", 60.0) for n in range(6)]
    won: list[bool] = []
    threads = [threading.Thread(target=lambda each=each: won.append(each.take())) for each in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 5 + [True]
    for each in others:
        each.database.close()


async def test_losing_is_told_and_a_standby_can_be_stopped(database: Database, url: str):
    a, b = pair(database, url)
    stopping, lost, said = asyncio.Event(), asyncio.Event(), list[str]()
    assert await win(a, stopping, standby=False, report=said.append)
    with pytest.raises(Conflict, match="led by here"):
        await win(b, stopping, standby=False, report=said.append)
    waiting = asyncio.create_task(win(b, stopping, standby=True, report=said.append))
    async with asyncio.timeout(60):
        while not said:
            await asyncio.sleep(0.01)
    a.seconds = 0.0
    assert a.renew()
    assert await waiting
    assert said == ["standby   here leads"]
    async with asyncio.timeout(60):
        await keep(a, lost.set, period=0.01)
    assert lost.is_set()
    stopping.set()
    assert not await win(a, stopping, standby=True, report=said.append)
    b.database.close()


@pytest.fixture
def shared(home: Home, postgres: str) -> str:
    """A PostgreSQL database that the home's settings name."""
    url = stores.schema(postgres)
    home.config.write_text(f"control: {{port: 0}}\ngateway: {{port: 0}}\nstore: {{database: '{url}'}}\n")
    return url


@pytest.mark.slow
def test_a_standby_of_the_same_home_adopts_everything(home: Home, shared: str, start: Callable[..., Up]):
    store = open_store(home, load(home, {}))
    push(store, home.root / "p", 2.0)
    store.close()
    leader = start().ready()
    leader.call("PUT", "/v1/endpoints/digits", {"model": "digits:1", "replicas": 1}, wait=60)
    replicas, gateway = leader.pids(), leftovers.gateways(home)
    standby = start([*LEADER, "--standby"])
    until(lambda: "standby" in standby.out.read_text())
    leader.kill()
    standby.ready()
    assert standby.call("GET", "/v1/endpoints/digits", wait=30)["state"] == "ready"
    assert (standby.pids(), leftovers.gateways(home)) == (replicas, gateway)
    assert standby.stop() == 0


@pytest.mark.slow
def test_a_standby_of_another_home_takes_over_the_declarations(
    home: Home, shared: str, start: Callable[..., Up], tmp_path_factory: pytest.TempPathFactory
):
    leader = start().ready()
    refused = Home(tmp_path_factory.mktemp("h")).create()
    refused.config.write_text(home.config.read_text())
    second = Up(refused)
    assert second.process.wait(60) == Conflict.exit
    assert "led by" in second.out.read_text()
    standby = Up(refused, [*LEADER, "--standby"])
    try:
        until(lambda: "standby" in standby.out.read_text())
        leader.kill()
        standby.ready()
        assert standby.stop() == 0
    finally:
        if standby.process.poll() is None:
            standby.kill()
        clear(refused)
