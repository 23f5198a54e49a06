"""Several targets as one: each revision lives in the target that it names."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping

from argosy.spec.errors import InvalidArgument
from argosy.spec.revision import Replica, ResourceUsage, Revision, RevisionStatus
from argosy.targets.base import Away, Capacity, Target

SETTING = {"kubernetes": "kubernetes.image", "ray": "ray.address"}


class Targets:
    """The targets of a platform by name, one of them `local`. Implements `base.Target`. A revision of a target that is
    not set up any more stays declared, and its status says so."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._targets = targets
        self._where: dict[str, str] = {}
        self._nowhere: dict[str, Revision] = {}
        self.changed: Callable[[], None] = lambda: None
        for each in targets.values():
            each.changed = self._tell

    def _tell(self) -> None:
        self.changed()

    def at(self, name: str) -> Target:
        """The target of this name. Raises InvalidArgument where the settings say nothing of it."""
        if found := self._targets.get(name or "local"):
            return found
        raise InvalidArgument(_not_set_up(name))

    # What these do stands in `base.Target`.

    async def adopt(self) -> int:
        return sum(await asyncio.gather(*(each.adopt() for each in self._targets.values())))

    async def revisions(self) -> list[Revision]:
        found = {name: await each.revisions() for name, each in self._targets.items()}
        self._where = {revision.id: name for name, each in found.items() for revision in each}
        return [*(revision for each in found.values() for revision in each), *self._nowhere.values()]

    async def scale(self, revision: Revision, replicas: int) -> None:
        if revision.target not in self._targets:
            self._nowhere[revision.id] = revision
            return
        self._where[revision.id] = revision.target
        await self.at(revision.target).scale(revision, replicas)

    async def endpoints(self, revision: str) -> RevisionStatus:
        if lost := self._nowhere.get(revision):
            return RevisionStatus(failed=_not_set_up(lost.target))
        return await self._of(revision).endpoints(revision)

    async def remove(self, revision: str) -> None:
        self._nowhere.pop(revision, None)
        await self._of(revision).remove(revision)

    async def release(self, replicas: Collection[str]) -> None:
        for each in self._targets.values():
            await each.release(replicas)

    async def retry(self, revision: str) -> None:
        await self._of(revision).retry(revision)

    async def vacate(self, hosts: Collection[str]) -> dict[str, int]:
        found = [await each.vacate(hosts) for each in self._targets.values()]
        return {host: sum(each.get(host, 0) for each in found) for host in hosts}

    def log(self, replica: str, lines: int, *, follow: bool) -> AsyncIterator[bytes] | None:
        found = (each.log(replica, lines, follow=follow) for each in self._targets.values())
        return next((each for each in found if each is not None), None)

    async def usage(self) -> dict[str, ResourceUsage]:
        return {name: used for each in self._targets.values() for name, used in (await each.usage()).items()}

    def away(self) -> dict[str, Away]:
        return {name: why for each in self._targets.values() for name, why in each.away().items()}

    def ends(self) -> dict[str, tuple[Replica, float]]:
        return {run: at for each in self._targets.values() for run, at in each.ends().items()}

    async def capacity(self) -> Capacity:
        return await self.at("local").capacity()

    async def stop(self) -> None:
        await asyncio.gather(*(each.stop() for each in self._targets.values()))

    async def close(self) -> None:
        await asyncio.gather(*(each.close() for each in self._targets.values()))

    def _of(self, revision: str) -> Target:
        """The target that has this revision; the local one, which knows nothing of it, where none has."""
        return self.at(self._where.get(revision, "local"))


def _not_set_up(name: str) -> str:
    return (
        f"target '{name}' is not set up on this platform: set {SETTING.get(name, name)} in config.yaml, and start the "
        "platform again"
    )
