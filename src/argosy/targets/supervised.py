"""Targets that supervise each replica themselves, by `supervise`: on this machine, on nodes of a Ray cluster."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic

from argosy.spec.address import TlsIdentity
from argosy.spec.errors import ArgosyError
from argosy.spec.revision import Revision, RevisionStatus
from argosy.spec.settings import Home
from argosy.targets import log
from argosy.targets.base import Away
from argosy.targets.ends import EndLog, Ends
from argosy.targets.group import Group, P, Running

if TYPE_CHECKING:
    from argosy.store.authority import Authority

LOG = logging.getLogger(__name__)

TEND_SECONDS = 10.0


class Supervised(Generic[P]):
    """Keeps as many replicas of each revision running as were declared. The part of `base.Target` that is the same
    wherever they run; a `P` is what `fetch` gives of a revision's package, which may take long, and `_start` needs.
    `signs` gives the authority of the platform, where something is reached by TLS; `name` is that of the target."""

    name = ""

    def __init__(self, home: Home, fetch: Callable[[Revision], P], signs: "Callable[[], Authority]") -> None:
        self.changed: Callable[[], None] = lambda: None
        self._home, self._fetch, self._signs = home, fetch, signs
        self._groups: dict[str, Group[P]] = {}
        self._ends = EndLog(home.run / f"{self.name}.ends")
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._tended = 0.0

    def _start(self, revision: Revision, slot: int, package: P, threads: int) -> Running:
        raise NotImplementedError

    def _adapt(self, revision: Revision, running: Sequence[Running], package: P) -> None:
        """Tell those that run of other adapters, where they can load them."""

    async def _tend(self) -> None:
        """Bound the logs."""
        running = [one.place for one in self._running()]
        for place in running:
            log.rotate(place.log)
        log.prune(self._home.logs, [place.replica for place in running])

    def _ended(self, group: Group[P]) -> None:
        """Nothing of this revision runs any more."""

    async def _renew(self, shown: Mapping[Path, TlsIdentity]) -> None:
        """Make the certificates that are due, in the folders of replicas with these identities."""
        try:
            await asyncio.to_thread(self._signs().tend, shown)
        except (ArgosyError, OSError) as error:
            LOG.error("certificates cannot be renewed, and are tried again: %s", error)

    def _threads(self) -> int:
        """Those of a replica that starts now, where none are declared."""
        return 1

    def _running(self) -> list[Running]:
        return [one for group in self._groups.values() for one in group.running.values()]

    def _supervise(self, adopted: Collection[Running]) -> None:
        """Supervise from now on."""
        for one in adopted:
            one.watch(self._wake.set)
        self._task = asyncio.create_task(self._run())

    def _group(self, revision: Revision) -> Group[P]:
        return self._groups.setdefault(revision.id, Group(revision, self._start, self._wake.set, self._ends))

    # What these do stands in `base.Target`.

    async def revisions(self) -> list[Revision]:
        return [group.revision for group in self._groups.values()]

    async def scale(self, revision: Revision, replicas: int) -> None:
        group = self._group(revision)
        if group.revision != revision:
            group.revise(revision)
        if group.want != replicas or group.leaving:
            group.want, group.leaving = replicas, False
            self._wake.set()
        group.unpack(self._fetch)

    async def endpoints(self, revision: str) -> RevisionStatus:
        group = self._groups.get(revision)
        return group.status() if group else RevisionStatus()

    async def remove(self, revision: str) -> None:
        """Drain and stop every replica of a revision; it is forgotten when the last one is gone."""
        if (group := self._groups.get(revision)) and not group.leaving:
            group.want, group.leaving = 0, True
            self._wake.set()

    async def release(self, replicas: Collection[str]) -> None:
        for group in self._groups.values():
            group.release(replicas)
        self._wake.set()

    async def vacate(self, hosts: Collection[str]) -> Mapping[str, int]:
        """What runs on this machine has nowhere else to go."""
        return {}

    def log(self, replica: str, lines: int, *, follow: bool) -> None:
        return None

    def away(self) -> Mapping[str, Away]:
        return {}

    def ends(self) -> Mapping[str, Ends]:
        return self._ends.found

    async def retry(self, revision: str) -> None:
        if group := self._groups.get(revision):
            group.forgive()
            self._wake.set()

    async def _run(self) -> None:
        while True:
            woken = self._wake.is_set()
            self._wake.clear()
            try:
                if woken | await self._step():
                    self.changed()
                    await asyncio.sleep(0)
                    continue
            except Exception:
                LOG.exception("supervision failed; it goes on in a moment")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await self._wake.wait()

    async def _step(self) -> bool:
        acted = False
        threads = self._threads()
        for key, group in list(self._groups.items()):
            group.unpack(self._fetch)
            if (package := group.revised()) is not None:
                await asyncio.to_thread(self._adapt, group.revision, [*group.running.values()], package)
            acted |= await group.step(threads)
            if not group.want and not group.running:
                await group.close()
                del self._groups[key]
                self._ended(group)
        if not self._groups:
            self._empty.set()
        if time.monotonic() - self._tended >= TEND_SECONDS:
            self._tended = time.monotonic()
            await self._tend()
        return acted

    async def stop(self) -> None:
        for group in self._groups.values():
            group.want, group.settle, group.leaving = 0, 0.0, True
            group.release([one.place.replica for one in group.running.values()])
        self._wake.set()
        self._empty.clear()
        await self._empty.wait()
        await self.close()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for group in self._groups.values():
            await group.close()
