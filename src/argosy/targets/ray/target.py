"""The target `ray`: each replica in a place that Ray finds for it, watched by a detached actor."""

import asyncio
import contextlib
import logging
import re
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

import argosy
from argosy.spec.errors import ArgosyError, InvalidArgument
from argosy.spec.revision import ResourceUsage, Revision, RevisionStatus
from argosy.spec.settings import Home, Settings
from argosy.store import open_layout
from argosy.store.authority import REPLICA, Authority
from argosy.store.durable import say
from argosy.targets.base import Admit, Away, Capacity
from argosy.targets.ray.link import Link
from argosy.targets.ray.observe import pending
from argosy.targets.ray.remote import Remote
from argosy.targets.ray.wire import SPACE, Drain, End, Hello, PlaceSpec, Renew, Report, Room, Start, Table, Told
from argosy.targets.supervised import Supervised

LOG = logging.getLogger(__name__)
GIVEN_UP = 30.0
"""Seconds without Ray after which `stop` leaves replicas behind."""
FILES = (REPLICA, "authorities.pem")
_PORTS = re.compile(r"(\d{1,5})-(\d{1,5})")


def ports(text: str) -> tuple[int, int]:
    """The first and the last of a range. Raises InvalidArgument."""
    found = _PORTS.fullmatch(text)
    first, last = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1024 <= first < last <= 65535:
        raise InvalidArgument(f"ray.ports must be FIRST-LAST, of 1024 to 65535, as in 20000-20999, not '{text[:40]}'")
    return first, last


class Shipped(NamedTuple):
    """How a node gets a package: from a folder that it sees, or from `blobs`; and what its replica is told of it."""

    folder: str
    blobs: str
    trusted: bool
    signed: bool


class RayTarget(Supervised[Shipped]):
    """Places on the cluster that the settings name. Implements `base.Target`.

    What is known of places is kept in a file, so that a controller adopts them at once and without Ray. `unpack` makes
    the folder of a package where there is no `store.blobs`. Raises InvalidArgument.
    """

    name = "ray"

    def __init__(
        self,
        home: Home,
        settings: Settings,
        admit: Admit,
        *,
        platform: str,
        signs: Callable[[], Authority],
        command: Sequence[str] = (),
        unpack: Callable[[Revision], Path] | None = None,
    ) -> None:
        super().__init__(home, self._ship, signs)
        self._settings, self._admit, self._command = settings, admit, tuple(command)
        self._unpack = unpack or self._unpacked
        self._ports, self._platform = ports(settings.ray.ports), platform
        self._file, self._kept = home.run / "ray.json", b""
        self._room: Room | None = None
        self._known = False
        hello = Hello(address=settings.ray.address, platform=self._platform, term=time.time_ns())
        self._link = Link(hello, home.run / "ray", home.logs / "ray.log", self._heard)
        self._leaves = False
        self._vacated = 0, set[str]()
        """The driver that was told which hosts will go, and these."""

    def _ship(self, revision: Revision) -> Shipped:
        """Raises what forbids to load the package."""
        admitted, blobs = self._admit(revision), self._settings.store.blobs
        folder = "" if blobs else str(self._unpack(revision))
        return Shipped(folder, blobs, admitted.trusted, admitted.signed)

    def _unpacked(self, revision: Revision) -> Path:
        layout = open_layout(self._home, self._settings)
        return layout.unpacked(revision.digest, self._home.package(revision.digest))

    # What these do stands in `base.Target`.

    async def adopt(self) -> int:
        """Take over the places that were known last. Others that Ray knows of follow, once it has told."""
        (self._home.run / "ray").mkdir(parents=True, exist_ok=True, mode=0o700)
        self._ends.load()
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            for report in msgspec.json.decode(self._file.read_bytes(), type=tuple[Report, ...]):
                self._adopt(report)
            self._known = True
        adopted = self._remotes()
        await self._tend()
        await asyncio.gather(*(one.probe_adopted() for one in adopted))
        self._supervise(adopted)
        self._link.start()
        return len(adopted)

    def _adopt(self, report: Report) -> Remote:
        remote = self._remote(report)
        self._group(report.spec.revision).adopt(remote)
        return remote

    def _remote(self, report: Report) -> Remote:
        whose = report.spec.revision
        return Remote(self._home, report, self._signs().identity(whose.endpoint, whose.id, report.spec.replica))

    def _start(self, revision: Revision, slot: int, package: Shipped, threads: int) -> Remote:
        replica, run = f"{revision.endpoint}-{revision.id[:6]}-{slot}", secrets.token_hex(3)
        spec = PlaceSpec(
            name=f"{SPACE}/{self._platform}/{replica}/{run}",
            replica=replica,
            short=f"{run}/r",
            slot=slot,
            revision=revision,
            version=argosy.__version__,
            trusted=package.trusted,
            signed=package.signed,
            folder=package.folder,
            blobs=package.blobs,
            ports=self._ports,
            identity=self._signs().identity(revision.endpoint, revision.id, replica).name,
            command=self._command,
            tracing=self._settings.tracing,
        )
        return self._remote(Report(spec=spec))

    def _remotes(self) -> list[Remote]:
        return [one for one in self._running() if isinstance(one, Remote)]

    async def endpoints(self, revision: str) -> RevisionStatus:
        """Replicas that have no process yet are not among them: `pending` says why."""
        group = self._groups.get(revision)
        if group is None:
            return RevisionStatus()
        status, mine = group.status(), [one.handle for one in self._remotes() if one.revision.id == revision]
        waiting = [each.report for each in mine if each.report.phase in ("waiting", "preparing") and not each.ended()]
        hidden = {each.spec.replica for each in waiting}
        replicas = tuple(each for each in status.replicas if each.id not in hidden)
        why = "" if status.failed else pending(waiting, self._room, self._link.lost)
        return msgspec.structs.replace(status, replicas=replicas, pending=why)

    async def vacate(self, hosts: Collection[str]) -> dict[str, int]:
        """Ray is told once that it may place nothing there, and again where its driver is a new one."""
        if self._vacated[1] != {*hosts}:
            self._vacated = 0, {*hosts}
            self._wake.set()
        there = dict.fromkeys(hosts, 0)
        for one in self._remotes():
            on = there.keys() & {one.handle.report.host, one.handle.report.node}
            one.moves = bool(on)
            for host in on:
                there[host] += not one.handle.ended()
        return there

    def away(self) -> dict[str, Away]:
        why = self._link.lost
        return {"ray": Away(why, blank=not self._known)} if why else {}

    async def usage(self) -> dict[str, ResourceUsage]:
        found = [one.handle.report for one in self._remotes() if one.handle.report.memory]
        return {each.spec.replica: ResourceUsage(cpu=each.cpu, memory=each.memory) for each in found}

    async def capacity(self) -> Capacity:
        """What nodes have is Ray's to say."""
        return Capacity()

    async def stop(self) -> None:
        """Where Ray is away, replicas are left behind after a while."""
        self._leaves, left = True, GIVEN_UP
        stopping = asyncio.create_task(super().stop())
        while not (await asyncio.wait({stopping}, timeout=1.0))[0]:
            left = left - 1.0 if self._link.lost else GIVEN_UP
            if left <= 0:
                LOG.error("replicas on Ray go on, since they cannot be stopped: %s", self._link.lost)
                stopping.cancel()
                self._leaves = False
                await self.close()
        await asyncio.gather(stopping, return_exceptions=True)

    async def close(self) -> None:
        await super().close()
        self._keep()
        await self._link.close(leave=self._leaves)

    # Between the table of the foreman and the places that are known here.

    def _heard(self, told: Told | None) -> None:
        """A message of the driver, or None where the link itself is different."""
        if isinstance(told, Room):
            self._room = told
        if told is None or (isinstance(told, Table) and self._compare(told)):
            self._wake.set()

    def _compare(self, table: Table) -> bool:
        """Take in the table; whether more than what places use is new."""
        self._known = True
        known, new = {one.handle.report.spec.name: one for one in self._remotes()}, False
        for row in table.places:
            if one := known.pop(row.spec.name, None):
                new |= one.handle.note(row)
            elif row.phase == "ended":
                self._link.send(End(name=row.spec.name, how="forget"))
            else:
                self._late(row)
                new = True
        for one in known.values():
            one.handle.missing(self._link.joined)
        return new

    def _late(self, row: Report) -> None:
        """A place that nobody here knew of: it is supervised, and goes if it is one too many."""
        group = self._group(row.spec.revision)
        wanted = group.want
        self._adopt(row).watch(self._wake.set)
        group.want = wanted

    async def _step(self) -> bool:
        acted = await super()._step()
        if driver := self._link.joined:
            if self._vacated[1] and self._vacated[0] != driver:
                self._link.send(Drain(hosts=tuple(sorted(self._vacated[1]))))
                self._vacated = driver, self._vacated[1]
            for one in self._remotes():
                await self._order(one, driver)
        self._keep()
        return acted

    async def _order(self, one: Remote, driver: int) -> None:
        """Tell the driver what it was not told yet."""
        handle, spec = one.handle, one.handle.report.spec
        if handle.ended():
            return
        if handle.wanted and handle.told != (driver, handle.wanted):
            self._link.send(End(name=spec.name, how=handle.wanted))
            handle.told = driver, handle.wanted
        elif not (handle.wanted or handle.known or handle.told[0] == driver or self._link.away):
            try:
                files = await asyncio.to_thread(self._files, one)
            except (ArgosyError, OSError) as error:
                LOG.error("no certificates can be made, and are tried again: %s", error)
                return
            self._link.send(Start(spec=msgspec.structs.replace(spec, files=files)))
            handle.told, one.sent = (driver, ""), files

    def _files(self, one: Remote) -> dict[str, str]:
        """The certificates of a place, made if they are due."""
        self._signs().tend({one.spot.certificates: one.spot.identity})
        return {name: (one.spot.certificates / name).read_text() for name in FILES}

    async def _tend(self) -> None:
        """Bound the logs; renew certificates, and send those that are new."""
        await super()._tend()
        placed = [one for one in self._remotes() if one.handle.placed]
        await self._renew({one.spot.certificates: one.spot.identity for one in placed})
        for one in placed if self._link.joined else ():
            with contextlib.suppress(OSError):
                files = {name: (one.spot.certificates / name).read_text() for name in FILES}
                if files != one.sent:
                    self._link.send(Renew(name=one.handle.report.spec.name, files=files))
                    one.sent = files

    def _keep(self) -> None:
        """Write down what `adopt` needs, where it has changed."""
        if not self._known:
            return
        placed = [one.handle for one in self._remotes() if one.handle.placed and not one.handle.ended()]
        plain = [msgspec.structs.replace(each.report, cpu=0.0, memory=0) for each in placed]
        if (data := msgspec.json.encode(plain)) != self._kept:
            with contextlib.suppress(OSError):
                say(self._file, data)
                self._kept = data
