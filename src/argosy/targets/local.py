"""The local target: replicas as processes of this machine, on Unix sockets or by TLS, supervised and adopted."""

import asyncio
import contextlib
import ctypes
import math
import mmap
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import psutil

from argosy.process import sandbox
from argosy.process.cores import cores, cuda, gpus, memory
from argosy.process.process import Process
from argosy.spec.errors import ArgosyError, InvalidArgument
from argosy.spec.revision import ResourceUsage, Revision, RevisionStatus
from argosy.spec.settings import Home
from argosy.spec.tracing import Tracing
from argosy.targets import ends
from argosy.targets.base import Capacity
from argosy.targets.group import Group, Running
from argosy.targets.launch import BEATS, COMMAND, NO_TRACING, RUN, Launcher, Place, Unpacked, folder, new_place, prepare
from argosy.targets.supervise import Slot
from argosy.targets.supervised import Supervised
from argosy.targets.tags import Found, Record, scan

if TYPE_CHECKING:
    from argosy.store.authority import Authority


WARM = 0.9
"""The share of a model's weights in the page cache from which it counts as prefetched."""


class LocalTarget(Supervised[Unpacked]):
    """Processes of this machine. Implements `base.Target`.

    `fetch` gives the unpacked package of a revision, may take long, and raises what forbids to load it. Raises
    InvalidArgument where the home's path is too long.
    """

    name = "local"

    def __init__(
        self,
        home: Home,
        fetch: Callable[[Revision], Unpacked],
        *,
        signs: "Callable[[], Authority]",
        command: Sequence[str] = COMMAND,
        tracing: Tracing = NO_TRACING,
        network: str = "unix",
        envoy: str = "",
    ) -> None:
        prepare(home)
        super().__init__(home, fetch, signs)
        self._idle: dict[str, Path] = {}
        self._cached: set[str] = set()
        self._reading: asyncio.Task[None] | None = None
        self._tls, authority = network == "tls", signs() if network == "tls" else None
        self._launcher = Launcher(home=home, command=command, tracing=tracing, authority=authority, envoy=envoy)

    # What these do stands in `base.Target`.

    async def adopt(self) -> int:
        """Find the replicas that already run, end their orphaned children and files, and supervise from now on."""
        found = await asyncio.to_thread(lambda: list(scan(self._home.root)))
        adopted = [self._adopt(one.process, one.record) for one in found if one.leader and one.record]
        await self._tend()  # certificates may have run out meanwhile
        leaders = set(self._leaders())
        for one in found:
            if one.process.pid not in leaders and not _led(one, leaders):
                one.process.kill()
        await asyncio.gather(*(one.probe_adopted() for one in adopted))
        self._ends.load()
        in_use = {place.work.name for place in self._places()}
        left = [path for path in folder(self._home).iterdir() if path.name.split(".", 1)[0] not in in_use]
        for path in left:
            if path.suffix == RUN and (found := ends.unseen(path, path.with_suffix("") / BEATS)):
                self._ends.add(*found)
        for path in left:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        self._supervise(adopted)
        return len(adopted)

    def _adopt(self, process: psutil.Process, record: Record) -> Running:
        identity = None
        if record.ports is not None:
            whose = record.revision
            identity = self._signs().identity(whose.endpoint, whose.id, record.replica)
        language = record.revision.language is not None
        place = Place(self._home, record.replica, record.short, record.ports, identity, language=language)
        place.gpus = record.gpus
        running = Running(place, record.revision, record.slot, Process(process, child=False))
        self._group(record.revision).adopt(running)
        return running

    def _start(self, revision: Revision, slot: int, package: Unpacked, threads: int) -> Running:
        place = new_place(self._home, revision, slot, self._launcher.authority)
        place.gpus = own_gpus(
            math.ceil(revision.resources.gpu), cuda(gpus(), os.environ), [each.gpus for each in self._places()]
        )
        process, trouble = None, ""
        try:
            process = self._launcher.start(place, revision, slot, package=package, threads=threads)
        except ArgosyError as error:
            trouble = error.message
        running = Running(place, revision, slot, process, trouble=trouble)
        if process is not None:
            ends.begin(place.run, running.replica(Slot()))
        return running

    def _adapt(self, revision: Revision, running: Sequence[Running], package: Unpacked) -> None:
        for one in running:
            if isinstance(one.place, Place) and revision.language is not None:
                with contextlib.suppress(OSError, InvalidArgument):  # it starts, or ends
                    self._launcher.adapt(one.place, revision, package)

    def _places(self) -> list[Place]:
        return [one.place for one in self._running() if isinstance(one.place, Place)]

    def _leaders(self) -> dict[int, str]:
        """The replicas, by the ids of their processes."""
        running = self._running()
        return {one.process.pid: one.place.replica for one in running if isinstance(one.process, Process)}

    async def usage(self) -> dict[str, ResourceUsage]:
        """What the processes of each replica, its children included, have used, by its id."""
        return await asyncio.to_thread(used_by, self._leaders())

    async def capacity(self) -> Capacity:
        """What this machine has. GPUs of NVIDIA are counted; engines of language models alone use them."""
        return Capacity(cores=cores(), memory=memory(), gpus=len(cuda(gpus(), os.environ)), lacks=sandbox.lacks())

    def _threads(self) -> int:
        """A replica's share of the cores. A revision that takes over from another does not halve it: one will go."""
        wanted: dict[str, int] = {}
        for group in self._groups.values():
            name = group.revision.endpoint
            wanted[name] = max(wanted.get(name, 0), group.want)
        return max(1, cores() // max(1, sum(wanted.values())))

    def _ended(self, group: Group[Unpacked]) -> None:
        """Read the weights of a revision ahead that may come back soon."""
        if group.revision.at_zero == "prefetched" and not group.leaving and group.package is not None:
            weights = self._idle[group.revision.id] = group.package.folder / "weights"
            self._reading = asyncio.create_task(self._look_at(group.revision.id, weights, ahead=True))

    async def _look_at(self, revision: str, weights: Path, *, ahead: bool = False) -> None:
        if ahead:
            await asyncio.to_thread(prefetch, weights)
        there = await asyncio.to_thread(resident, weights) >= WARM
        (self._cached.add if there else self._cached.discard)(revision)

    async def endpoints(self, revision: str) -> RevisionStatus:
        status = await super().endpoints(revision)
        prefetched = revision in self._cached and not status.replicas
        return msgspec.structs.replace(status, prefetched=True) if prefetched else status

    async def remove(self, revision: str) -> None:
        self._idle.pop(revision, None)
        self._cached.discard(revision)
        await super().remove(revision)

    async def _tend(self) -> None:
        """Bound the logs, renew certificates, and see what is left of weights in the page cache."""
        await super()._tend()
        for revision, weights in list(self._idle.items()):
            await self._look_at(revision, weights)
        shown = {place.certificates: place.identity for place in self._places() if place.identity is not None}
        if shown or self._tls:
            await self._renew(shown)


def prefetch(weights: Path) -> None:
    """Have the kernel read these files ahead, into its page cache."""
    for path in _files(weights):
        with contextlib.suppress(OSError), path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def resident(weights: Path) -> float:
    """The share of these files, by pages, that is in the page cache."""
    pages = there = 0
    libc = ctypes.CDLL(None, use_errno=True)
    for path in _files(weights):
        with contextlib.suppress(OSError, ValueError):  # gone, or empty
            array = np.memmap(path, np.uint8, "r")
            seen = np.zeros(-(-len(array) // mmap.PAGESIZE), np.uint8)
            failed = libc.mincore(*map(ctypes.c_void_p, (array.ctypes.data, len(array), seen.ctypes.data)))
            pages, there = pages + len(seen), there + (0 if failed else int((seen & 1).sum()))
    return there / pages if pages else 0.0


def _files(weights: Path) -> list[Path]:
    return sorted(each for each in (weights.rglob("*") if weights.is_dir() else [weights]) if each.is_file())


def own_gpus(count: int, there: Sequence[str], taken: Iterable[Collection[str]]) -> tuple[str, ...]:
    """So many of those `there`, first the ones that the fewest replicas have, by those `taken` by each. Pure."""
    users = Counter(each for gpus in taken for each in gpus)
    return tuple(sorted(there, key=lambda each: users[each])[:count])


def used_by(leaders: Mapping[int, str]) -> dict[str, ResourceUsage]:
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
