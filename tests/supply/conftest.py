"""A platform's launches, a clock that is set by hand, and a provider that is played."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.spec.errors import ArgosyError
from argosy.spec.offer import Launch, Offer
from argosy.spec.provider import Faults
from argosy.store.database import Database
from argosy.store.launches import Launches
from argosy.supply.launcher import Launcher
from argosy.supply.replay import Replay

OFFER = Offer(provider="cloud", region="r1", zone="r1a", instance="a10g.1", price=1.0, gpu="A10G", count=1)


class Scene:
    """A launcher at one played provider; `restart` is what a controller that was killed begins with."""

    def __init__(self, path: Path, **given) -> None:
        self.now = 1000.0
        self.database = Database(path)
        self.launches = Launches(self.database)
        faults = Faults(**{key: given.pop(key) for key in [*given] if key in Faults.__struct_fields__})
        self.cloud = Replay("cloud", [OFFER], clock=self.clock, faults=faults, **given)
        self.launcher = self.restart()

    def clock(self) -> float:
        return self.now

    def restart(self) -> Launcher:
        self.launcher = Launcher(
            self.launches,
            {"cloud": self.cloud},
            clock=self.clock,
        )
        return self.launcher

    def rounds(self, count: int = 1, seconds: float = 10.0) -> list:
        """Rounds, one each so many seconds; what the last one found."""
        found = []
        for _ in range(count):
            self.now += seconds
            try:
                found = self.launcher.tend("cloud")
            except ArgosyError as error:
                found = [error]
        return found

    def stands(self, launch: Launch) -> Launch:
        return self.launches.get(launch.id)

    def running(self) -> list[Launch]:
        return [each for each in self.cloud.bill() if each.ended is None]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator:
    made = []

    def make(**given) -> Scene:
        made.append(Scene(tmp_path / f"{len(made)}.db", **given))
        return made[-1]

    yield make
    for each in made:
        each.database.close()
