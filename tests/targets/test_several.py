"""Several targets as one."""

import asyncio

import pytest

from argosy.spec.address import Address
from argosy.spec.errors import InvalidArgument
from argosy.spec.revision import Replica, Revision, RevisionStatus
from argosy.targets.several import Targets


def revision(id: str, target: str) -> Revision:
    return Revision(id=id, endpoint="digits", model="digits", version="1", digest="sha256:0", target=target)


class Place:
    """A target in memory, whose replicas are ready at once."""

    def __init__(self, name: str, *there: Revision) -> None:
        self.name, self.changed, self.released = name, lambda: None, []
        self.wanted = {each.id: (each, 1) for each in there}

    async def adopt(self) -> int:
        return len(self.wanted)

    async def revisions(self) -> list[Revision]:
        return [each for each, _ in self.wanted.values()]

    async def scale(self, revision: Revision, replicas: int) -> None:
        self.wanted[revision.id] = (revision, replicas)
        self.changed()

    async def endpoints(self, revision: str) -> RevisionStatus:
        one = Replica(
            id=f"{self.name}-0", endpoint="digits", revision=revision, phase="ready", http=Address(port=1), started=0
        )
        return RevisionStatus(replicas=(one,) * self.wanted.get(revision, (None, 0))[1])

    async def remove(self, revision: str) -> None:
        self.wanted.pop(revision, None)

    def log(self, replica, lines, *, follow):
        async def said():
            yield f"{self.name}: {lines}".encode()

        return said() if replica == f"{self.name}-0" else None

    async def release(self, replicas) -> None:
        self.released += replicas


def test_each_revision_lives_where_it_says():
    here, there = Place("here"), Place("there", revision("b", "kubernetes"))
    both, woken = Targets({"local": here, "kubernetes": there}), []
    both.changed = lambda: woken.append(1)

    async def run() -> None:
        assert await both.adopt() == 1
        await both.scale(revision("a", "local"), 2)
        assert woken == [1]
        assert {each.id for each in await both.revisions()} == {"a", "b"}
        assert [each.id for each in (await both.endpoints("a")).replicas] == ["here-0", "here-0"]
        assert [each.id for each in (await both.endpoints("b")).replicas] == ["there-0"]
        await both.scale(revision("c", "kubernetes"), 1)
        assert (await both.endpoints("c")).ready == 1  # before anybody has listed revisions again
        await both.remove("b")
        assert list(there.wanted) == ["c"]
        await both.release(["here-0"])
        assert here.released == there.released == ["here-0"]
        assert both.log("nobody", 1, follow=False) is None
        said = both.log("there-0", 7, follow=False)
        assert said is not None
        assert [part async for part in said] == [b"there: 7"]

    asyncio.run(run())


def test_a_target_that_is_gone_fails_its_revisions_alone():
    here = Place("here")
    only = Targets({"local": here})
    with pytest.raises(InvalidArgument, match=r"'ray' is not set up .*set ray\.address in config\.yaml"):
        only.at("ray")

    async def run() -> None:
        await only.scale(revision("a", "local"), 1)
        await only.scale(revision("b", "ray"), 1)
        assert {each.id for each in await only.revisions()} == {"a", "b"}
        assert "ray.address" in (await only.endpoints("b")).failed
        assert (await only.endpoints("a")).ready == 1
        await only.remove("b")
        assert [each.id for each in await only.revisions()] == ["a"]

    asyncio.run(run())
