"""The hourly look for drift, on a fake clock and real profiles."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.control.looks import LATE, Looks
from argosy.control.revision import revision_of
from argosy.control.state import State
from argosy.packaging.package import open_package
from argosy.profiles import shelf
from argosy.profiles.layout import layout
from argosy.profiles.recorder import Recorder
from argosy.spec.endpoint import Endpoint
from argosy.spec.settings import Home, Settings
from argosy.store import alerts, findings, open_store
from tests.monitoring.recorder import shop

START = 1_767_225_600.0
EVERY = 3600


class World:
    """A store with the shop declared, and hours of requests."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root / "h").create()
        self.store = open_store(self.home, Settings())
        self.state = State(self.store.database)
        version = shop.push(self.store, root / "package")
        endpoint = Endpoint(name="shop", model="shop:1")
        self.state.declare(endpoint, revision_of(endpoint, version))
        package = open_package(root / "package")
        profile = package.profile()
        assert profile is not None
        self.layout = layout(profile, package.manifest.signature)
        self.now, self.hour = START, 0
        self.looks = self.fresh()

    def fresh(self) -> Looks:
        """As after a restart of the controller."""
        return Looks(self.store, self.state, EVERY, clock=lambda: self.now)

    def pass_hour(self, older: float = 0.0, n: int = 300) -> None:
        """One more hour of requests by people who are older than those of the sample, and a look at it."""
        recorder = Recorder(self.layout, "1")
        rows = shop.rows(n, seed=100 + self.hour)
        rows["x"][:, 0] += older
        recorder.add(START + self.hour * EVERY + 60, rows, shop.answers(rows))
        self.hour += 1
        self.now = START + self.hour * EVERY + LATE + 1
        shelf.write(self.home.profiles, "shop", recorder.take(self.now))
        self.looks.look()

    def verdicts(self) -> dict[str, str]:
        """Of the last window."""
        found = findings.read(self.store.database, "shop", ["drift"], 0)
        return {one.subject: one.verdict for one in found if one.window_end == START + self.hour * EVERY}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.store.close()


def test_calm_then_drift_is_found_and_told_once(world: World):
    for _ in range(3):
        world.pass_hour()
    assert set(world.verdicts().values()) == {"no drift"}
    assert alerts.read(world.store.database) == []
    world.looks = world.fresh()
    for _ in range(2):
        world.pass_hour(older=30)
    assert (world.verdicts()["age"], world.verdicts()["income"]) == ("drift", "no drift")
    fired = [each for each in alerts.read(world.store.database) if each.subject == "age"]
    assert [(each.state, each.endpoint, each.kind) for each in fired] == [("firing", "shop", "drift")]
    assert "'age' of version 1 has drifted" in fired[0].text


def test_a_window_is_looked_at_once(world: World):
    world.pass_hour()
    before = findings.read(world.store.database, "shop", ["drift"], 0)
    state = (world.home.root / "drift/shop.look").read_bytes()
    world.fresh().look()
    assert findings.read(world.store.database, "shop", ["drift"], 0) == before
    assert (world.home.root / "drift/shop.look").read_bytes() == state


def test_broken_memory_begins_anew(world: World):
    world.pass_hour()
    (world.home.root / "drift/shop.look").write_bytes(b"broken")
    world.pass_hour()
    assert set(world.verdicts().values()) == {"no drift"}


def test_alerts_of_an_endpoint_that_is_gone_are_over(world: World):
    world.pass_hour(older=40)
    assert {each.state for each in alerts.read(world.store.database)} == {"firing"}
    world.state.delete("shop")
    world.now += EVERY
    world.looks.look()
    assert {each.state for each in alerts.read(world.store.database)} == {"resolved"}
    assert not (world.home.root / "drift/shop.look").exists()


def test_alerts_of_a_version_that_serves_no_more_are_over(world: World):
    world.pass_hour(older=40)
    assert {each.state for each in alerts.read(world.store.database)} == {"firing"}
    endpoint = Endpoint(name="shop", model="shop:2")
    world.state.declare(endpoint, revision_of(endpoint, shop.push(world.store, world.home.root / "second")))
    world.now += EVERY
    world.looks.look()
    assert {each.state for each in alerts.read(world.store.database)} == {"resolved"}
