"""What the suite of every target (`test_every_target.py`) asks of a place to try one in, and what its tests share."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from argosy.spec.endpoint import Runtime
from argosy.spec.revision import Revision, RevisionStatus
from argosy.spec.settings import Home, RaySettings, Settings, load
from argosy.store.authority import Authority
from argosy.targets.base import Admitted, Target
from argosy.targets.launch import Unpacked
from argosy.targets.local import LocalTarget
from argosy.targets.ray.target import RayTarget
from argosy.targets.tags import scan
from tests.batch.nodes import Nodes

STAND_IN = (sys.executable, "-S", str(Path(__file__).with_name("stand_in.py")))
ID = "abc123def0"


def authority(home: Home) -> Authority:
    return Authority(home.root / "tls" / "replicas", "p")


class Lab(Protocol):
    """A home and a target in it, whose replicas are stand-ins (`stand_in.py`), which begin to listen within `begins`
    seconds."""

    home: Home
    begins: float

    def behave(self, how: str) -> None:
        """How stand-ins that start from now on behave."""
        ...

    async def target(self, refused: Callable[[], Exception | None] = lambda: None) -> Target:
        """A new one that has adopted what runs. `refused` says why no package may be loaded."""
        ...

    def left(self) -> list[object]:
        """What runs, or lies where it ran, of replicas."""
        ...


class LocalLab:
    """On this machine, reached by `network`."""

    begins = 3.0

    def __init__(self, home: Home, network: str) -> None:
        self.home = home.create()
        home.config.write_text(f"replicas: {{network: {network}}}\n")
        (home.packages / "p").mkdir()
        self.behave("ok")

    def behave(self, how: str) -> None:
        (self.home.packages / "p" / "behaviour").write_text(how)

    async def target(self, refused: Callable[[], Exception | None] = lambda: None) -> LocalTarget:
        def fetch(_: Revision) -> Unpacked:
            if (error := refused()) is not None:
                raise error
            return Unpacked(self.home.packages / "p")

        network = load(self.home, {}).replicas.network
        local = LocalTarget(self.home, fetch, signs=lambda: authority(self.home), command=STAND_IN, network=network)
        await local.adopt()
        return local

    def left(self) -> list[object]:
        return [*scan(self.home.root), *(self.home.run / "r").iterdir()]

    def close(self) -> None:
        for one in scan(self.home.root):
            one.process.kill()


class RayLab:
    """On a Ray cluster whose nodes have this home, and see the files of the lab's."""

    begins = 3.0

    def __init__(self, home: Home, cluster: Nodes, nodes: Path) -> None:
        self.home, self.nodes = home.create(), Home(nodes / "ray")
        (home.packages / "p").mkdir()
        self.behave("ok")
        self.settings = Settings(ray=RaySettings(address=cluster.address))

    def behave(self, how: str) -> None:
        (self.home.packages / "p" / "behaviour").write_text(how)

    async def target(self, refused: Callable[[], Exception | None] = lambda: None) -> RayTarget:
        def admit(_: Revision) -> Admitted:
            if (error := refused()) is not None:
                raise error
            return Admitted(trusted=False, signed=False)

        package = self.home.packages / "p"
        made = RayTarget(
            self.home,
            self.settings,
            admit,
            platform="p",
            signs=lambda: authority(self.home),
            command=STAND_IN,
            unpack=lambda _: package,
        )
        await made.adopt()
        return made

    def left(self) -> list[object]:
        return [*scan(self.nodes.root), *(self.nodes.run / "r").iterdir(), *(self.home.run / "ray").iterdir()]

    def close(self) -> None:
        for one in scan(self.nodes.root):
            one.process.kill()


def revision(**runtime: float) -> Revision:
    return Revision(
        id=ID, endpoint="digits", model="digits", version="1", digest="sha256:0", runtime=Runtime(**runtime)
    )


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 100.0) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def ready(target: Target, n: int) -> RevisionStatus:
    """What is known once `n` serve and no other is there."""

    async def there() -> bool:
        found = await target.endpoints(ID)
        return found.ready == n == len(found.replicas)

    await until(there)
    return await target.endpoints(ID)


async def runs(target: Target) -> set[str]:
    """Which runs of replicas serve."""
    return {each.run for each in (await target.endpoints(ID)).replicas if each.phase == "ready"}


async def replaced(target: Target, n: int, gone: str) -> bool:
    """Whether `n` serve, and none is the run that is gone."""
    found = await runs(target)
    return len(found) == n and gone not in found


async def failed(target: Target, why: str) -> bool:
    return why in (await target.endpoints(ID)).failed


async def empty(target: Target) -> bool:
    return not (await target.endpoints(ID)).replicas
