"""The loop against a target and a gateway that fail on command, over a real database."""

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from argosy.control.controller import Controller
from argosy.control.state import State
from argosy.spec.address import Address
from argosy.spec.endpoint import Endpoint
from argosy.spec.errors import NotFound, Unavailable
from argosy.spec.revision import Replica, ResourceUsage, Revision, RevisionStatus
from argosy.spec.settings import GatewaySettings
from argosy.store.database import Database
from argosy.store.keys import Keys


class Target:
    """Replicas that become ready when they are told to."""

    changed: Callable[[], None]

    def __init__(self) -> None:
        self.known: dict[str, Revision] = {}
        self.want: dict[str, int] = {}
        self.ready: dict[str, int] = {}
        self.released: list[str] = []
        self.removed: list[str] = []

    async def adopt(self) -> int:
        return sum(self.want.values())

    async def revisions(self) -> list[Revision]:
        return list(self.known.values())

    async def scale(self, revision: Revision, replicas: int) -> None:
        self.known[revision.id], self.want[revision.id] = revision, replicas

    async def endpoints(self, revision: str) -> RevisionStatus:
        ready, want = self.ready.get(revision, 0), self.want[revision]
        phases = ["ready"] * min(ready, want) + ["draining"] * max(0, ready - want)
        return RevisionStatus(replicas=tuple(self.replica(revision, n, phase) for n, phase in enumerate(phases)))

    def replica(self, revision: str, n: int, phase: Any) -> Replica:
        path = f"/{revision}-{n}"
        return Replica(id=path[1:], endpoint="d", revision=revision, phase=phase, http=Address(path=path), started=0.0)

    async def remove(self, revision: str) -> None:
        self.removed.append(revision)
        del self.known[revision], self.want[revision]

    async def release(self, replicas: Collection[str]) -> None:
        self.released += replicas

    async def retry(self, revision: str) -> None: ...

    async def usage(self) -> dict[str, ResourceUsage]:
        return {}

    async def stop(self) -> None: ...

    async def close(self) -> None: ...


class Gateway:
    """Takes what it is given, unless it refuses."""

    def __init__(self) -> None:
        self.refuses = False
        self.runs = True
        self.settled = True
        self.routes: list[Any] = []
        self.applied = self.started = 0

    async def start(self, endpoints: Any, keys: Any) -> None:
        self.runs, self.routes, self.started = True, list(endpoints), self.started + 1

    async def apply(self, endpoints: Any, keys: Any) -> bool:
        if self.refuses:
            raise Unavailable("it said no")
        self.routes, self.applied = list(endpoints), self.applied + 1
        return True

    async def sweep(self) -> None: ...

    async def stats(self) -> dict[tuple[str, str], Any]:
        return {}

    async def url(self) -> str:
        return "http://127.0.0.1:8080"

    def traffic(self) -> list[str]:
        return [each.revision for route in self.routes for each in route.revisions]


class World:
    def __init__(self, database: Database) -> None:
        self.state, self.target, self.gateway = State(database), Target(), Gateway()
        self.keys = Keys(database)
        self.controller = self.restarted()

    def restarted(self) -> Controller:
        return Controller(self.state, self.keys, self.target, self.gateway, GatewaySettings())  # pyright: ignore

    def declare(self, revision: str, replicas: int = 1) -> None:
        version = str(ord(revision) - ord("a") + 1)
        endpoint = Endpoint(name="d", model=f"m:{version}", replicas=replicas)
        self.state.declare(endpoint, Revision(id=revision, endpoint="d", model="m", version=version, digest="sha256:0"))


@pytest.fixture
async def world(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path}/a.db").create()
    made = World(database)
    await made.controller.start(gateway_runs=True)
    yield made
    database.close()


async def test_from_one_revision_to_the_next(world: World):
    world.declare("a", 2)
    await world.controller.step()
    assert world.target.want == {"a": 2}
    assert world.gateway.traffic() == []
    world.target.ready["a"] = 2
    await world.controller.step()
    assert world.gateway.traffic() == ["a"]
    assert world.controller.view.endpoints["d"].state == "ready"
    world.declare("b", 2)
    await world.controller.step()
    assert (world.gateway.traffic(), world.target.want) == (["a"], {"a": 2, "b": 2})
    assert world.controller.view.endpoints["d"].state == "updating"
    world.target.ready["b"] = 2
    await world.controller.step()
    assert (world.gateway.traffic(), world.target.removed) == (["b"], [])
    await world.controller.step()
    assert world.target.removed == ["a"]


async def test_a_route_that_is_what_it_was_stays_the_same_object(world: World):
    copied = SimpleNamespace(admit=lambda routes, _: [msgspec.structs.replace(each) for each in routes])  # pyright: ignore
    world.controller.activation = copied  # pyright: ignore
    world.declare("a")
    world.target.ready["a"] = 1
    for _ in range(2):
        await world.controller.step()
    (before,) = world.gateway.routes
    world.keys.create("k", ("*",))
    applied = world.gateway.applied
    await world.controller.step()
    assert world.gateway.applied == applied + 1
    assert world.gateway.routes[0] is before


async def test_nothing_is_stopped_while_the_gateway_refuses(world: World):
    world.declare("a")
    world.target.ready = {"a": 1, "b": 1}
    await world.controller.step()
    await world.controller.step()
    world.declare("b")
    world.gateway.refuses = True
    for _ in range(4):
        await world.controller.step()
    assert (world.gateway.traffic(), world.target.removed) == (["a"], [])
    assert "it said no" in world.controller.view.error
    world.gateway.refuses = False
    await world.controller.step()
    await world.controller.step()
    assert (world.gateway.traffic(), world.target.removed) == (["b"], ["a"])
    assert world.controller.view.error == ""


async def test_what_drains_is_let_go_only_when_the_gateway_knows(world: World):
    world.declare("a", 2)
    world.target.ready["a"] = 2
    await world.controller.step()
    await world.controller.step()
    world.gateway.refuses = True
    world.declare("a", 1)
    await world.controller.step()
    await world.controller.step()
    assert world.target.released == []
    world.gateway.refuses, world.gateway.settled = False, False
    await world.controller.step()
    assert world.target.released == []
    world.gateway.settled = True
    await world.controller.step()
    assert world.target.released == ["a-1"]


async def test_a_new_controller_changes_nothing(world: World):
    world.declare("a")
    world.target.ready["a"] = 1
    await world.controller.step()
    await world.controller.step()
    again = world.restarted()
    assert await again.start(gateway_runs=True) == 1
    await again.step()
    assert (world.gateway.traffic(), world.gateway.started) == (["a"], 0)
    assert again.view.endpoints["d"].state == "ready"


async def test_an_endpoint_deleted_while_nobody_looked_loses_its_replicas(world: World):
    world.declare("a")
    world.target.ready["a"] = 1
    await world.controller.step()
    await world.controller.step()
    world.state.delete("d")
    again = world.restarted()
    await again.start(gateway_runs=True)
    await again.step()
    assert (world.gateway.traffic(), world.target.removed) == ([], ["a"])


async def test_a_gateway_that_died_is_started_with_the_routes_it_had(world: World):
    world.declare("a")
    world.target.ready["a"] = 1
    await world.controller.step()
    await world.controller.step()
    world.gateway.runs, world.gateway.routes = False, []
    await world.controller.step()
    assert (world.gateway.started, world.gateway.traffic()) == (1, ["a"])


async def test_a_database_that_goes_away_stops_nothing(world: World, monkeypatch: pytest.MonkeyPatch):
    world.declare("a")
    world.target.ready["a"] = 1
    await world.controller.step()
    await world.controller.step()

    def gone() -> None:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(world.state, "endpoints", gone)
    await world.controller.step()
    assert world.gateway.traffic() == ["a"]
    assert "does not answer" in world.controller.view.error
    monkeypatch.undo()
    await world.controller.step()
    assert world.controller.view.error == ""


async def test_a_takeover_that_cannot_be_noted_is_not_made(world: World, monkeypatch: pytest.MonkeyPatch):
    world.declare("a")
    world.target.ready = {"a": 1, "b": 1}
    await world.controller.step()
    await world.controller.step()
    world.declare("b")
    await world.controller.step()

    def full(*_: object) -> None:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(world.controller.analysis.rollouts, "note", full)
    await world.controller.step()
    assert (world.gateway.traffic(), world.target.want) == (["a"], {"a": 1, "b": 1})
    monkeypatch.undo()
    await world.controller.step()
    assert world.gateway.traffic() == ["b"]


async def test_the_loop_survives_a_bug_and_waiters_are_told(world: World, monkeypatch: pytest.MonkeyPatch):
    def bug() -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(world.state, "endpoints", bug)
    loop = asyncio.create_task(world.controller.run())
    await world.controller.settled()
    assert world.controller.view.error == "ValueError: a bug"
    monkeypatch.undo()
    world.declare("a", 0)
    assert (await world.controller.wait("d", 10)).state == "stopped"
    with pytest.raises(NotFound, match="did you mean 'd'"):
        await world.controller.wait("dd", 10)
    assert world.controller.gateway_url == "http://127.0.0.1:8080"
    loop.cancel()


async def test_nothing_is_denied_before_it_was_looked_at(world: World, monkeypatch: pytest.MonkeyPatch):
    def bug() -> None:
        raise ValueError("a bug")

    world.declare("a", 0)
    monkeypatch.setattr(world.state, "endpoints", bug)
    loop = asyncio.create_task(world.controller.run())
    with pytest.raises(Unavailable, match="has just begun: ValueError: a bug"):
        await world.controller.wait("d", 10)
    with pytest.raises(Unavailable):
        world.controller.seen()
    monkeypatch.undo()
    await world.controller.settled()
    assert set(world.controller.seen().endpoints) == {"d"}
    loop.cancel()
