"""The local target: replicas as processes of this machine, on Unix sockets or by TLS, supervised and adopted."""

import asyncio
import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import psutil

from argosy.process import sandbox
from argosy.process.cores import cores, memory
from argosy.process.managed import home_id
from argosy.process.process import Process
from argosy.spec.errors import ArgosyError
from argosy.spec.revision import ResourceUsage, Revision, RevisionStatus
from argosy.spec.settings import Home
from argosy.spec.tracing import Tracing
from argosy.targets import log
from argosy.targets.base import Capacity
from argosy.targets.group import Group, Running
from argosy.targets.launch import COMMAND, NO_TRACING, Launcher, Place, Unpacked, folder, prepare
from argosy.targets.tags import Found, Record, scan

if TYPE_CHECKING:
    from argosy.store.authority import Authority

LOG = logging.getLogger(__name__)

TEND_SECONDS = 10.0


class LocalTarget:
    """Keeps as many replicas of each revision running as were declared. Implements `base.Target`.

    `fetch` gives the unpacked package of a revision, may take long, and raises what forbids to load it. Raises
    InvalidArgument where the home's path is too long.
    """

    def __init__(
        self,
        home: Home,
        fetch: Callable[[Revision], Unpacked],
        *,
        command: Sequence[str] = COMMAND,
        tracing: Tracing = NO_TRACING,
        network: str = "unix",
    ) -> None:
        prepare(home)
        self._home = home
        self._fetch = fetch
        self.changed: Callable[[], None] = lambda: None
        self._authority: Authority | None = None
        authority = self._signs() if network == "tls" else None
        self._launcher = Launcher(home=home, command=command, tracing=tracing, authority=authority)
        self._groups: dict[str, Group] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()
        self._tended = 0.0

    # What these do stands in `base.Target`.

    async def adopt(self) -> int:
        """Find the replicas that already run, end their orphaned children and files, and supervise from now on."""
        found = await asyncio.to_thread(lambda: list(scan(self._home.root)))
        adopted = [self._adopt(one.process, one.record) for one in found if one.leader and one.record]
        await self._tend()  # certificates may have run out meanwhile
        leaders = {one.process.pid for one in adopted if one.process}
        for one in found:
            if one.process.pid not in leaders and not _led(one, leaders):
                one.process.kill()
        await asyncio.gather(*(one.probe_adopted() for one in adopted))
        in_use = {one.place.work.name for one in adopted}
        for path in folder(self._home).iterdir():
            if path.name.split(".", 1)[0] not in in_use:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        for one in adopted:
            one.watch(self._wake.set)
        self._task = asyncio.create_task(self._supervise())
        return len(adopted)

    def _adopt(self, process: psutil.Process, record: Record) -> Running:
        identity = None
        if record.ports is not None:
            whose = record.revision
            identity = self._signs().identity(whose.endpoint, whose.id, record.replica)
        place = Place(self._home, record.replica, record.short, record.ports, identity)
        running = Running(place, record.revision, record.slot, Process(process, child=False))
        self._group(record.revision).adopt(running)
        return running

    def _signs(self) -> "Authority":
        """The authority of this home's platform; none is needed where nothing is reached by TLS."""
        if self._authority is None:
            from argosy.store.authority import Authority

            self._authority = Authority(self._home.root / "tls" / "replicas", home_id(self._home.root))
        return self._authority

    def _group(self, revision: Revision) -> Group:
        return self._groups.setdefault(revision.id, Group(revision, self._launcher, self._wake.set))

    async def revisions(self) -> list[Revision]:
        return [group.revision for group in self._groups.values()]

    async def scale(self, revision: Revision, replicas: int) -> None:
        group = self._group(revision)
        if group.want != replicas:
            group.want = replicas
            self._wake.set()
        group.unpack(self._fetch)

    async def endpoints(self, revision: str) -> RevisionStatus:
        group = self._groups.get(revision)
        return group.status() if group else RevisionStatus()

    async def remove(self, revision: str) -> None:
        """Drain and stop every replica of a revision; it is forgotten when the last one is gone."""
        if (group := self._groups.get(revision)) and group.want:
            group.want = 0
            self._wake.set()

    async def release(self, replicas: Collection[str]) -> None:
        for group in self._groups.values():
            group.release(replicas)
        self._wake.set()

    async def retry(self, revision: str) -> None:
        if group := self._groups.get(revision):
            group.forgive()
            self._wake.set()

    async def usage(self) -> dict[str, ResourceUsage]:
        """What the processes of each replica, its children included, have used, by its id."""
        running = [one for group in self._groups.values() for one in group.running.values()]
        leaders = {one.process.pid: one.place.replica for one in running if one.process is not None}
        return await asyncio.to_thread(_usage, leaders)

    async def capacity(self) -> Capacity:
        """What this machine has. No engine here uses a GPU yet, so that none is counted."""
        return Capacity(cores=cores(), memory=memory(), gpus=0, lacks=sandbox.lacks())

    async def _supervise(self) -> None:
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
            acted |= await group.step(threads)
            if not group.want and not group.running:
                await group.close()
                del self._groups[key]
        if not self._groups:
            self._empty.set()
        if time.monotonic() - self._tended >= TEND_SECONDS:
            self._tended = time.monotonic()
            await self._tend()
        return acted

    def _threads(self) -> int:
        """A replica's share of the cores. A revision that takes over from another does not halve it: one will go."""
        wanted: dict[str, int] = {}
        for group in self._groups.values():
            name = group.revision.endpoint
            wanted[name] = max(wanted.get(name, 0), group.want)
        return max(1, cores() // max(1, sum(wanted.values())))

    async def _tend(self) -> None:
        """Bound the logs, and renew certificates."""
        running = [one.place for group in self._groups.values() for one in group.running.values()]
        for place in running:
            log.rotate(place.log)
        log.prune(self._home.logs, [place.replica for place in running])
        if self._authority is not None:
            shown = {place.certificates: place.identity for place in running if place.identity is not None}
            try:
                await asyncio.to_thread(self._authority.tend, shown)
            except (ArgosyError, OSError) as error:
                LOG.error("certificates cannot be renewed, and are tried again: %s", error)

    async def stop(self) -> None:
        for group in self._groups.values():
            group.want, group.settle = 0, 0.0
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


def _usage(leaders: Mapping[int, str]) -> dict[str, ResourceUsage]:
    """By replica: the sums over all processes in the sessions that these pids lead."""
    used = {pid: ResourceUsage(pid=pid) for pid in leaders}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if (leader := os.getsid(process.pid)) in used:
                times, sum_ = process.cpu_times(), used[leader]
                cpu = sum_.cpu + times.user + times.system
                used[leader] = ResourceUsage(cpu=cpu, memory=sum_.memory + process.memory_info().rss, pid=leader)
    return {leaders[pid]: each for pid, each in used.items()}


def _led(found: Found, leaders: set[int]) -> bool:
    """Whether this child of a replica belongs to one that still runs."""
    try:
        return os.getsid(found.process.pid) in leaders
    except OSError:
        return True
